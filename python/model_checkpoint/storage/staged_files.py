"""Files that a commit is going to write."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from model_checkpoint import _native
from model_checkpoint.errors import ConfigurationError, FormatError, StateError, StorageError
from model_checkpoint.monitoring.span import span, spanned
from model_checkpoint.storage.base_backend import BaseStorageBackend
from model_checkpoint.storage.names import check_file_name, shard_name
from model_checkpoint.storage.safetensors.alias import Alias
from model_checkpoint.storage.safetensors.gather import Gathered, Source
from model_checkpoint.storage.safetensors.writer import PreparedFile, prepare
from model_checkpoint.storage.state_tree import FlatState
from model_checkpoint.types import FileInfo
from model_checkpoint.utils import real_path, strict_json
from model_checkpoint.utils.collector import collector_paused
from model_checkpoint.utils.regular_file import RegularFile, close_written, open_regular, write_fully
from model_checkpoint.utils.storage_errors import storage_errors
from model_checkpoint.utils.uncached import blocks_around_cache, way_around_cache

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from 3.12 on

__all__ = [
    "BackendFile",
    "BlobFile",
    "StagedFile",
    "TensorsFile",
    "blob_digest",
    "blob_files",
    "component_files",
    "state_file_name",
]

_COPY_BYTES = 4 * 1024 * 1024
_FORMAT_MARK = {"format": "pt"}
"""Without it, `transformers` before version 5 refuses a file of weights."""


class StagedFile(Protocol):
    """A file that can be written once its directory exists."""

    @property
    def name(self) -> str:
        """Its name in the checkpoint."""

    @property
    def nbytes(self) -> int:
        """How much room it will take, in bytes; an estimate may be low."""

    def write(self, path: str) -> FileInfo:
        """Create it, whole and synced. What an error leaves of it is the caller's to remove."""


@dataclass(frozen=True, slots=True)
class TensorsFile:
    """A plain file of tensors.

    Attributes:
        name: Its name in the checkpoint.
        prepared: The file but for its bytes.
        gathered: Its tensors; they are read when the file is written, unless ``sources`` is given.
        sources: Other places of the same bytes: a snapshot.
    """

    name: str
    prepared: PreparedFile
    gathered: Gathered
    sources: Sequence[Source] | None = None

    @property
    def nbytes(self) -> int:
        return self.prepared.nbytes

    def write(self, path: str) -> FileInfo:
        return self.prepared.write(path, self.gathered.sources() if self.sources is None else self.sources)

    @property
    def snapshot_bytes(self) -> int:
        """The memory that `snapshot` needs, in bytes."""
        return self.prepared.layout.nbytes

    def snapshot(self, memory: Buffer) -> TensorsFile:
        """Copy the tensors, so that they may change while the copy is written.

        Args:
            memory: `snapshot_bytes` writable bytes, aligned to pages. They must outlive the returned file's writing.
        """
        self.gathered.copy_to(memory, self.prepared.layout.offsets)
        return self.written_from(memory)

    @collector_paused()
    def written_from(self, memory: Buffer) -> TensorsFile:
        """The file, written from memory to which its tensors were, or will be, copied by the layout."""
        layout, view = self.prepared.layout, memoryview(memory).cast("B")
        sources = [view[offset : offset + size] for offset, size in zip(layout.offsets, layout.sizes, strict=True)]
        return dataclasses.replace(self, sources=sources)


@dataclass(frozen=True, slots=True)
class BlobFile:
    """A file that is stored as it is.

    Attributes:
        name: Its name in the checkpoint.
        source: Its bytes, or the path of a file to copy.
        nbytes: Its size in bytes.
    """

    name: str
    source: bytes | str
    nbytes: int

    @spanned("write")
    def write(self, path: str) -> FileInfo:
        hasher, nbytes = hashlib.sha256(), 0
        with storage_errors("cannot write the file", path):
            fd = real_path.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                for block in self._blocks():
                    with span("hash"):
                        hasher.update(block)
                    write_fully(fd, block, nbytes, path)
                    nbytes += len(block)
                with span("fsync"):
                    _native.sync_file(fd, path)
            finally:
                close_written(fd, path)
        return FileInfo(self.name, nbytes, hasher.hexdigest(), "blob")

    def _blocks(self) -> Iterator[bytes]:
        if isinstance(self.source, bytes):
            yield self.source
            return
        yield from _blocks(open_regular(self.source))


@dataclass(frozen=True, slots=True)
class BackendFile:
    """A whole state in one file, written by a storage backend.

    Attributes:
        backend: Who writes it.
        data: The state.
        nbytes: An estimate of its size in bytes.
    """

    backend: BaseStorageBackend
    data: Any
    nbytes: int = 0

    @property
    def name(self) -> str:
        return state_file_name(self.backend)

    @spanned("write")
    def write(self, path: str) -> FileInfo:
        """As `StagedFile.write`.

        Raises:
            StateError: The backend has not written a regular file.
        """
        message = f"the backend {type(self.backend).__name__} cannot write the file"
        with storage_errors(message, path), real_path.pinned(path) as pinned:
            self.backend.save(self.data, pinned)
        try:
            file = open_regular(path, nofollow=True)
        except (StorageError, FormatError) as error:
            if isinstance(error, StorageError) and error.errno != errno.ENOENT:
                raise
            raise StateError(f"the backend {type(self.backend).__name__} has not written {path}: {error}") from error
        with span("fsync"):
            _native.sync_file(file.fd, path)
        return FileInfo(self.name, file.nbytes, blob_digest(path), "blob")


def state_file_name(backend: BaseStorageBackend) -> str:
    """The name of the file in which a backend keeps a state."""
    return f"state{backend.extension}"


def blob_files(files: Mapping[str, bytes | str | os.PathLike[str]]) -> list[BlobFile]:
    """Files given by a user, by name: bytes, or a path to copy from.

    Raises:
        ConfigurationError: A name cannot be a file's, or a value is neither bytes nor a path.
        FormatError: A path leads to something that is no regular file.
        StorageError: A path leads nowhere.
    """
    return [_blob_file(check_file_name(name), source) for name, source in files.items()]


def _blob_file(name: str, source: bytes | str | os.PathLike[str]) -> BlobFile:
    if isinstance(source, bytes | bytearray | memoryview):
        return BlobFile(name, bytes(source), len(source))
    if not isinstance(source, str | os.PathLike):
        raise ConfigurationError(f"the file {name} is given as {type(source).__name__}, not as bytes or a path")
    path = os.fspath(source)
    return BlobFile(name, path, open_regular(path).nbytes)


@spanned("hash")
def blob_digest(path: str, *, uncached: bool = False) -> str:
    """The SHA-256 of a regular file that is no link, in hexadecimal.

    Args:
        path: The file.
        uncached: Whether to read it from the device, whatever the page cache has.

    Raises:
        FormatError: It is no regular file.
        StorageError: It cannot be read.
    """
    file = open_regular(path, nofollow=True)
    hasher = hashlib.sha256()
    for block in blocks_around_cache(file, way_around_cache(file)) if uncached else _blocks(file):
        hasher.update(block)
    return hasher.hexdigest()


def _blocks(file: RegularFile) -> Iterator[bytes]:
    with storage_errors("cannot read the file", file.path):
        while block := os.read(file.fd, _COPY_BYTES):
            yield block


def component_files(flat: FlatState, *, shard_bytes: int | None = None) -> list[TensorsFile | BlobFile]:
    """The files of a state's components: one each, or shards with an index above ``shard_bytes`` of tensors.

    Raises:
        ConfigurationError: ``shard_bytes`` is not positive, or needs more than 99 999 shards.
    """
    if shard_bytes is not None and shard_bytes <= 0:
        raise ConfigurationError(f"shard_bytes is {shard_bytes}; it must be positive")
    return [
        file for component, gathered in flat.components.items() for file in _files_of(component, gathered, shard_bytes)
    ]


def _files_of(component: str, gathered: Gathered, shard_bytes: int | None) -> list[TensorsFile | BlobFile]:
    groups = _groups([spec.nbytes for spec in gathered.specs], shard_bytes)
    if len(groups) > 99_999:
        raise ConfigurationError(
            f"{component} would have {len(groups)} shards, the format allows 99999; raise shard_bytes"
        )
    files = []
    for number, group in enumerate(groups, 1):
        shard = _part(gathered, group)
        name = shard_name(component, number, len(groups))
        prepared = prepare(shard.specs, metadata=_FORMAT_MARK, aliases=shard.aliases)
        files.append(TensorsFile(name, prepared, shard))
    return [*files, *([_index(component, files)] if len(files) > 1 else [])]


def _groups(sizes: Sequence[int], limit: int | None) -> list[range]:
    """Split in order, each part as large as the limit allows and at least one tensor."""
    starts, filled = [0], 0
    for index, size in enumerate(sizes):
        if limit is not None and filled and filled + size > limit:
            starts.append(index)
            filled = 0
        filled += size
    return [range(start, end) for start, end in zip(starts, [*starts[1:], len(sizes)], strict=True)]


def _part(gathered: Gathered, group: range) -> Gathered:
    """Some of the stored tensors, with the aliases of those."""
    names = {gathered.specs[index].name for index in group}
    aliases: dict[str, Alias] = {name: alias for name, alias in gathered.aliases.items() if alias.of in names}
    part = slice(group.start, group.stop)
    return Gathered(gathered.specs[part], aliases, gathered.tensors[part], gathered.adapters[part])


def _index(component: str, files: Sequence[TensorsFile]) -> BlobFile:
    """What `transformers` reads to find a tensor. It holds stored names only: other readers know no aliases."""
    weight_map = {spec.name: file.name for file in files for spec in file.prepared.specs}
    total = sum(file.prepared.layout.nbytes for file in files)
    text = strict_json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}).encode("ascii")
    return BlobFile(f"{component}.safetensors.index.json", text, len(text))
