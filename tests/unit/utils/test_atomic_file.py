"""Replacing files."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from model_checkpoint import _native
from model_checkpoint.errors import StorageError
from model_checkpoint.utils.atomic_file import replace_bytes, replacing
from model_checkpoint.utils.regular_file import write_fully


def test_bytes_take_the_place_of_a_file(tmp_path):
    """The target has the new content, and nothing else is left."""
    path = tmp_path / "file"
    for content in (b"one", b"", b"three" * 1000):
        replace_bytes(path, content)
        assert path.read_bytes() == content
    assert [*tmp_path.iterdir()] == [path]


def test_the_temporary_file_is_a_hidden_sibling(tmp_path):
    """It lies in the target's directory, also where the target is reached through links."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with replacing(tmp_path / "link" / "file") as temporary:
        assert os.path.dirname(temporary.path) == str(tmp_path / "real")
        assert os.path.basename(temporary.path).startswith(".")
        write_fully(temporary.fd, b"new", 0, temporary.path)
    assert (tmp_path / "real" / "file").read_bytes() == b"new"


def test_an_exception_in_the_block_leaves_the_target(tmp_path):
    """The exception passes through, the target stays, the temporary file goes."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        write_fully(temporary.fd, b"new", 0, temporary.path)
        _ = 1 / 0  # after something was written
    assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]


def test_a_failed_directory_sync_is_reported_though_the_file_is_there(tmp_path, monkeypatch):
    """After the rename the new file stands; that it may not survive a power cut is an error."""

    def fail(path):
        raise StorageError("failed", path=path, errno=5)

    monkeypatch.setattr(_native, "sync_directory", fail)
    with pytest.raises(StorageError):
        replace_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert len([*tmp_path.iterdir()]) == 1


def test_a_caller_that_removes_the_temporary_file_gets_an_error(tmp_path):
    """A rename that finds nothing is a StorageError with the target's path."""
    with pytest.raises(StorageError) as caught, replacing(tmp_path / "file") as temporary:
        os.unlink(temporary.path)
    assert caught.value.path == str(tmp_path / "file")


def test_readers_see_one_version_or_another_while_writers_race(tmp_path):
    """Several writers replace one file; every read is one of the contents, whole."""
    path = tmp_path / "file"
    contents = [bytes([65 + index]) * 50_000 for index in range(4)]
    replace_bytes(path, contents[0])
    seen, done = set(), threading.Event()

    def write(content):
        for _ in range(25):
            replace_bytes(path, content, durable=False)

    def read():
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in [reader, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert seen <= set(contents)
    assert [*tmp_path.iterdir()] == [path]


def test_a_temporary_file_that_cannot_be_removed_does_not_hide_the_failure(tmp_path, monkeypatch):
    """On a disk that fails altogether, the first failure is told, as an error of ours."""

    def fail(*_args, **_kwargs):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "replace", fail)
    monkeypatch.setattr(os, "unlink", fail)
    with pytest.raises(StorageError, match="cannot replace the file"):
        replace_bytes(tmp_path / "file", b"new")


def test_permissions_that_cannot_be_kept_leave_nothing_behind(tmp_path, monkeypatch):
    """Neither a temporary file nor a descriptor."""

    def fail(*_args, **_kwargs):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = tmp_path / "file"
    path.write_bytes(b"old")
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "fchmod", fail)
    with pytest.raises(StorageError, match="cannot replace the file"):
        replace_bytes(path, b"new")
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == b"old"
    assert len(os.listdir("/proc/self/fd")) == before
