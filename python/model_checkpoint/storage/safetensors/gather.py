"""Tensors as they are about to be stored: described, and with their shared memory found."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from model_checkpoint import _native
from model_checkpoint.errors import UnsupportedStateError
from model_checkpoint.storage.safetensors.alias import Alias
from model_checkpoint.storage.safetensors.device_copy import DeviceCopies, DeviceQueue
from model_checkpoint.storage.safetensors.layout import TensorSpec
from model_checkpoint.storage.safetensors.sharing import Region, find_aliases
from model_checkpoint.storage.safetensors.tensors import Adapter, adapter_named, framework_of
from model_checkpoint.utils.collector import collector_paused

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from 3.12 on

__all__ = ["DeviceBytes", "Gathered", "Source", "copy_all", "gather"]

Source: TypeAlias = "Buffer | Callable[[], Buffer]"
"""Bytes to store, or what makes them when their turn comes: `DeviceBytes`, or a copy into another order."""


@dataclass(frozen=True, slots=True)
class DeviceBytes:
    """The stored bytes of a tensor that lies on a device and has them as they are stored.

    Attributes:
        adapter: Its framework.
        queue: Its device's.
        flat: Its bytes, as a flat tensor that can be sliced.
    """

    adapter: Adapter[Any]
    queue: DeviceQueue
    flat: Any

    def __call__(self) -> Buffer:
        """All of them, in new host memory."""
        return self.adapter.buffer(self.flat)


@dataclass(frozen=True, slots=True)
class Gathered:
    """Tensors to store. Treat them as read-only until their bytes are copied or written.

    Attributes:
        specs: The stored ones, in the order in which they were given.
        aliases: The further names.
        tensors: The stored ones themselves.
        adapters: The framework of each.
    """

    specs: tuple[TensorSpec, ...]
    aliases: Mapping[str, Alias]
    tensors: tuple[Any, ...]
    adapters: tuple[Adapter[Any], ...]

    @collector_paused()
    def sources(self) -> list[Source]:
        """The bytes of each stored tensor, without a copy where its memory has them as they are stored."""
        return [_source(adapter, tensor) for adapter, tensor in zip(self.adapters, self.tensors, strict=True)]

    def copy_to(self, memory: Buffer, offsets: Sequence[int]) -> None:
        """Copy the bytes of each stored tensor to an offset of a memory: a snapshot.

        Args:
            memory: Writable bytes, aligned to pages.
            offsets: For each of ``specs``, a multiple of its element size.
        """
        copy_all(memory, [(self, offsets)])

    def placed(self, offsets: Sequence[int]) -> Iterator[tuple[TensorSpec, Adapter[Any], Any, int]]:
        """Each stored tensor that has bytes, with all that belongs to it, and its offset."""
        rows = zip(self.specs, self.adapters, self.tensors, offsets, strict=True)
        return (row for row in rows if row[0].nbytes)

    def device_queues(self) -> Iterator[DeviceQueue]:
        """For each tensor on a device, what can copy it while the caller goes on."""
        for adapter, tensor in zip(self.adapters, self.tensors, strict=True):
            if (queue := adapter.device_queue(tensor)) is not None:
                yield queue


def _source(adapter: Adapter[Any], tensor: Any) -> Source:
    if adapter.is_plain(tensor):
        return adapter.buffer(tensor)
    queue, flat = adapter.device_queue(tensor), adapter.flat(tensor)
    if queue is None or flat is None:
        return functools.partial(adapter.buffer, tensor)
    return DeviceBytes(adapter, queue, flat)


def copy_all(memory: Buffer, parts: Iterable[tuple[Gathered, Sequence[int]]]) -> None:
    """Copy the bytes of stored tensors to a memory: a snapshot, complete when this returns.

    Copies from devices are enqueued first; they run while host memory is copied, and are waited for once.

    Args:
        memory: Writable bytes, aligned to pages.
        parts: Tensors, and for each of their ``specs`` an offset: a multiple of its element size.
    """
    dest = memoryview(memory).cast("B")
    plain_offsets: list[int] = []
    plain: list[Buffer] = []
    others: list[tuple[Adapter[Any], Any, memoryview]] = []
    with DeviceCopies() as copies:
        with collector_paused():
            for gathered, offsets in parts:
                for spec, adapter, tensor, offset in gathered.placed(offsets):
                    if adapter.is_plain(tensor):
                        plain_offsets.append(offset)
                        plain.append(adapter.buffer(tensor))
                    elif (queue := adapter.device_queue(tensor)) is not None:
                        copies.enqueue(queue, tensor, dest[offset : offset + spec.nbytes])
                    else:
                        others.append((adapter, tensor, dest[offset : offset + spec.nbytes]))
        _native.copy_buffers(memory, plain_offsets, plain)
        for adapter, tensor, place in others:
            adapter.copy_out(tensor, place)


@collector_paused()
def gather(tensors: Mapping[str, Any]) -> Gathered:
    """Describe tensors and find those that share memory.

    Args:
        tensors: Torch tensors and numpy arrays by name; both may occur.

    Raises:
        UnsupportedStateError: A value is no tensor, its dtype or kind cannot be stored, or two tensors overlap
            without one being a view into the other.
    """
    adapters: dict[str, Adapter[Any]] = {}
    specs: dict[str, TensorSpec] = {}
    regions: dict[str, Region] = {}
    owners: dict[str, Adapter[Any]] = {}
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise UnsupportedStateError("the name of a tensor is not a string", where=repr(name))
        framework = framework_of(name, tensor)
        adapter = adapters.get(framework) or adapters.setdefault(framework, adapter_named(framework))
        specs[name] = spec = adapter.describe(name, tensor)
        owners[name] = adapter
        if (region := adapter.region(tensor, spec)) is not None:
            regions[name] = region
    aliases = find_aliases(regions)
    stored = [name for name in tensors if name not in aliases]
    return Gathered(
        tuple([specs[name] for name in stored]),
        aliases,
        tuple([tensors[name] for name in stored]),
        tuple([owners[name] for name in stored]),
    )
