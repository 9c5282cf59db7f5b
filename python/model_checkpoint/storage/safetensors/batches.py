"""The bytes of tensors on their way to a file, in its order, and no more of them in memory than need be.

What lies in host memory as it is stored is written from there. The rest is made when its turn comes: brought into C
order, or copied from a device in pieces, through page-locked memory that the next batch uses again.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from model_checkpoint import _native
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.storage.safetensors.device_copy import DeviceCopies
from model_checkpoint.storage.safetensors.gather import DeviceBytes, Source
from model_checkpoint.storage.safetensors.host_memory import HostMemory

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from 3.12 on

__all__ = ["Batch", "Part", "batches"]

_MADE_BYTES = 64 * 1024 * 1024
"""How many bytes may be held that were made for writing; only a tensor that must be made in one go may have more."""

_PIECE_BYTES = 16 * _native.CHUNK_BYTES
"""Tensors of devices are cut here; a cut between two chunks leaves their digests as they are."""


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes to write.

    Attributes:
        name: The tensor that they are of.
        nbytes: How many they are, above 0.
        source: Where they come from.
    """

    name: str
    nbytes: int
    source: Source

    @property
    def made(self) -> int:
        """How many bytes must be made."""
        return self.nbytes if callable(self.source) else 0


@dataclass(slots=True)
class Batch:
    """Bytes that can be written now, until the next batch is asked for.

    Attributes:
        names: The tensor of each buffer. One in several buffers is cut between chunks.
        buffers: The bytes.
        made: How many of them were made.
    """

    names: list[str] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    made: int = 0

    def add(self, part: Part, buffer: Buffer) -> None:
        if memoryview(buffer).nbytes != part.nbytes:
            raise ConfigurationError(f"the source of {part.name!r} does not have its {part.nbytes} bytes")
        self.names.append(part.name)
        self.buffers.append(buffer)
        self.made += part.made

    def clear(self) -> None:
        """Let go of what was made, before more is: the one who writes still holds the batch."""
        self.names.clear()
        self.buffers.clear()
        self.made = 0


def batches(parts: Iterable[Part]) -> Generator[Batch, None, None]:
    """The parts in batches: all in one, or, if bytes must be made, as many as may be held.

    Raises:
        ConfigurationError: A source has another size than its part.
    """
    pieces = [piece for part in parts for piece in _pieces(part)]
    batch = Batch()
    with contextlib.closing(_staging(pieces)) as staging, DeviceCopies() as copies:
        for piece in pieces:
            if piece.made and batch.made and batch.made + piece.made > _MADE_BYTES:
                copies.wait()
                yield batch
                batch.clear()
            source = piece.source
            if isinstance(source, DeviceBytes):
                place = staging.view[batch.made : batch.made + piece.nbytes]
                copies.enqueue(source.queue, source.flat, place)
                batch.add(piece, place)
            else:
                batch.add(piece, source() if callable(source) else source)
        copies.wait()
        yield batch


def _pieces(part: Part) -> Iterator[Part]:
    source = part.source
    if not isinstance(source, DeviceBytes):
        yield part
        return
    for start in range(0, part.nbytes, _PIECE_BYTES):
        nbytes = min(_PIECE_BYTES, part.nbytes - start)
        yield Part(part.name, nbytes, dataclasses.replace(source, flat=source.flat[start : start + nbytes]))


def _staging(pieces: Sequence[Part]) -> HostMemory:
    """Memory that a batch may have bytes from devices in: page-locked, and none to speak of if there are no devices."""
    queue = next((piece.source.queue for piece in pieces if isinstance(piece.source, DeviceBytes)), None)
    if queue is None:
        return HostMemory(0)
    staging = HostMemory(min(sum(piece.made for piece in pieces), _MADE_BYTES))
    staging.pin(queue)
    return staging
