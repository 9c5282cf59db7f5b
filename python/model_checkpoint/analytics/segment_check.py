"""Whether a segment is what the catalog lists: looked at before anything is read from it.

DuckDB and Arrow trust what they read: neither looks at the checksums of all pages, and a footer has none. So each
segment is compared with its SHA-256 as a whole, once for each version of the file that this process sees.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from model_checkpoint.analytics.segment import segment_path
from model_checkpoint.database.records import SegmentInfo
from model_checkpoint.errors import CorruptionError, IntegrityError, StorageError
from model_checkpoint.utils.regular_file import RegularFile, open_regular, read_fully
from model_checkpoint.utils.uncached import blocks_around_cache, is_unreadable, way_around_cache

__all__ = ["DamagedSegment", "find_damaged", "read_from_device"]

_BLOCK_BYTES = 1024 * 1024
_REMEMBERED = 100_000
"""So many segments hold a hundred billion points."""


@dataclass(frozen=True, slots=True)
class DamagedSegment:
    """A segment whose points cannot be trusted, or not be read.

    Attributes:
        info: What the catalog says of it.
        error: What is wrong; it names the file and the rule.
    """

    info: SegmentInfo
    error: IntegrityError | StorageError

    @property
    def is_gone(self) -> bool:
        return isinstance(self.error, CorruptionError) and self.error.rule == "missing"


def find_damaged(root: str, segments: Sequence[SegmentInfo]) -> list[DamagedSegment]:
    """Compare segments with what the catalog lists, on all cores; those that are not the same, in their order.

    Raises:
        StorageError: The file system failed, other than by giving up bytes of one file.
    """
    if len(segments) < 2:
        return [flaw for segment in segments if (flaw := _flaw(root, segment)) is not None]
    with ThreadPoolExecutor(min(len(os.sched_getaffinity(0)), len(segments))) as pool:
        return [flaw for flaw in pool.map(functools.partial(_flaw, root), segments) if flaw is not None]


def read_from_device(root: str, segment: SegmentInfo) -> None:
    """Compare a segment with what the catalog lists, past the page cache.

    Raises:
        CorruptionError: It is not what was written, or gone.
        FormatError: It is no regular file.
        StorageError: It cannot be read.
    """
    file = _open(root, segment)
    digest = hashlib.sha256()
    for block in blocks_around_cache(file, way_around_cache(file)):
        digest.update(block)
    _compare(digest.hexdigest(), segment.digest, file.path)


def _flaw(root: str, segment: SegmentInfo) -> DamagedSegment | None:
    try:
        file = _open(root, segment)
        _verify(_Version.of(file), segment.digest)
    except (IntegrityError, StorageError) as error:
        if isinstance(error, StorageError) and not is_unreadable(error):
            raise
        return DamagedSegment(segment, error)
    return None


def _open(root: str, segment: SegmentInfo) -> RegularFile:
    path = segment_path(root, segment.path)
    try:
        file = open_regular(path, nofollow=True)
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise CorruptionError("a segment of metrics is gone", path=path, rule="missing") from None
        raise
    if file.nbytes != segment.nbytes:
        message = f"the segment has {file.nbytes} bytes, not {segment.nbytes}"
        raise CorruptionError(message, path=path, rule="length")
    return file


@dataclass(frozen=True, slots=True)
class _Version:
    """A file as it is now; two of the same hash and equality have the same content.

    Attributes:
        path: Where it is.
        identity: Device, inode, size, and the moments of the last change, in nanoseconds.
    """

    path: str
    identity: tuple[int, ...]

    @classmethod
    def of(cls, file: RegularFile) -> _Version:
        status = os.fstat(file.fd)
        times = status.st_mtime_ns, status.st_ctime_ns
        return cls(file.path, (status.st_dev, status.st_ino, status.st_size, *times))


@functools.lru_cache(_REMEMBERED)
def _verify(version: _Version, digest: str) -> None:
    """Return if the file is the one of that digest. What raises is not remembered."""
    file = open_regular(version.path, nofollow=True)
    found = hashlib.sha256()
    for offset in range(0, file.nbytes, _BLOCK_BYTES):
        found.update(read_fully(file, min(_BLOCK_BYTES, file.nbytes - offset), offset))
    _compare(found.hexdigest(), digest, version.path)


def _compare(found: str, listed: str, path: str) -> None:
    if found != listed:
        raise CorruptionError(f"the segment's SHA-256 is {found}, not {listed}", path=path, rule="digest")
