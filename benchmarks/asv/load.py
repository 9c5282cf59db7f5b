"""Loads into torch tensors, at every level of verification."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch  # noqa: F401 - here, so that no sample pays for its import

import model_checkpoint as mc
from benchmarks.asv.arrays import DTYPES, THREADS, arrays_of
from benchmarks.asv.page_cache import drop, warm
from model_checkpoint import _native

Verify = Literal["full", "fast", "none"]
LEVELS: tuple[Verify, ...] = ("full", "fast", "none")
SIZES = (1, 64)


def path_of(mib: int, dtype: str = "float32") -> Path:
    return Path(f"{mib}-{dtype}.safetensors")


class HotLoad:
    """From the page cache into new memory."""

    param_names = ("MiB", "dtype", "verify", "threads")
    params = (SIZES, tuple(DTYPES), LEVELS, THREADS)

    def setup_cache(self) -> None:
        for mib in SIZES:
            for dtype in DTYPES:
                mc.save_file(arrays_of(mib, dtype), path_of(mib, dtype))

    def setup(self, mib: int, dtype: str, _verify: Verify, threads: int) -> None:
        _native.set_threads(threads)
        warm(path_of(mib, dtype))

    def time_load_file(self, mib: int, dtype: str, verify: Verify, _threads: int) -> None:
        mc.load_file(path_of(mib, dtype), verify=verify)


class MappedLoad:
    """Views of a mapping of the page cache: nothing is copied."""

    param_names = ("MiB", "verify", "threads")
    params = (SIZES, LEVELS, THREADS)

    def setup_cache(self) -> None:
        for mib in SIZES:
            mc.save_file(arrays_of(mib), path_of(mib))

    def setup(self, mib: int, _verify: Verify, threads: int) -> None:
        _native.set_threads(threads)
        warm(path_of(mib))

    def time_load_file(self, mib: int, verify: Verify, _threads: int) -> None:
        mc.load_file(path_of(mib), verify=verify, mmap=True)


class ColdLoad:
    """From the device: the file's pages are dropped before every sample."""

    param_names = ("MiB", "verify")
    params = (SIZES, LEVELS)
    number = 1
    warmup_time = 0

    def setup_cache(self) -> None:
        for mib in SIZES:
            mc.save_file(arrays_of(mib), path_of(mib))

    def setup(self, mib: int, _verify: Verify) -> None:
        drop(path_of(mib))

    def time_load_file(self, mib: int, verify: Verify) -> None:
        mc.load_file(path_of(mib), verify=verify)


class LoadInto:
    """A checkpoint into tensors that exist: memory is reused, and everything is verified first."""

    param_names = ("MiB",)
    params = (SIZES,)

    def setup_cache(self) -> None:
        for mib in SIZES:
            mc.save({"model": arrays_of(mib)}, f"checkpoint-{mib}")

    def setup(self, mib: int) -> None:
        self.state = {"model": arrays_of(mib)}
        warm(Path(f"checkpoint-{mib}/model.safetensors"))

    def time_load(self, mib: int) -> None:
        mc.load(f"checkpoint-{mib}", into=self.state)
