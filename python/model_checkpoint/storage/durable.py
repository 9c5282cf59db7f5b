"""Directories and new files that survive a power cut. Replacing a file is `utils.atomic_file`.

No part of a path may be a symbolic link: see `utils.real_path`.
"""

from __future__ import annotations

import contextlib
import errno
import os

from model_checkpoint import _native
from model_checkpoint.errors import FormatError, StorageError
from model_checkpoint.monitoring.span import span, spanned
from model_checkpoint.utils import real_path
from model_checkpoint.utils.presence import is_directory
from model_checkpoint.utils.regular_file import close_written, open_regular, read_fully, write_fully
from model_checkpoint.utils.storage_errors import storage_errors

__all__ = [
    "make_directories",
    "read_small",
    "remove_tree",
    "sync_directory",
    "write_new",
]

_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})


@spanned("fsync")
def sync_directory(path: str) -> bool:
    """Make the names in a directory durable. False where the file system cannot do it (some network ones).

    Raises:
        StorageError: It tried and failed; what was renamed into the directory may be lost.
    """
    try:
        _native.sync_directory(path)
    except StorageError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


def write_new(path: str, data: bytes) -> None:
    """Create a file that must not exist yet, and sync it. Its name is not durable before its directory is synced.

    Raises:
        StorageError: Anything failed; a failed sync is final for the file.
    """
    with storage_errors("cannot write the file", path):
        fd = real_path.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            write_fully(fd, data, 0, path)
            with span("fsync"):
                _native.sync_file(fd, path)
        finally:
            close_written(fd, path)


def read_small(path: str, *, limit: int) -> bytes:
    """All bytes of a regular file of at most ``limit`` bytes that is no link.

    Raises:
        FormatError: It is not regular (rule ``regular-file``), or larger (rule ``length``).
        StorageError: It cannot be read.
    """
    file = open_regular(path, nofollow=True)
    if file.nbytes > limit:
        raise FormatError(f"{file.nbytes} bytes are more than the {limit} allowed", path=path, rule="length")
    return read_fully(file, file.nbytes, 0)


def make_directories(path: str) -> None:
    """Create a directory and its missing ancestors, durably: each new name is synced in its parent.

    Raises:
        StorageError: One cannot be created, or the path is something else.
    """
    missing = []
    with storage_errors("cannot create the directory", path):
        while not is_directory(path, follow=False):
            missing.append(path)
            path = os.path.dirname(path) or "."
        for directory in reversed(missing):
            with contextlib.suppress(FileExistsError):  # another process was faster; if it made a file, the next
                real_path.mkdir(directory)  # call on it says so
            sync_directory(os.path.dirname(directory) or ".")


def remove_tree(path: str) -> None:
    """Remove whatever is at a path, a directory with all in it; links are removed, never followed.

    Nothing happens if it is gone.

    Raises:
        StorageError: Something cannot be removed.
    """
    with storage_errors("cannot remove the directory", path):
        real_path.remove_tree(path)
