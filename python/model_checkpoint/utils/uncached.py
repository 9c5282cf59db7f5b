"""Reading a file from its device: what the page cache has says nothing about what was stored."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Literal, TypeAlias

from model_checkpoint import _native
from model_checkpoint.errors import CorruptionError, StorageError
from model_checkpoint.utils.regular_file import RegularFile

__all__ = ["Way", "blocks_around_cache", "is_unreadable", "read_around_cache", "way_around_cache"]

Way: TypeAlias = Literal["direct", "auto"]

_BLOCK_BYTES = 4 * 1024 * 1024
_PROBED_BYTES = 4096
_UNREADABLE = frozenset({errno.EIO, errno.EBADMSG, errno.EUCLEAN, errno.ENODATA, errno.EREMOTEIO})


def way_around_cache(file: RegularFile) -> Way:
    """How to read a file from its device.

    With O_DIRECT, which leaves the cache as it is. Where the file system refuses that, the file's cached pages are
    dropped; pages that somebody has mapped stay, which nobody can tell.
    """
    try:
        _read(file, min(file.nbytes, _PROBED_BYTES), 0, "direct")
    except StorageError as error:
        if error.errno != errno.EINVAL:
            return "direct"  # the reader of those bytes will say what is wrong with them
        _native.drop_cache(file.fd, file.path)
        return "auto"
    except CorruptionError:
        return "direct"
    return "direct"


def read_around_cache(file: RegularFile, nbytes: int, offset: int, way: Way) -> bytes:
    """Read exactly ``nbytes`` from a file offset.

    Raises:
        CorruptionError: The file ends before (rule ``length``).
        StorageError: The read failed.
    """
    try:
        return bytes(_read(file, nbytes, offset, way))
    except CorruptionError as error:
        raise CorruptionError("the file ends early", path=file.path, offset=error.offset, rule="length") from None


def blocks_around_cache(file: RegularFile, way: Way) -> Iterator[bytes]:
    """All bytes of a file, as it was when it was opened, in blocks.

    Raises:
        CorruptionError: The file has become shorter (rule ``length``).
        StorageError: A read failed.
    """
    for offset in range(0, file.nbytes, _BLOCK_BYTES):
        yield read_around_cache(file, min(_BLOCK_BYTES, file.nbytes - offset), offset, way)


def is_unreadable(error: StorageError) -> bool:
    """Whether an error says that the device, or the file system's own checks, gave these bytes up."""
    return error.errno in _UNREADABLE


def _read(file: RegularFile, nbytes: int, offset: int, way: Way) -> bytearray:
    data = bytearray(nbytes)
    if nbytes:
        _native.read_spans(file.fd, file.path, [offset], [nbytes], [data], ["header"], check="none", io=way)
    return data
