"""Making a damaged file of a checkpoint what was committed, from good copies of its parts.

A committed checkpoint never changes, so a file is never repaired in place:

    1. Find good copies of all that is damaged; without one of each, the file is left as it is.
    2. Write the whole file anew in the staging area, on the same file system: what is sound from the damaged file, the
       rest from the copies, each chunk verified while it is read.
    3. Give it the mode and owner of its checkpoint, and fsync it.
    4. Read it back from the device. It must have the size and the digest that the manifest has for it.
    5. Rename it over the damaged file, and fsync the checkpoint's directory.

A process that dies before step 5 leaves the damaged file, one that dies later the repaired one, and in both cases no
more than a staging directory that recovery removes. Whoever has the damaged file open or mapped, or as a hard link,
keeps it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from model_checkpoint import _native
from model_checkpoint.errors import CorruptionError, IntegrityError, StorageError
from model_checkpoint.storage import manifest as manifests
from model_checkpoint.storage.contents import check_file
from model_checkpoint.storage.durable import sync_directory
from model_checkpoint.storage.examination import chunk_flaw
from model_checkpoint.storage.flaws import Flaw
from model_checkpoint.storage.good_copies import ChunkCopy, GoodCopies, chunk_digests
from model_checkpoint.storage.manifest import Manifest
from model_checkpoint.storage.names import MANIFEST_NAME
from model_checkpoint.storage.safetensors.header import Header, decode
from model_checkpoint.storage.safetensors.plain_file import PlainFile, Span, grouped, header_region, open_plain
from model_checkpoint.storage.safetensors.verify import chunk_spans, damaged_chunks, file_offset
from model_checkpoint.storage.staging import StagingArea
from model_checkpoint.types import FileInfo
from model_checkpoint.utils import real_path
from model_checkpoint.utils.regular_file import open_regular, write_fully
from model_checkpoint.utils.storage_errors import storage_errors
from model_checkpoint.utils.uncached import blocks_around_cache, read_around_cache, way_around_cache

__all__ = ["Diagnosis", "Remedy", "diagnose", "diagnose_manifest"]

_MOVED_BYTES = 32 * 1024 * 1024


class Remedy(ABC):
    """All that is needed to write one file anew."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The file, relative to its checkpoint."""

    @abstractmethod
    def write(self, fd: int, path: str) -> None:
        """Write the whole file.

        Raises:
            CheckpointError: A copy is not sound any more, or the file system failed.
        """

    @abstractmethod
    def check(self, directory: str) -> None:
        """Return if the file in a directory, as its device has it, is the one that was committed.

        Raises:
            CheckpointError: It is not.
        """

    def apply(self, area: StagingArea, directory: str) -> None:
        """Write the file anew and put it in the place of the damaged one.

        Args:
            area: Where to write it, on the same file system.
            directory: The checkpoint.

        Raises:
            CheckpointError: Something failed; the damaged file is still there.
        """
        staging = area.create()
        try:
            path, target = os.path.join(staging.path, self.name), os.path.join(directory, self.name)
            with storage_errors("cannot write the repaired file", path):
                fd = real_path.open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
                try:
                    self.write(fd, path)  # 2
                    _look_like_neighbours(fd, directory)  # 3
                    _native.sync_file(fd, path)
                finally:
                    os.close(fd)
            self.check(staging.path)  # 4
            with storage_errors("cannot put the repaired file in place", target):
                real_path.rename(path, target)  # 5
            sync_directory(directory)
        finally:
            staging.abandon()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong with one file, and what can be done.

    Attributes:
        flaws: What is damaged, each with the file that has a good copy of it, or None.
        remedy: How to repair the file; None if something has no good copy.
    """

    flaws: tuple[tuple[Flaw, str | None], ...]
    remedy: Remedy | None


def diagnose(directory: str, path: str, info: FileInfo, flaws: Sequence[Flaw], copies: GoodCopies) -> Diagnosis:
    """Find out what a damaged file lacks, and look for it.

    Args:
        directory: The checkpoint.
        path: The same, relative to its store.
        info: The file, as the manifest has it.
        flaws: What an examination has found in it.
        copies: Where to look.

    Raises:
        StorageError: The damaged file cannot be read for another reason than damage.
    """
    if info.kind == "tensors":
        return _diagnose_tensors(directory, path, info, flaws, copies)
    source = copies.blob(path, info)
    return Diagnosis(tuple((flaw, source) for flaw in flaws), None if source is None else _Blob(info, source))


def diagnose_manifest(path: str, flaw: Flaw, is_right: Callable[[Manifest], bool], copies: GoodCopies) -> Diagnosis:
    """Look for a good copy of a damaged manifest.

    Args:
        path: The checkpoint, relative to its store.
        flaw: What is wrong with it.
        is_right: Whether a sound manifest is the one that was committed there.
        copies: Where to look.
    """
    found = copies.manifest(path, is_right)
    if found is None:
        return Diagnosis(((flaw, None),), None)
    return Diagnosis(((flaw, found[0]),), _ManifestText(found[1]))


# --- files that are copied as a whole ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Blob(Remedy):
    info: FileInfo
    source: str

    @property
    def name(self) -> str:
        return self.info.name

    def write(self, fd: int, path: str) -> None:
        file = open_regular(self.source, nofollow=True)
        offset = 0
        for block in blocks_around_cache(file, way_around_cache(file)):
            write_fully(fd, block, offset, path)
            offset += len(block)

    def check(self, directory: str) -> None:
        check_file(directory, self.info, uncached=True)


@dataclass(frozen=True, slots=True)
class _ManifestText(Remedy):
    text: bytes

    @property
    def name(self) -> str:
        return MANIFEST_NAME

    def write(self, fd: int, path: str) -> None:
        write_fully(fd, self.text, 0, path)

    def check(self, directory: str) -> None:
        path = os.path.join(directory, MANIFEST_NAME)
        file = open_regular(path, nofollow=True)
        raw = read_around_cache(file, file.nbytes, 0, way_around_cache(file))
        manifests.decode(raw, path=path)
        if raw != self.text:
            raise CorruptionError("not what was written", path=path, rule="digest")


# --- files of tensors -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Tensors(Remedy):
    """A file of tensors, put together.

    Attributes:
        info: The file, as the manifest has it.
        region: Its header region.
        header: What that says.
        rest: The damaged file, for the chunks that are sound; None if there are none.
        copies: Where the others are.
    """

    info: FileInfo
    region: bytes
    header: Header
    rest: PlainFile | None
    copies: Mapping[Span, ChunkCopy]

    @property
    def name(self) -> str:
        return self.info.name

    def write(self, fd: int, path: str) -> None:
        with storage_errors("cannot reserve room for the repaired file", path):
            os.posix_fallocate(fd, 0, self.info.nbytes)  # a full disk is found out before the work is done
        write_fully(fd, self.region, 0, path)
        if self.rest is not None:
            sound = (span for span in chunk_spans(self.header) if span not in self.copies)
            self._move(fd, path, self.rest, ((span, span) for span in sound))
        for source, pairs in _by_source(self.copies).items():
            self._move(fd, path, open_plain(source, nofollow=True, uncached=True), pairs)

    def check(self, directory: str) -> None:
        check_file(directory, self.info, uncached=True)

    def _move(self, fd: int, path: str, source: PlainFile, pairs: Iterable[tuple[Span, Span]]) -> None:
        """Copy chunks, each given as its place here and its place in the source, verified."""
        here: dict[Span, list[Span]] = {}
        for own, theirs in pairs:
            here.setdefault(theirs, []).append(own)
        for group in grouped(here, _MOVED_BYTES):
            blocks = [bytearray(span.end - span.begin) for span in group]
            source.read(group, blocks, "sha256")
            for theirs, block in zip(group, blocks, strict=True):
                for own in here[theirs]:
                    write_fully(fd, block, file_offset(self.header, own), path)


def _diagnose_tensors(
    directory: str, path: str, info: FileInfo, flaws: Sequence[Flaw], copies: GoodCopies
) -> Diagnosis:
    found = _header(directory, path, info, copies)
    if found is None:
        return Diagnosis(tuple((flaw, None) for flaw in flaws), None)
    region, header, source = found
    known: list[tuple[Flaw, str | None]] = [(flaw, source) for flaw in flaws if flaw.tensor is None]
    rest = _damaged_file(directory, info, header)
    damaged = _damaged_chunks(rest, header, flaws)
    digests = chunk_digests(header)
    sound = copies.chunks(path, info, {digests[span] for span in damaged})
    for span in damaged:
        copy = sound.get(digests[span])
        known.append((chunk_flaw(info.name, header, span), None if copy is None else copy.path))
    if any(origin is None for _, origin in known):
        return Diagnosis(tuple(known), None)
    return Diagnosis(tuple(known), _Tensors(info, region, header, rest, {s: sound[digests[s]] for s in damaged}))


def _damaged_chunks(rest: PlainFile | None, header: Header, flaws: Sequence[Flaw]) -> list[Span]:
    """The damaged chunks, which the examination has found already unless it could not even trust the header."""
    spans = list(chunk_spans(header))
    if rest is None:
        return spans
    if any(flaw.tensor is None for flaw in flaws):
        return damaged_chunks(rest, spans)
    places = {flaw.offset for flaw in flaws}
    return [span for span in spans if file_offset(header, span) in places]


def _header(directory: str, path: str, info: FileInfo, copies: GoodCopies) -> tuple[bytes, Header, str] | None:
    """The header region of a file, what it says, and who has it: the damaged file itself, or another one."""
    own = os.path.join(directory, info.name)
    with contextlib.suppress(IntegrityError, StorageError):
        file = open_regular(own, nofollow=True)
        region = header_region(file, info.nbytes, way_around_cache(file))
        header = decode(region, info.nbytes, own)
        if header.digest == info.digest:
            return region, header, own
    found = copies.header(path, info)
    return None if found is None else (found.region, found.header, found.path)


def _damaged_file(directory: str, info: FileInfo, header: Header) -> PlainFile | None:
    """The damaged file, as if its header were sound; None if it is gone, or no regular file."""
    try:
        file = open_regular(os.path.join(directory, info.name), nofollow=True)
    except (IntegrityError, StorageError):
        return None
    return PlainFile(file, header, way_around_cache(file))


def _by_source(copies: Mapping[Span, ChunkCopy]) -> dict[str, list[tuple[Span, Span]]]:
    pairs: dict[str, list[tuple[Span, Span]]] = {}
    for own, copy in copies.items():
        pairs.setdefault(copy.path, []).append((own, copy.span))
    return pairs


def _look_like_neighbours(fd: int, directory: str) -> None:
    """Mode and owner as a commit by the checkpoint's owner would have given them."""
    status = real_path.lstat(directory)
    os.fchmod(fd, stat.S_IMODE(status.st_mode) & 0o444)
    with contextlib.suppress(PermissionError):  # only root can give files away
        os.fchown(fd, status.st_uid, status.st_gid)
