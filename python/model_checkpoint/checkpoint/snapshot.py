"""The one copy that a background save makes, in memory that is reused from save to save.

The copy has the layout of the files, so that the core writes from it without another one. Reused memory is what makes
it fast: its pages are there, and huge; and locked, from the first time on that a tensor lies on a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model_checkpoint.errors import ConfigurationError
from model_checkpoint.storage.leaves import LeafRef, restore_leaf
from model_checkpoint.storage.names import component_of
from model_checkpoint.storage.safetensors.gather import Gathered, copy_all
from model_checkpoint.storage.safetensors.host_memory import HostMemory
from model_checkpoint.storage.staged_files import StagedFile, TensorsFile
from model_checkpoint.storage.state_tree import unflatten
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["SnapshotArena", "state_of"]

_PAGE_BYTES = 4096


class SnapshotArena:
    """Memory for one snapshot at a time.

    Args:
        budget_bytes: The most that it may take; None for as much as the state needs.

    Raises:
        ConfigurationError: The budget is negative.
    """

    def __init__(self, budget_bytes: int | None = None) -> None:
        if budget_bytes is not None and budget_bytes < 0:
            raise ConfigurationError(f"memory_budget_bytes is {budget_bytes}; it must be at least 0")
        self._budget = budget_bytes
        self._memory: HostMemory | None = None

    @property
    def nbytes(self) -> int:
        """What it holds at present, in bytes."""
        return 0 if self._memory is None else len(self._memory)

    def has_room(self, files: Sequence[StagedFile]) -> bool:
        """Whether a snapshot of these files keeps within the budget."""
        return self._budget is None or _needed(files) <= self._budget

    def take(self, files: Sequence[StagedFile]) -> list[StagedFile]:
        """Copy the tensors of files; the files returned are written from the copy.

        They must be written, or given up, before the next call, which uses the same memory. The tensors may change as
        soon as this returns.

        Raises:
            RuntimeError: A device failed: the framework's error. No copy is in flight, and the memory is given up.
        """
        memory, offset = self._room_for(_needed(files)), 0
        tensors = [file for file in files if isinstance(file, TensorsFile)]
        if (queue := next((queue for file in tensors for queue in file.gathered.device_queues()), None)) is not None:
            memory.pin(queue)
        view = memory.view
        parts: list[tuple[Gathered, list[int]]] = []
        taken: list[StagedFile] = []
        for file in files:
            if not isinstance(file, TensorsFile):
                taken.append(file)
                continue
            parts.append((file.gathered, [offset + at for at in file.prepared.layout.offsets]))
            taken.append(file.written_from(view[offset : offset + file.snapshot_bytes]))
            offset += _whole_pages(file.snapshot_bytes)
        try:
            copy_all(view, parts)
        except BaseException:
            self.close()  # a device that failed may not have let go of it
            raise
        return taken

    def close(self) -> None:
        """Let go of the memory, once the files that `take` returned are written or given up. May be called twice."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def _room_for(self, nbytes: int) -> HostMemory:
        memory = self._memory
        if memory is None or memory.is_lost or len(memory) < nbytes:
            self.close()  # give the old memory back first: both at once could be too much
            memory = self._memory = HostMemory(max(nbytes, _PAGE_BYTES))
        return memory


def _needed(files: Sequence[StagedFile]) -> int:
    return sum(_whole_pages(file.snapshot_bytes) for file in files if isinstance(file, TensorsFile))


def _whole_pages(nbytes: int) -> int:
    return -(-nbytes // _PAGE_BYTES) * _PAGE_BYTES


def state_of(tree: JsonValue, files: Sequence[StagedFile]) -> Any:
    """The state that files would hold, on the memory that they would be written from."""
    stored: dict[tuple[str, str], Any] = {}
    for file in files:
        if isinstance(file, TensorsFile):
            shard = component_of(file.name)
            assert shard is not None  # noqa: S101 - a file of tensors is one of a component
            stored.update({(shard[0], name): tensor for name, tensor in _tensors_of(file).items()})
    leaves: dict[LeafRef, Any] = {}

    def fetch(ref: LeafRef) -> Any:
        if ref not in leaves:
            leaves[ref] = restore_leaf(stored[ref.component, ref.name], ref)
        return leaves[ref]

    return unflatten(tree, fetch, path="the snapshot")


def _tensors_of(file: TensorsFile) -> dict[str, Any]:
    """A file's tensors by name, aliases included."""
    gathered = file.gathered
    sources = gathered.sources() if file.sources is None else file.sources
    tensors: dict[str, Any] = {}
    adapters = dict(zip((spec.name for spec in gathered.specs), gathered.adapters, strict=True))
    for spec, source in zip(gathered.specs, sources, strict=True):
        memory = memoryview(source() if callable(source) else source).cast("B")
        tensors[spec.name] = adapters[spec.name].wrap(spec, memory, 0)
    for name, alias in gathered.aliases.items():
        target = tensors[alias.of]
        tensors[name] = target if alias.view is None else adapters[alias.of].strided(target, alias.view)
    return tensors
