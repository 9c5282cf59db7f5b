"""Checking a checkpoint piece by piece, from its device, to the end: damage is collected and does not stop it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from model_checkpoint import _native
from model_checkpoint.errors import IntegrityError, StorageError
from model_checkpoint.storage.contents import Contents, check_shards, open_tensors
from model_checkpoint.storage.flaws import Flaw
from model_checkpoint.storage.manifest import content_digest
from model_checkpoint.storage.names import MANIFEST_NAME
from model_checkpoint.storage.safetensors.header import Header
from model_checkpoint.storage.safetensors.plain_file import Span, grouped
from model_checkpoint.storage.safetensors.verify import chunk_spans, damaged_chunks, file_offset
from model_checkpoint.storage.state_tree import references
from model_checkpoint.types import FileInfo
from model_checkpoint.utils.regular_file import open_regular
from model_checkpoint.utils.uncached import blocks_around_cache, is_unreadable, way_around_cache

__all__ = ["Step", "chunk_flaw", "examine_description", "examine_file"]

_DIFFERS = "differs from its digest"


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of a file that was read.

    Attributes:
        end: Everything before this file offset has been read by now, in bytes.
        nbytes: How many bytes were read.
        flaws: What is damaged in the piece.
    """

    end: int
    nbytes: int
    flaws: tuple[Flaw, ...] = ()


def examine_description(contents: Contents) -> tuple[Flaw, ...]:
    """What is wrong with a manifest that has the right digest: nothing, unless something other than us wrote it."""
    manifest, path = contents.manifest, contents.manifest_file.path
    try:
        references(manifest.state, path=path)
        check_shards([info.name for info in manifest.files if info.kind == "tensors"], contents.directory)
    except IntegrityError as error:
        return (Flaw(MANIFEST_NAME, str(error)),)
    if content_digest(manifest.files, manifest.state) != manifest.content:
        return (Flaw(MANIFEST_NAME, "the content digest is not that of the content"),)
    return ()


def examine_file(directory: str, info: FileInfo, *, piece_bytes: int, start: int = 0) -> Iterator[Step]:
    """Read and check one file from its device.

    Args:
        directory: The checkpoint.
        info: The file, as the manifest has it.
        piece_bytes: How many bytes to read at once, at most (but a chunk at least).
        start: A former ``Step.end`` to go on from. A file that is not one of tensors is always read from its beginning.

    Raises:
        StorageError: A read failed for another reason than damage.
    """
    steps = _tensors(directory, info, piece_bytes, start) if info.kind == "tensors" else _blob(directory, info)
    try:
        yield from steps
    except IntegrityError as error:  # missing, no regular file, a damaged header, shorter than it was
        yield Step(info.nbytes, 0, (Flaw(info.name, str(error)),))
    except StorageError as error:
        if not is_unreadable(error):
            raise
        yield Step(info.nbytes, 0, (Flaw(info.name, str(error)),))


def chunk_flaw(file: str, header: Header, span: Span) -> Flaw:
    """A damaged chunk."""
    index = span.begin // _native.CHUNK_BYTES
    return Flaw(file, _DIFFERS, span.name, index, file_offset(header, span), span.end - span.begin)


def _tensors(directory: str, info: FileInfo, piece_bytes: int, start: int) -> Iterator[Step]:
    plain = open_tensors(directory, info, uncached=True)
    header = plain.header
    yield Step(max(start, header.data_offset), header.data_offset)
    spans = (span for span in chunk_spans(header) if file_offset(header, span) >= start)
    for group in grouped(spans, piece_bytes):
        flaws = tuple(chunk_flaw(info.name, header, span) for span in damaged_chunks(plain, group))
        last = group[-1]
        yield Step(file_offset(header, last) + last.end - last.begin, sum(s.end - s.begin for s in group), flaws)


def _blob(directory: str, info: FileInfo) -> Iterator[Step]:
    path = os.path.join(directory, info.name)
    try:
        file = open_regular(path, nofollow=True)
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            yield Step(info.nbytes, 0, (Flaw(info.name, "the file is missing"),))
            return
        raise
    hasher, end = hashlib.sha256(), 0
    for block in blocks_around_cache(file, way_around_cache(file)):
        hasher.update(block)
        end += len(block)
        yield Step(0, len(block))  # its digest is of the whole: nobody can go on in the middle
    damaged = hasher.hexdigest() != info.digest
    yield Step(info.nbytes, 0, (Flaw(info.name, _DIFFERS),) if damaged else ())
