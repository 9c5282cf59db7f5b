"""Checking plain files without loading them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from model_checkpoint import _native
from model_checkpoint.errors import CorruptionError, StorageError, UnverifiableError
from model_checkpoint.storage.safetensors.digest import chunk_count
from model_checkpoint.storage.safetensors.header import Header
from model_checkpoint.storage.safetensors.plain_file import PlainFile, Span, open_plain
from model_checkpoint.utils.uncached import is_unreadable

__all__ = ["Damage", "VerifyReport", "chunk_spans", "damaged_chunks", "file_offset", "find_damage", "verify_file"]


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
    return tuple(_damage(plain.header, span) for span in damaged_chunks(plain, list(chunk_spans(plain.header))))


def chunk_spans(header: Header) -> Iterator[Span]:
    """All chunks of a file, in the order of the file and of its chunk table."""
    size = _native.CHUNK_BYTES
    for name, entry in sorted(header.entries.items(), key=lambda item: item[1].begin):
        for begin in range(0, entry.nbytes, size):
            yield Span(name, begin, min(begin + size, entry.nbytes))


def damaged_chunks(plain: PlainFile, chunks: Sequence[Span]) -> list[Span]:
    """The damaged ones among chunks, by halves: a read of many stops at the first that it finds.

    A chunk that the device cannot read any more counts as damaged.

    Raises:
        StorageError: A read failed for another reason.
    """
    try:
        plain.read(chunks, None, "sha256")
    except (CorruptionError, StorageError) as error:
        if isinstance(error, StorageError) and not is_unreadable(error):
            raise
        if len(chunks) == 1:
            return [chunks[0]]
        middle = len(chunks) // 2
        return damaged_chunks(plain, chunks[:middle]) + damaged_chunks(plain, chunks[middle:])
    return []


def file_offset(header: Header, span: Span) -> int:
    """Where a span begins in the file, in bytes."""
    return header.data_offset + header.entries[span.name].begin + span.begin


def _damage(header: Header, span: Span) -> Damage:
    return Damage(span.name, span.begin // _native.CHUNK_BYTES, file_offset(header, span), span.end - span.begin)
