"""Where the bytes that a checkpoint has lost lie once more: in other checkpoints, backups, exported files.

A chunk is named by its digest, so that any file of ours that lists the digest may hold it. What is found was read from
its device and checked; nothing is taken on anybody's word.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from model_checkpoint.errors import CheckpointError, IntegrityError, StorageError
from model_checkpoint.storage import manifest as manifests
from model_checkpoint.storage.durable import read_small
from model_checkpoint.storage.manifest import MAX_MANIFEST_BYTES, Manifest
from model_checkpoint.storage.names import MANIFEST_NAME
from model_checkpoint.storage.safetensors.digest import CHUNK_ENTRY_BYTES, DIGEST_BYTES
from model_checkpoint.storage.safetensors.header import DIGEST_OFFSET, Header, decode
from model_checkpoint.storage.safetensors.plain_file import PlainFile, Span, header_region, open_plain
from model_checkpoint.storage.safetensors.verify import chunk_spans, damaged_chunks
from model_checkpoint.storage.staged_files import blob_digest
from model_checkpoint.types import FileInfo
from model_checkpoint.utils import real_path
from model_checkpoint.utils.presence import is_file
from model_checkpoint.utils.regular_file import open_regular
from model_checkpoint.utils.uncached import way_around_cache

__all__ = ["ChunkCopy", "GoodCopies", "HeaderCopy", "chunk_digests"]

_STAGING = ".staging"


@dataclass(frozen=True, slots=True)
class ChunkCopy:
    """A sound chunk.

    Attributes:
        path: The file that has it.
        span: Where it is in that file.
    """

    path: str
    span: Span


@dataclass(frozen=True, slots=True)
class HeaderCopy:
    """The header of a file, from another file.

    Attributes:
        path: The file that has it.
        region: Its bytes.
        header: What they say.
    """

    path: str
    region: bytes
    header: Header


class GoodCopies:
    """Looks for good copies.

    Args:
        root: The store that is repaired.
        further: Where to look first: stores, directories that hold copies at any depth, or single files.
    """

    def __init__(self, root: str, further: Sequence[str] = ()) -> None:
        self._further = [os.path.realpath(path) for path in further]
        self._roots = [*self._further, root]

    def manifest(self, path: str, is_right: Callable[[Manifest], bool]) -> tuple[str, bytes] | None:
        """A sound manifest and the file that has it, or None.

        Args:
            path: The checkpoint, relative to its store.
            is_right: Whether it is the one that is looked for.
        """
        for candidate in self._files(f"{path}/{MANIFEST_NAME}"):
            if os.path.basename(candidate) == MANIFEST_NAME:
                with contextlib.suppress(IntegrityError, StorageError):
                    raw = read_small(candidate, limit=MAX_MANIFEST_BYTES)
                    if is_right(manifests.decode(raw, path=candidate)):
                        return candidate, raw
        return None

    def blob(self, path: str, info: FileInfo) -> str | None:
        """A file with the bytes of one that is not of tensors, or None."""
        for candidate in self._files(f"{path}/{info.name}"):
            with contextlib.suppress(IntegrityError, StorageError):
                if _may_be(candidate, info) and blob_digest(candidate, uncached=True) == info.digest:
                    return candidate
        return None

    def header(self, path: str, info: FileInfo) -> HeaderCopy | None:
        """The header of a file of tensors, or None."""
        for candidate in self._files(f"{path}/{info.name}"):
            with contextlib.suppress(IntegrityError, StorageError):
                file = open_regular(candidate, nofollow=True)
                region = header_region(file, info.nbytes, way_around_cache(file))
                if region[DIGEST_OFFSET : DIGEST_OFFSET + len(info.digest)] == info.digest.encode():
                    return HeaderCopy(candidate, region, decode(region, info.nbytes, candidate))
        return None

    def chunks(self, path: str, info: FileInfo, digests: Collection[bytes]) -> dict[bytes, ChunkCopy]:
        """Sound chunks with these digests, as far as there are any."""
        found: dict[bytes, ChunkCopy] = {}
        missing = set(digests)
        for candidate in self._files(f"{path}/{info.name}"):
            if not missing:
                break
            with contextlib.suppress(IntegrityError, StorageError):
                plain = open_plain(candidate, nofollow=True, uncached=True)
                for digest, span in _sound_chunks(plain, missing):
                    found[digest] = ChunkCopy(candidate, span)
                    missing.remove(digest)
        return found

    def _files(self, likely: str) -> Iterator[str]:
        """All files in the places to look, those first that are where a copy of the store would have them."""
        seen = set()
        first = [os.path.join(root, name) for root in self._further for name in (likely, os.path.basename(likely))]
        for path in (*first, *(path for root in self._roots for path in _walk(root))):
            if path not in seen and is_file(path):
                seen.add(path)
                yield path


def chunk_digests(header: Header) -> Mapping[Span, bytes]:
    """The digest of each chunk of a file of ours."""
    table = header.table or b""
    starts = range(0, len(table), CHUNK_ENTRY_BYTES)
    return {span: table[at : at + DIGEST_BYTES] for span, at in zip(chunk_spans(header), starts, strict=header.ours)}


def _walk(root: str) -> Iterator[str]:
    """All files below a directory, or the file itself; links are not followed."""
    if is_file(root):
        yield root
        return
    try:
        entries = real_path.entries(root)
    except OSError:  # it is gone, or not for us to read: a copy may be elsewhere
        return
    yield from (os.path.join(root, name) for name, is_directory in entries if not is_directory)
    for name, is_directory in entries:
        if is_directory and name != _STAGING:
            yield from _walk(os.path.join(root, name))


def _may_be(path: str, info: FileInfo) -> bool:
    """Whether a file may have these bytes, by its size and, if there is a sound one beside it, its manifest."""
    if open_regular(path, nofollow=True).nbytes != info.nbytes:
        return False
    beside = os.path.join(os.path.dirname(path), MANIFEST_NAME)
    try:
        manifest = manifests.decode(read_small(beside, limit=MAX_MANIFEST_BYTES), path=beside)
    except CheckpointError:
        return True
    return (os.path.basename(path), info.digest) in {(file.name, file.digest) for file in manifest.files}


def _sound_chunks(plain: PlainFile, digests: Collection[bytes]) -> Iterator[tuple[bytes, Span]]:
    """Chunks of a file that have one of these digests and are sound, one for each digest."""
    places: dict[bytes, list[Span]] = {}
    for span, digest in chunk_digests(plain.header).items():
        if digest in digests:
            places.setdefault(digest, []).append(span)
    while places:
        tried = {spans.pop(): digest for digest, spans in places.items()}
        damaged = set(damaged_chunks(plain, list(tried)))
        yield from ((digest, span) for span, digest in tried.items() if span not in damaged)
        places = {digest: spans for span in damaged if (spans := places[digest := tried[span]])}
