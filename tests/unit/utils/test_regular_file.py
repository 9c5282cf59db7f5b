"""Opening and moving bytes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from model_checkpoint.errors import CorruptionError, StorageError
from model_checkpoint.utils.regular_file import open_regular, read_fully, write_fully


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
