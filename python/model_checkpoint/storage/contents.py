"""A checkpoint directory, open for reading: docs/format.md, section 3."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_checkpoint.errors import (
    CheckpointNotFoundError,
    ConfigurationError,
    CorruptionError,
    FormatError,
    StorageError,
)
from model_checkpoint.monitoring.span import spanned
from model_checkpoint.storage import manifest as manifests
from model_checkpoint.storage.leaf_reader import read_leaves
from model_checkpoint.storage.leases import lease
from model_checkpoint.storage.leaves import LeafRef
from model_checkpoint.storage.manifest import MAX_MANIFEST_BYTES, Manifest
from model_checkpoint.storage.names import MANIFEST_NAME, component_of
from model_checkpoint.storage.safetensors.plain_file import Check, PlainFile, open_plain
from model_checkpoint.storage.staged_files import blob_digest
from model_checkpoint.types import FileInfo, VerifyLevel
from model_checkpoint.utils import real_path
from model_checkpoint.utils.collector import collector_paused
from model_checkpoint.utils.presence import is_directory
from model_checkpoint.utils.regular_file import RegularFile, open_regular, read_fully
from model_checkpoint.utils.storage_errors import storage_errors
from model_checkpoint.utils.uncached import read_around_cache, way_around_cache

__all__ = ["Contents", "check_file", "check_shards", "checks", "open_contents", "open_tensors"]

_CHECKS: Mapping[str, Check] = {"auto": "sha256", "full": "sha256", "fast": "crc32c", "none": "none"}


def checks(level: VerifyLevel) -> Check:
    """How to check at a level. ``auto`` is ``full``: the files of a checkpoint always have digests.

    Raises:
        ConfigurationError: There is no such level.
    """
    try:
        return _CHECKS[level]
    except KeyError:
        raise ConfigurationError(f"unknown level {level!r}; there is {', '.join(_CHECKS)}") from None


@dataclass(frozen=True)
class Contents:
    """An open checkpoint. Nobody moves it to the trash meanwhile.

    Attributes:
        directory: Where it is.
        manifest: Its manifest, checked.
        manifest_file: Keeps the lease; closed with its last reference.
    """

    directory: str
    manifest: Manifest
    manifest_file: RegularFile

    @functools.cached_property
    def tensor_files(self) -> Mapping[str, PlainFile]:
        """The plain files by name, each with a checked header that is the one of the manifest.

        Raises:
            CorruptionError: A file is missing, or is not the one that was committed.
            FormatError: A file is no regular file or breaks a rule, or shards are missing.
            StorageError: A file cannot be opened.
        """
        infos = [info for info in self.manifest.files if info.kind == "tensors"]
        check_shards([info.name for info in infos], self.directory)
        return {info.name: open_tensors(self.directory, info) for info in infos}

    def check_blobs(self) -> None:
        """Read and check every file that is not one of tensors.

        Raises:
            CorruptionError: One is missing or differs.
            FormatError: One is no regular file.
        """
        for info in self.manifest.files:
            if info.kind == "blob":
                check_file(self.directory, info)

    def check_lengths(self) -> None:
        """Return if no file of tensors has shrunk since it was opened: the end of its last page would read as zeros.

        Raises:
            CorruptionError: One has.
        """
        for plain in self.tensor_files.values():
            plain.check_length()

    @functools.cached_property
    def extra(self) -> tuple[str, ...]:
        """What lies in the directory and is not part of the checkpoint; it is never used."""
        known = {MANIFEST_NAME, *(info.name for info in self.manifest.files)}
        with storage_errors("cannot list the checkpoint", self.directory):
            return tuple(name for name in real_path.names(self.directory) if name not in known)

    def holder(self, component: str, name: str) -> PlainFile:
        """The file that has a tensor.

        Raises:
            FormatError: There is none.
        """
        for plain in self._shards.get(component, ()):
            if name in plain.header.entries or name in plain.header.aliases:
                return plain
        message = f"the state refers to a tensor of {component!r} that no file has"
        raise FormatError(message, path=self._manifest_path, tensor=name, rule="state")

    def leaves(
        self, refs: Iterable[LeafRef], check: Check, *, device: Any = "cpu", mmap: bool = False
    ) -> dict[LeafRef, Any]:
        """Read and check tensors: `read_leaves`.

        Raises:
            IntegrityError: Something is damaged, or no file has what a reference asks for.
        """
        with collector_paused():
            located = [(ref, self.holder(ref.component, ref.name)) for ref in refs]
        return read_leaves(located, check, device=device, mmap=mmap)

    @functools.cached_property
    def _shards(self) -> dict[str, list[PlainFile]]:
        """The files of each component."""
        shards: dict[str, list[PlainFile]] = {}
        for name, plain in self.tensor_files.items():
            parsed = component_of(name)
            if parsed is not None:
                shards.setdefault(parsed[0], []).append(plain)
        return shards

    @property
    def _manifest_path(self) -> str:
        return self.manifest_file.path


@spanned("read")
def open_contents(directory: str | os.PathLike[str], *, uncached: bool = False, nofollow: bool = False) -> Contents:
    """Open a checkpoint and check its manifest.

    Args:
        directory: The checkpoint.
        uncached: Whether to read the manifest from the device, whatever the page cache has.
        nofollow: Whether to refuse a symbolic link anywhere in the path, as inside a store. Below the directory there
            may be none in any case.

    Raises:
        CheckpointNotFoundError: There is no such directory.
        FormatError: It has no manifest, or one that breaks a rule.
        CorruptionError: The manifest differs from its digest.
        StorageError: It cannot be read.
    """
    path = os.fspath(directory) if nofollow else os.path.realpath(directory)
    if not is_directory(path, follow=False):
        raise CheckpointNotFoundError(f"there is no directory {path!r}", ref=path)
    manifest_path = os.path.join(path, MANIFEST_NAME)
    try:
        file = open_regular(manifest_path, nofollow=True)
    except StorageError as error:
        if error.errno == errno.ENOENT and not is_directory(path, follow=False):  # moved away meanwhile
            raise CheckpointNotFoundError(f"there is no directory {path!r}", ref=path) from None
        if error.errno == errno.ENOENT:
            raise FormatError("not a checkpoint: it has no manifest", path=path, rule="manifest") from None
        raise
    lease(file)
    if file.nbytes > MAX_MANIFEST_BYTES:
        raise FormatError(f"a manifest of {file.nbytes} bytes", path=manifest_path, rule="length")
    return Contents(path, manifests.decode(_whole(file, uncached=uncached), path=manifest_path), file)


def _whole(file: RegularFile, *, uncached: bool) -> bytes:
    if uncached:
        return read_around_cache(file, file.nbytes, 0, way_around_cache(file))
    return read_fully(file, file.nbytes, 0)


def check_file(
    directory: str, info: FileInfo, advance: Callable[[int], None] | None = None, *, uncached: bool = False
) -> None:
    """Read and check every byte of one file.

    Args:
        directory: The checkpoint.
        info: The file, as the manifest has it.
        advance: Told of the bytes that are done.
        uncached: Whether to read from the device, whatever the page cache has.

    Raises:
        CorruptionError: It is missing, or differs from what the manifest says.
        FormatError: It is no regular file, or breaks a rule.
        StorageError: It cannot be read.
    """
    path = os.path.join(directory, info.name)
    if info.kind == "tensors":
        open_tensors(directory, info, uncached=uncached).verify("sha256", advance)
        return
    try:
        digest = blob_digest(path, uncached=uncached)
    except StorageError as error:
        raise _missing(error, path) from None
    if digest != info.digest:
        raise CorruptionError("the file differs from its digest", path=path, rule="digest")
    if advance is not None:
        advance(info.nbytes)


@spanned("read")
def open_tensors(directory: str, info: FileInfo, *, uncached: bool = False) -> PlainFile:
    """Open a file of tensors and see that it is the one of the manifest; `check_file` says what it raises."""
    path = os.path.join(directory, info.name)
    try:
        plain = open_plain(path, nofollow=True, uncached=uncached)
    except StorageError as error:
        raise _missing(error, path) from None
    if plain.header.digest != info.digest or plain.file.nbytes != info.nbytes:
        raise CorruptionError("not the file that was committed", path=path, rule="digest")
    return plain


def _missing(error: StorageError, path: str) -> StorageError | CorruptionError:
    if error.errno == errno.ENOENT:
        return CorruptionError("a file of the checkpoint is missing", path=path, rule="files")
    return error


def check_shards(names: Sequence[str], directory: str) -> None:
    """Check that each component has all of its shards, or one whole file.

    Raises:
        FormatError: One has not.
    """
    shards: dict[str, list[tuple[int, int]]] = {}
    for name in names:
        parsed = component_of(name)
        if parsed is None:
            raise FormatError(f"a file of tensors is named {name!r}", path=directory, rule="files")
        shards.setdefault(parsed[0], []).append(parsed[1:])
    for component, numbers in shards.items():
        count = numbers[0][1]
        if sorted(numbers) != [(number, count) for number in range(1, count + 1)]:
            raise FormatError(f"{component!r} does not have all of its shards", path=directory, rule="files")
