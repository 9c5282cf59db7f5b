"""Checking plain files without loading them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from model_checkpoint import _native
from model_checkpoint.errors import CorruptionError, UnverifiableError
from model_checkpoint.storage.safetensors.digest import chunk_count
from model_checkpoint.storage.safetensors.plain_file import PlainFile, Span, open_plain

__all__ = ["Damage", "VerifyReport", "find_damage", "verify_file"]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was found in order.

    Attributes:
        path: The file.
        nbytes: Its size in bytes.
        chunks: How many chunks were checked.
        digest: The file digest, hexadecimal.
        seconds: Wall time in seconds.
    """

    path: str
    nbytes: int
    chunks: int
    digest: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Damage:
    """A chunk that differs from its digest.

    Attributes:
        tensor: The tensor it belongs to.
        chunk: Its index in the tensor.
        offset: File offset in bytes.
        nbytes: Its size in bytes.
    """

    tensor: str
    chunk: int
    offset: int
    nbytes: int


def verify_file(
    path: str | os.PathLike[str],
    *,
    level: Literal["full", "fast"] = "full",
    nofollow: bool = False,
    advance: Callable[[int], None] | None = None,
) -> VerifyReport:
    """Check a whole file, header and data.

    Args:
        path: The file.
        level: ``"full"`` by SHA-256, ``"fast"`` by CRC-32C.
        nofollow: Whether to refuse a final symbolic link, as inside a store.
        advance: Told of the bytes that are done.

    Raises:
        CorruptionError: The header or a chunk differs from its digest; names the first chunk that was found.
        FormatError: The header breaks a rule of the format.
        UnverifiableError: The file has no digests.
        StorageError: The file cannot be read.
    """
    start = time.perf_counter()
    plain = open_plain(path, nofollow=nofollow)
    plain.verify(plain.check(level), advance)
    chunks = sum(chunk_count(entry.nbytes) for entry in plain.header.entries.values())
    seconds = time.perf_counter() - start
    return VerifyReport(plain.path, plain.header.file_bytes, chunks, str(plain.header.digest), seconds)


def find_damage(path: str | os.PathLike[str], *, nofollow: bool = False) -> tuple[Damage, ...]:
    """List every damaged chunk of a file whose header is sound, in the order of the file.

    Raises:
        CorruptionError: The header differs from its digest.
        FormatError: The header breaks a rule of the format.
        UnverifiableError: The file has no digests.
        StorageError: The file cannot be read.
    """
    plain = open_plain(path, nofollow=nofollow)
    if not plain.header.ours:
        raise UnverifiableError("the file carries no digests: damage cannot be told", path=plain.path)
    ordered = sorted(plain.header.entries.items(), key=lambda item: item[1].begin)
    chunks = [span for name, entry in ordered for span in _chunks(name, entry.nbytes)]
    return tuple(_damage(plain, span) for span in _damaged(plain, chunks))


def _chunks(name: str, nbytes: int) -> list[Span]:
    size = _native.CHUNK_BYTES
    return [Span(name, begin, min(begin + size, nbytes)) for begin in range(0, nbytes, size)]


def _damaged(plain: PlainFile, chunks: Sequence[Span]) -> list[Span]:
    """The damaged ones among chunks, by halves: a read of many stops at the first that it finds."""
    try:
        plain.read(chunks, None, "sha256")
    except CorruptionError:
        if len(chunks) == 1:
            return [chunks[0]]
        middle = len(chunks) // 2
        return _damaged(plain, chunks[:middle]) + _damaged(plain, chunks[middle:])
    return []


def _damage(plain: PlainFile, span: Span) -> Damage:
    offset = plain.header.data_offset + plain.header.entries[span.name].begin + span.begin
    return Damage(span.name, span.begin // _native.CHUNK_BYTES, offset, span.end - span.begin)
