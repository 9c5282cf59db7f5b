"""The one copy that a background save makes, in memory that is reused from save to save.

The copy has the layout of the files, so that the core writes from it without another one. Reused memory is what makes
it fast: its pages are there, and huge.
"""

from __future__ import annotations

from collections.abc import Sequence

from model_checkpoint import _native
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.storage.staged_files import StagedFile, TensorsFile

__all__ = ["SnapshotArena"]

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
        self._memory: _native.Arena | None = None

    @property
    def nbytes(self) -> int:
        """What it holds at present, in bytes."""
        return 0 if self._memory is None else len(self._memory)

    def has_room(self, files: Sequence[StagedFile]) -> bool:
        """Whether a snapshot of these files keeps within the budget."""
        return self._budget is None or _needed(files) <= self._budget

    def take(self, files: Sequence[StagedFile]) -> list[StagedFile]:
        """Copy the tensors of files; the files returned are written from the copy.

        They must be written, or given up, before the next call, which uses the same memory.
        """
        needed = _needed(files)
        if self._memory is None or len(self._memory) < needed:
            self._memory = None  # give the old memory back first: both at once could be too much
            self._memory = _native.Arena(max(needed, _PAGE_BYTES))
        memory, offset = memoryview(self._memory), 0
        taken: list[StagedFile] = []
        for file in files:
            if isinstance(file, TensorsFile):
                size = file.snapshot_bytes
                taken.append(file.snapshot(memory[offset : offset + size]))
                offset += _whole_pages(size)
            else:
                taken.append(file)
        return taken

    def release(self) -> None:
        """Give the memory back, once nothing uses it."""
        self._memory = None


def _needed(files: Sequence[StagedFile]) -> int:
    return sum(_whole_pages(file.snapshot_bytes) for file in files if isinstance(file, TensorsFile))


def _whole_pages(nbytes: int) -> int:
    return -(-nbytes // _PAGE_BYTES) * _PAGE_BYTES
