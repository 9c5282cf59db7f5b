"""Writing plain files (docs/format.md, 2.5)."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_checkpoint import _native
from model_checkpoint.errors import StorageError
from model_checkpoint.monitoring.span import span, spanned
from model_checkpoint.storage.safetensors.alias import Alias
from model_checkpoint.storage.safetensors.batches import Part, batches
from model_checkpoint.storage.safetensors.gather import Source, gather
from model_checkpoint.storage.safetensors.header import Header, decode
from model_checkpoint.storage.safetensors.layout import Layout, TensorSpec, plan
from model_checkpoint.storage.safetensors.template import HeaderTemplate, check_metadata, check_specs, header_template
from model_checkpoint.types import FileInfo, Receipt
from model_checkpoint.utils import real_path
from model_checkpoint.utils.atomic_file import replacing
from model_checkpoint.utils.collector import collector_paused
from model_checkpoint.utils.regular_file import close_written, write_fully
from model_checkpoint.utils.storage_errors import storage_errors

__all__ = ["PreparedFile", "prepare", "save_file", "write_file"]

_log = logging.getLogger("model_checkpoint")


@dataclass(frozen=True, slots=True)
class PreparedFile:
    """A file of which everything is known but its bytes.

    Attributes:
        specs: The stored tensors, in the order of the header.
        layout: Where their bytes lie in the data area.
        template: The header without its digests.
    """

    specs: tuple[TensorSpec, ...]
    layout: Layout
    template: HeaderTemplate

    @property
    def nbytes(self) -> int:
        """Size of the file in bytes."""
        return self.template.nbytes + self.layout.nbytes

    @spanned("write")
    def write(self, path: str | os.PathLike[str], sources: Sequence[Source], *, sync: bool = True) -> FileInfo:
        """Create the file; what an error leaves of it is the caller's to remove.

        Args:
            path: The file, which must not exist; no part of it may be a link.
            sources: The bytes of each tensor, in the order of ``specs``.
            sync: Whether to sync the file (not its directory).

        Raises:
            StorageError: The file exists, or the file system failed.
            ConfigurationError: A source has another size than its tensor.
        """
        text = os.fspath(path)
        try:
            fd = real_path.open_file(text, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except StorageError:
            raise
        except OSError as error:
            raise StorageError.from_os_error(error, "cannot create the file", path=text) from error
        try:
            header = self.fill(fd, text, sources)
            if sync:
                with span("fsync"):
                    _native.sync_file(fd, text)
        finally:
            close_written(fd, text)
        return FileInfo(os.path.basename(text), header.file_bytes, str(header.digest), "tensors")

    def fill(self, fd: int, path: str, sources: Sequence[Source]) -> Header:
        """Write data and header to an empty file, and check the header as a reader would."""
        region = self.template.fill(self._write_data(fd, path, sources))
        write_fully(fd, region, 0, path)
        with storage_errors("cannot look at the file", path):
            file_size = os.fstat(fd).st_size
        return decode(region, file_size, path)

    def _write_data(self, fd: int, path: str, sources: Sequence[Source]) -> bytes:
        """Write the data area and return its chunk table."""
        tables: list[bytes] = []
        offset = self.template.nbytes
        with contextlib.closing(batches(self._parts(sources))) as made:
            for batch in made:
                with span("write") as call:
                    result = _native.write_segments(fd, path, batch.buffers, batch.names, data_offset=offset)
                    call.divide(result.stage_seconds)
                way = "directly" if result.direct else "through the page cache"
                _log.debug("%s: wrote %d bytes %s", path, result.nbytes, way)
                tables.append(result.table)
                offset += result.nbytes
        return b"".join(tables)

    def _parts(self, sources: Sequence[Source]) -> Iterator[Part]:
        """The tensors that have bytes, in data order."""
        sizes = self.layout.sizes
        return (Part(self.specs[i].name, sizes[i], sources[i]) for i in self.layout.order if sizes[i])


@collector_paused()
def prepare(
    specs: Sequence[TensorSpec],
    *,
    metadata: Mapping[str, str] | None = None,
    aliases: Mapping[str, Alias] | None = None,
) -> PreparedFile:
    """Lay out a file.

    Args:
        specs: The tensors to store, in the order that readers shall list them.
        metadata: The user's.
        aliases: Further names of stored tensors.

    Raises:
        UnsupportedStateError: A tensor, name or alias breaks a rule of the format.
        ConfigurationError: The metadata breaks one.
    """
    check_metadata(metadata or {})
    check_specs(specs, aliases or {})
    layout = plan(specs)
    return PreparedFile(tuple(specs), layout, header_template(specs, layout, metadata or {}, aliases or {}))


def write_file(
    path: str | os.PathLike[str],
    specs: Sequence[TensorSpec],
    sources: Sequence[Source],
    *,
    metadata: Mapping[str, str] | None = None,
    aliases: Mapping[str, Alias] | None = None,
    sync: bool = True,
) -> FileInfo:
    """Create a plain file in place: `prepare` and `PreparedFile.write`. For files that nobody sees yet."""
    return prepare(specs, metadata=metadata, aliases=aliases).write(path, sources, sync=sync)


def save_file(
    tensors: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, str] | None = None,
    durable: bool = True,
) -> Receipt:
    """Save tensors as one safetensors file with digests.

    The file appears whole or not at all, in place of an older one if there is one. Tensors that share memory are
    stored once; those that are not contiguous, or lie on a device, are copied on the way.

    Args:
        tensors: Torch tensors and numpy arrays by name.
        path: The file. A symbolic link is followed.
        metadata: Strings by name, for any reader of the file.
        durable: Whether the file shall survive a power cut once this returns.

    Raises:
        UnsupportedStateError: A tensor cannot be stored.
        ConfigurationError: The metadata cannot.
        StorageError: The file system failed; an older file is as it was.
        DiskFullError: Likewise, for want of space.
    """
    start = time.perf_counter()
    gathered = gather(tensors)
    prepared = prepare(gathered.specs, metadata=metadata, aliases=gathered.aliases)
    with replacing(path, durable=durable) as temporary:
        header = prepared.fill(temporary.fd, temporary.path, gathered.sources())
    seconds = time.perf_counter() - start
    return Receipt(os.fspath(path), header.file_bytes, str(header.digest), seconds)
