"""Where the bytes of a file lie on its device, so that a test can change them there, behind the page cache's back."""

from __future__ import annotations

import fcntl
import struct

__all__ = ["device_offset"]

_FIEMAP = 0xC020660B  # _IOWR('f', 11, struct fiemap)
_SYNC = 1
_HEADER, _EXTENT = "=QQIIII", "=QQQQQIIII"


def device_offset(fd: int, offset: int) -> int:
    """The offset on the device of a byte of an open file.

    Raises:
        OSError: The file system cannot tell.
        LookupError: The byte lies in no extent.
    """
    request = struct.pack(_HEADER, offset, 1, _SYNC, 0, 1, 0) + bytes(struct.calcsize(_EXTENT))
    answer = fcntl.ioctl(fd, _FIEMAP, request)
    mapped = struct.unpack_from(_HEADER, answer)[3]
    if not mapped:
        raise LookupError(f"byte {offset} lies in no extent")
    logical, physical, *_ = struct.unpack_from(_EXTENT, answer, struct.calcsize(_HEADER))
    return int(physical + offset - logical)
