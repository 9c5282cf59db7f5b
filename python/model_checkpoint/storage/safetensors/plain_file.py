"""An open plain file with a checked header, and what is read from it."""

from __future__ import annotations

import itertools
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from model_checkpoint import _native
from model_checkpoint.errors import ConfigurationError, CorruptionError, UnverifiableError, UnverifiedWarning
from model_checkpoint.monitoring.span import span
from model_checkpoint.storage.safetensors.device_target import DeviceTarget
from model_checkpoint.storage.safetensors.header import LENGTH_BYTES, Header, check_length, decode
from model_checkpoint.storage.safetensors.layout import TensorSpec
from model_checkpoint.types import VerifyLevel
from model_checkpoint.utils.regular_file import RegularFile, open_regular, read_fully
from model_checkpoint.utils.storage_errors import storage_errors
from model_checkpoint.utils.uncached import Way, read_around_cache, way_around_cache

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from 3.12 on

__all__ = ["Check", "PlainFile", "Span", "grouped", "header_region", "open_plain"]

_log = logging.getLogger("model_checkpoint")

Check: TypeAlias = Literal["sha256", "crc32c", "none"]

_REPORTED_BYTES = 256 * _native.CHUNK_BYTES
_CHECKS: dict[str, Check] = {"full": "sha256", "fast": "crc32c", "none": "none"}


class Span(NamedTuple):
    """A part of a tensor's bytes.

    Attributes:
        name: The stored tensor.
        begin: First byte, counted from the tensor's. To be checked, it must begin a chunk.
        end: One past the last byte. To be checked, it must end a chunk.
    """

    name: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class PlainFile:
    """A file that keeps all rules, open for reading; it is closed with its last reference.

    Attributes:
        file: The file.
        header: What it says.
        way: How its bytes are read; mappings know but one.
    """

    file: RegularFile
    header: Header
    way: Way = "auto"

    @property
    def path(self) -> str:
        return self.file.path

    def spec(self, name: str) -> TensorSpec:
        """A stored tensor without its bytes."""
        entry = self.header.entries[name]
        return TensorSpec(name, entry.dtype, entry.shape)

    def check(self, level: VerifyLevel) -> Check:
        """What a verification level asks of this file (docs/format.md, 2.7).

        Warns:
            UnverifiedWarning: The file has no digests, and ``auto`` lets that pass.

        Raises:
            UnverifiableError: The file has no digests, and the level demands them.
            ConfigurationError: There is no such level.
        """
        if level not in ("auto", *_CHECKS):
            raise ConfigurationError(f"unknown level {level!r}; there is auto, {', '.join(_CHECKS)}")
        if self.header.ours:
            return "sha256" if level == "auto" else _CHECKS[level]
        if level == "auto":
            message = f"{self.path!r} carries no digests: its tensors are loaded without verification"
            warnings.warn(message, UnverifiedWarning, stacklevel=3)  # where the public function was called
        elif level != "none":
            raise UnverifiableError("the file carries no digests; it can be loaded with verify='none'", path=self.path)
        return "none"

    def whole(self, names: Sequence[str]) -> list[Span]:
        """The spans of whole stored tensors."""
        return [Span(name, 0, self.header.entries[name].nbytes) for name in names]

    def read(self, spans: Sequence[Span], dests: Sequence[Buffer] | None, check: Check) -> None:
        """Read spans to memory and check them in the same pass.

        Args:
            spans: What to read.
            dests: Where to, one for each span; None only checks.
            check: How to check.

        Raises:
            CorruptionError: A chunk differs from its digest, or the file ends early. ``dests`` are then undefined.
            StorageError: A read failed.
        """
        used = _used(spans)
        offsets, lengths, names, first_chunks = self._columns([spans[index] for index in used])
        with span("read") as call:
            result = _native.read_spans(
                self.file.fd,
                self.path,
                offsets,
                lengths,
                None if dests is None else [dests[index] for index in used],
                names,
                table=None if check == "none" else self.header.table,
                first_chunks=None if check == "none" else first_chunks,
                check=check,
                io=self.way,
            )
            call.divide(result.stage_seconds)
        self._log_read(result, check)

    def read_to_device(
        self, spans: Sequence[Span], addresses: Sequence[int], target: DeviceTarget, check: Check
    ) -> None:
        """Read spans to a device's memory. Each byte is checked before it is copied there.

        Args:
            spans: What to read.
            addresses: Where to, one for each span.
            target: Whose addresses they are.
            check: How to check.

        Raises:
            CorruptionError: A chunk differs from its digest, or the file ends early. The memory is then undefined.
            StorageError: A read failed.
            DeviceError: The device failed.
        """
        used = _used(spans)
        offsets, lengths, names, first_chunks = self._columns([spans[index] for index in used])
        with span("read") as call:
            result = _native.read_spans_to_cuda(
                self.file.fd,
                self.path,
                offsets,
                lengths,
                [addresses[index] for index in used],
                names,
                device=target.ordinal,
                stream=target.stream,
                table=None if check == "none" else self.header.table,
                first_chunks=None if check == "none" else first_chunks,
                check=check,
            )
            call.divide(result.stage_seconds)
        self._log_read(result, check)

    def verify(self, check: Check, advance: Callable[[int], None] | None = None) -> None:
        """Read and check all stored tensors.

        Args:
            check: How to check.
            advance: Told of the bytes that are done, a few hundred MB at a time, the header first. Without it, one
                read does all.

        Raises:
            CorruptionError: A chunk differs from its digest, or the file ends early.
            StorageError: A read failed.
        """
        if advance is None:
            self.read(self.whole(list(self.header.entries)), None, check)
            return
        advance(self.header.data_offset)
        pieces = (
            Span(name, begin, min(begin + _REPORTED_BYTES, entry.nbytes))
            for name, entry in self.header.entries.items()
            for begin in range(0, entry.nbytes, _REPORTED_BYTES)
        )
        for group in grouped(pieces, _REPORTED_BYTES):
            self.read(group, None, check)
            advance(sum(span.end - span.begin for span in group))

    def read_range(self, name: str, begin: int, end: int, dest: memoryview, check: Check) -> None:
        """Read any range of a stored tensor's bytes, checking the whole chunks that it touches.

        Args:
            name: The tensor.
            begin: First byte, counted from the tensor's.
            end: One past the last byte.
            dest: Memory of exactly that size. Whole chunks are read straight into it.
            check: How to check.

        Raises:
            CorruptionError: A chunk differs from its digest, or the file ends early. ``dest`` is then undefined.
            StorageError: A read failed.
        """
        cuts = [begin, end] if check == "none" else _chunk_cuts(begin, end, self.header.entries[name].nbytes)
        spans = [Span(name, *piece) for piece in itertools.pairwise(cuts)]
        inside = [begin <= span.begin and span.end <= end for span in spans]
        dests = [
            dest[span.begin - begin : span.end - begin] if whole else memoryview(bytearray(span.end - span.begin))
            for span, whole in zip(spans, inside, strict=True)
        ]
        self.read(spans, dests, check)
        for extent, whole, edge in zip(spans, inside, dests, strict=True):
            if not whole:
                first, last = max(begin, extent.begin), min(end, extent.end)
                dest[first - begin : last - begin] = edge[first - extent.begin : last - extent.begin]

    def map(self, names: Sequence[str], check: Check) -> memoryview:
        """Map the whole file, check stored tensors in place, and return its bytes, which keep the mapping alive.

        Raises:
            CorruptionError: A chunk differs from its digest.
            StorageError: The file cannot be mapped.
        """
        mapping = _native.map_file(self.file.fd, self.path, self.file.nbytes)
        if check != "none" and self.header.table is not None:
            spans = [span for span in self.whole(names) if span.end]
            offsets, lengths, labels, first_chunks = self._columns(spans)
            with span("hash") as call:
                seconds = _native.verify_mapping(
                    mapping,
                    self.path,
                    offsets,
                    lengths,
                    labels,
                    table=self.header.table,
                    first_chunks=first_chunks,
                    check=check,
                )
                call.divide(seconds)
        return memoryview(mapping)

    def check_length(self) -> None:
        """Return if the file is as long as it was when it was opened.

        Raises:
            CorruptionError: It is not.
        """
        with storage_errors("cannot look at the file", self.path):
            nbytes = os.fstat(self.file.fd).st_size
        if nbytes != self.file.nbytes:
            message = "the file changed its length while it was read"
            raise CorruptionError(message, path=self.path, offset=nbytes, rule="length")

    def _log_read(self, result: _native.ReadResult, check: Check) -> None:
        _log.debug(
            "%s: read %d bytes directly and %d through the page cache (check: %s)",
            self.path,
            result.direct_bytes,
            result.buffered_bytes,
            check,
        )

    def _columns(self, spans: Sequence[Span]) -> tuple[list[int], list[int], list[str], list[int]]:
        """Spans as the core takes them: file offsets, lengths, names, first chunks."""
        entries, base = self.header.entries, self.header.data_offset
        first_chunks = self.header.first_chunks
        return (
            [base + entries[name].begin + begin for name, begin, _ in spans],
            [end - begin for _, begin, end in spans],
            [name for name, _, _ in spans],
            [first_chunks[name] + begin // _native.CHUNK_BYTES for name, begin, _ in spans],
        )


def _used(spans: Sequence[Span]) -> list[int]:
    """Which spans have bytes."""
    return [index for index, span in enumerate(spans) if span.end > span.begin]


def _chunk_cuts(begin: int, end: int, nbytes: int) -> list[int]:
    """Where to cut the chunks that a range touches: around them, and around those that lie inside of it."""
    chunk = _native.CHUNK_BYTES
    outer = begin // chunk * chunk, min(nbytes, -(-end // chunk) * chunk)
    inner = -(-begin // chunk) * chunk, end if end == nbytes else end // chunk * chunk
    return sorted({*outer, *inner}) if inner[0] < inner[1] else [*outer]


def grouped(spans: Iterable[Span], limit: int) -> Iterator[list[Span]]:
    """Consecutive spans in groups of at most ``limit`` bytes, or of one larger span."""
    group: list[Span] = []
    held = 0
    for extent in spans:
        size = extent.end - extent.begin
        if group and held + size > limit:
            yield group
            group, held = [], 0
        group.append(extent)
        held += size
    if group:
        yield group


def open_plain(path: str | os.PathLike[str], *, nofollow: bool = False, uncached: bool = False) -> PlainFile:
    """Open a file and check its header.

    Args:
        path: The file.
        nofollow: Whether to refuse a final symbolic link, as inside a store.
        uncached: Whether to read from the device, now and later, whatever the page cache has.

    Raises:
        FormatError: It is no regular file, or its header breaks a rule.
        CorruptionError: Its header differs from its digest.
        StorageError: It cannot be read.
    """
    file = open_regular(path, nofollow=nofollow)
    way: Way = way_around_cache(file) if uncached else "auto"
    return PlainFile(file, decode(header_region(file, file.nbytes, way), file.nbytes, file.path), way)


def header_region(file: RegularFile, file_bytes: int, way: Way = "auto") -> bytes:
    """The bytes before the data area of a file that has, or should have, this size.

    Raises:
        FormatError: The file cannot have a header (rule ``length``).
        CorruptionError: The file ends before.
        StorageError: It cannot be read.
    """
    prefix = _bytes(file, min(LENGTH_BYTES, file.nbytes), way)
    return _bytes(file, check_length(prefix, file_bytes, file.path), way)


def _bytes(file: RegularFile, nbytes: int, way: Way) -> bytes:
    return read_fully(file, nbytes, 0) if way == "auto" else read_around_cache(file, nbytes, 0, way)
