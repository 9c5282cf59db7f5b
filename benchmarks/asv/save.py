"""Durable saves, SHA-256 and fsync included."""

from __future__ import annotations

import tempfile

import model_checkpoint as mc
from benchmarks.asv.arrays import DTYPES, THREADS, arrays_of, tiny_arrays
from model_checkpoint import _native


class SaveFile:
    """One file of eight tensors, in place of the one before."""

    param_names = ("MiB", "dtype", "threads")
    params = ((1, 64), tuple(DTYPES), THREADS)

    def setup(self, mib: int, dtype: str, threads: int) -> None:
        _native.set_threads(threads)
        self.arrays = arrays_of(mib, dtype)

    def time_save_file(self, *_: object) -> None:
        mc.save_file(self.arrays, "saved.safetensors")


class SaveCheckpoint:
    """A checkpoint directory: manifest, staging and the commit included."""

    param_names = ("MiB",)
    params = ((1, 64),)

    def setup(self, mib: int) -> None:
        self.state = {"model": arrays_of(mib), "step": 1}
        self.directory = f"{tempfile.mkdtemp(dir='.')}/checkpoint"

    def time_save(self, _mib: int) -> None:
        mc.save(self.state, self.directory)


class SaveManyTensors:
    """Small tensors, where the work is per tensor and not per byte."""

    param_names = ("tensors",)
    params = ((1_000, 10_000, 100_000),)

    def setup(self, count: int) -> None:
        self.arrays = tiny_arrays(count)

    def time_save_file(self, _count: int) -> None:
        mc.save_file(self.arrays, "many.safetensors")
