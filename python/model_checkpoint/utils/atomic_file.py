"""Replacing a file so that everybody sees the old one or the new one, whole, even after a power cut.

    1. Follow links, unless told otherwise, and refuse a target that is no regular file: a rename would put a file in a
       device's place. From here on no directory may be a link, lest somebody who may write there leads us elsewhere.
    2. Create a sibling with O_EXCL and a random name: no two writers share one, and a rename cannot leave the
       file system. The target is never opened for writing: somebody may have mapped it.
    3. The caller writes.
    4. fsync the file, or its name could survive a power cut without its bytes. Once only: after a failed fsync the
       kernel forgets what it could not write, and a second one would succeed.
    5. Close it; some file systems report a full disk only here.
    6. Rename it over the target.
    7. fsync the directory, or the old file could be back after a power cut.

A failure before step 6 removes the sibling and leaves the target as it was.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from model_checkpoint import _native
from model_checkpoint.utils import real_path
from model_checkpoint.utils.regular_file import close_written, write_fully
from model_checkpoint.utils.storage_errors import storage_errors

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from 3.12 on

__all__ = ["TemporaryFile", "replace_bytes", "replacing"]


class TemporaryFile(NamedTuple):
    """A file that will take the place of another one.

    Attributes:
        fd: Its descriptor, open for reading and writing.
        path: Its present path.
    """

    fd: int
    path: str


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, durable: bool = True, nofollow: bool = False) -> Iterator[TemporaryFile]:
    """Give a temporary file to write, and rename it over ``path`` when the block ends without an exception.

    Args:
        path: The target; it need not exist, its directory must.
        durable: Whether to sync the file and the directory. The rename is atomic for other processes either way.
        nofollow: Whether to refuse a symbolic link anywhere in the path, as inside a store.

    Raises:
        StorageError: The target is not a regular file, or a system call failed.
    """
    target = os.fspath(path) if nofollow else os.path.realpath(path)
    directory = os.path.dirname(target) or "."
    with storage_errors("cannot replace the file", target):
        mode = _mode_of(target)
        temporary = _create(directory, mode)
    try:
        try:
            yield temporary
            if durable:
                _native.sync_file(temporary.fd, temporary.path)
        finally:
            close_written(temporary.fd, temporary.path)
        with storage_errors("cannot replace the file", target):
            real_path.rename(temporary.path, target)
    except BaseException:
        _remove(temporary.path)
        raise
    if durable:
        _native.sync_directory(directory)


def replace_bytes(path: str | os.PathLike[str], data: Buffer, *, durable: bool = True, nofollow: bool = False) -> None:
    """Replace a file by one with this content.

    Raises:
        StorageError: As `replacing`.
    """
    with replacing(path, durable=durable, nofollow=nofollow) as temporary:
        write_fully(temporary.fd, data, 0, temporary.path)


def _mode_of(target: str) -> int | None:
    """The permissions of the file to be replaced; None if there is none."""
    try:
        status = real_path.lstat(target)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", target)
    return stat.S_IMODE(status.st_mode)


def _create(directory: str, mode: int | None) -> TemporaryFile:
    path = os.path.join(directory, f".mckpt-{secrets.token_hex(8)}.tmp")
    fd = real_path.open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        if mode is not None:
            os.fchmod(fd, mode)
    except OSError:
        with contextlib.suppress(OSError):
            os.close(fd)
        _remove(path)
        raise
    return TemporaryFile(fd, path)


def _remove(path: str) -> None:
    """Remove what will not be used. If that fails, too, the failure before it is the one to tell of."""
    with contextlib.suppress(OSError):
        real_path.unlink(path)
