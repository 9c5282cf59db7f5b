"""The copy that a background save makes training wait for, into memory that is reused."""

from __future__ import annotations

import numpy as np

from benchmarks.asv.arrays import MIB, TENSORS, THREADS, arrays_of
from model_checkpoint import _native
from model_checkpoint.checkpoint.snapshot import SnapshotArena
from model_checkpoint.storage.staged_files import component_files
from model_checkpoint.storage.state_tree import flatten


class CopyBuffers:
    """The core's copy alone."""

    param_names = ("MiB", "threads")
    params = ((1, 64, 256), THREADS)

    def setup(self, mib: int, threads: int) -> None:
        _native.set_threads(threads)
        self.sources = [array.data for array in arrays_of(mib).values()]
        self.offsets = [i * mib * MIB // TENSORS for i in range(TENSORS)]
        self.memory = _native.Arena(mib * MIB)
        self.time_copy_buffers()  # the first copy pays for the pages

    def time_copy_buffers(self, *_: object) -> None:
        _native.copy_buffers(self.memory, self.offsets, self.sources)


class TakeSnapshot:
    """All that a background save does before training goes on: flatten, lay out, copy."""

    param_names = ("MiB",)
    params = ((1, 64, 256),)

    def setup(self, mib: int) -> None:
        self.state = {"model": arrays_of(mib), "step": 1}
        self.arena = SnapshotArena()
        self.time_take(mib)

    def time_take(self, _mib: int) -> None:
        self.arena.take(component_files(flatten(self.state)))


class NumpyCopy:
    """What numpy takes for such a copy on one thread: it tells a change of the machine from one of ours."""

    param_names = ("MiB",)
    params = ((1, 64, 256),)

    def setup(self, mib: int) -> None:
        self.source = np.resize(np.arange(MIB, dtype=np.uint8), mib * MIB)
        self.copy = self.source.copy()

    def time_copyto(self, _mib: int) -> None:
        np.copyto(self.copy, self.source)
