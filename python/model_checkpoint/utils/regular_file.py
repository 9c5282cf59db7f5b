"""Opening files that may be anything, and moving whole byte ranges."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from model_checkpoint.errors import CorruptionError, FormatError, StorageError
from model_checkpoint.utils import real_path

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from 3.12 on

__all__ = ["RegularFile", "close_written", "open_regular", "read_fully", "write_fully"]


class RegularFile:
    """An open regular file; closed with its last reference, so that no thread reads from a reused descriptor.

    Attributes:
        fd: Its descriptor.
        path: Its path, for messages.
        nbytes: Its size in bytes when it was opened.
    """

    def __init__(self, fd: int, path: str, nbytes: int) -> None:
        self.fd = fd
        self.path = path
        self.nbytes = nbytes

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # bound now: at exit the module is gone first
        try:
            close(self.fd)
        except OSError:  # nothing was written through it, and it is closed nevertheless
            return


def open_regular(path: str | os.PathLike[str], *, nofollow: bool = False) -> RegularFile:
    """Open a regular file for reading; never waits for a FIFO or wakes a device.

    Args:
        path: The file.
        nofollow: Whether to refuse a symbolic link anywhere in the path, as inside a store.

    Raises:
        FormatError: It is no regular file (rule ``regular-file``).
        StorageError: It cannot be opened, or, with ``nofollow``, one of its directories is a link.
    """
    text = os.fspath(path)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        fd = real_path.open_file(text, flags) if nofollow else os.open(text, flags)
    except StorageError:
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link (or a circle of them), a socket
            raise FormatError(f"cannot open the file: {error.strerror}", path=text, rule="regular-file") from None
        raise StorageError.from_os_error(error, "cannot open the file", path=text) from error
    try:
        status = os.fstat(fd)
    except OSError as error:
        RegularFile(fd, text, 0)  # closes it
        raise StorageError.from_os_error(error, "cannot look at the file", path=text) from error
    file = RegularFile(fd, text, status.st_size)
    if not stat.S_ISREG(status.st_mode):
        raise FormatError("not a regular file", path=text, rule="regular-file")
    return file


def read_fully(file: RegularFile, nbytes: int, offset: int) -> bytes:
    """Read exactly ``nbytes`` from a file offset.

    Raises:
        CorruptionError: The file ends before (rule ``length``).
        StorageError: The read failed.
    """
    parts: list[bytes] = []
    end = offset + nbytes
    while offset < end:
        try:
            part = os.pread(file.fd, end - offset, offset)
        except OSError as error:
            raise StorageError.from_os_error(error, "cannot read", path=file.path, offset=offset) from error
        if not part:
            raise CorruptionError("the file ends early", path=file.path, offset=offset, rule="length")
        parts.append(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def write_fully(fd: int, data: Buffer, offset: int, path: str) -> None:
    """Write all bytes to a file offset.

    Raises:
        StorageError: The write failed.
    """
    rest = memoryview(data).cast("B")
    while rest:
        try:
            written = os.pwrite(fd, rest, offset)
        except OSError as error:
            raise StorageError.from_os_error(error, "cannot write", path=path, offset=offset) from error
        rest, offset = rest[written:], offset + written


def close_written(fd: int, path: str) -> None:
    """Close a file that was written. Some file systems report a full disk only here.

    Raises:
        StorageError: It failed; the descriptor is closed nevertheless.
    """
    try:
        os.close(fd)
    except InterruptedError:  # it is closed, as far as Linux is concerned; closing it again could hit another file
        return
    except OSError as error:
        raise StorageError.from_os_error(error, "cannot close the file", path=path) from error
