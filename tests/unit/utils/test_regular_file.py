"""Opening and moving bytes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from model_checkpoint.errors import CorruptionError, DiskFullError, StorageError
from model_checkpoint.utils.regular_file import close_written, open_regular, read_fully, write_fully


def test_a_file_is_read_by_range(tmp_path):
    """Any range comes back; one beyond the end is damage with its offset."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    file = open_regular(path)
    assert file.nbytes == 10
    assert read_fully(file, 4, 3) == b"3456"
    assert read_fully(file, 0, 10) == b""
    with pytest.raises(CorruptionError) as caught:
        read_fully(file, 4, 8)
    assert (caught.value.offset, caught.value.rule) == (10, "length")


def test_the_descriptor_is_closed_with_the_last_reference(tmp_path):
    """No descriptor outlives its file object, and none passes to children."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    file = open_regular(path)
    fd = file.fd
    assert not os.get_inheritable(fd)
    os.fstat(fd)
    del file
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_all_bytes_are_written_at_their_offset(tmp_path):
    """Buffers of any shape are written whole; a failing write names file and offset."""
    path = tmp_path / "file"
    path.write_bytes(b"........")
    fd = os.open(path, os.O_RDWR)
    write_fully(fd, memoryview(b"abcd").cast("B", (2, 2)), 2, str(path))
    write_fully(fd, b"", 0, str(path))
    os.close(fd)
    assert path.read_bytes() == b"..abcd.."
    fd = os.open(path, os.O_RDONLY)
    with pytest.raises(StorageError) as caught:
        write_fully(fd, b"x", 3, str(path))
    os.close(fd)
    assert (caught.value.path, caught.value.offset) == (str(path), 3)


def test_a_file_that_is_open_when_the_interpreter_exits_is_no_trouble(tmp_path):
    """Modules are gone by then; the destructor still closes, and complains of nothing."""
    (tmp_path / "file").write_bytes(b"x")
    script = "import sys; from model_checkpoint.utils.regular_file import open_regular; sys.kept = open_regular('file')"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def _fail(*_args, **_kwargs):
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_file_that_cannot_be_looked_at_is_not_left_open(tmp_path, monkeypatch):
    """An fstat that failed was no error of ours, and cost a descriptor each time."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as broken, pytest.raises(StorageError, match="cannot look at the file"):
        broken.setattr(os, "fstat", _fail)
        open_regular(path)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(("code", "is_failure"), [(errno.EINTR, False), (errno.EDQUOT, True), (errno.EIO, True)])
def test_a_close_that_fails_tells_of_the_disk_and_not_of_signals(tmp_path, monkeypatch, code, is_failure):
    """A quota may be told only at the close; a signal in it means nothing, for the descriptor is closed."""

    def fail(_fd):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken:
        broken.setattr(os, "close", fail)
        if not is_failure:
            close_written(-1, "file")
            return
        with pytest.raises(StorageError, match="cannot close the file") as caught:
            close_written(-1, "file")
    assert isinstance(caught.value, DiskFullError) == (code == errno.EDQUOT)
