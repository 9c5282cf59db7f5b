"""One way of loading, or the rates of a core, measured in a process of its own for benchmarks.ten_gigabytes.

    MCKPT_THREADS=1 taskset -c 0 python -m benchmarks.verified_load load mapped hot CHECKPOINT REPEATS
    MCKPT_THREADS=1 taskset -c 0 python -m benchmarks.verified_load rates CHECKPOINT REPEATS

Prints JSON.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import model_checkpoint as mc
from benchmarks import ceilings
from benchmarks.harness import drop_cache, touch_free_memory, warm_cache
from model_checkpoint import _native

COMPONENT = "model.safetensors"
PINNED_BYTES = 256 << 20

Load = Callable[[], object]


def loader(mode: str, checkpoint: Path) -> Load:
    """What is timed; every byte is checked by SHA-256 in each mode."""
    path = checkpoint / COMPONENT
    if mode == "mapped":
        return lambda: mc.load_file(path, mmap=True, verify="full")
    if mode == "owned":
        return lambda: mc.load_file(path, verify="full")
    if mode == "gpu":
        return lambda: _synchronized(path)
    empty = mc.load_file(path, mmap=True, verify="none")
    model = {name: torch.zeros_like(tensor) for name, tensor in empty.items()}
    return lambda: mc.load(checkpoint, into={"model": model}, verify="full")


def _synchronized(path: Path) -> object:
    state = mc.load_file(path, device="cuda:0", verify="full")
    torch.cuda.synchronize()
    return state


def load_seconds(mode: str, cache: str, checkpoint: Path, repeats: int) -> list[float]:
    """Wall times after one warm-up."""
    path = checkpoint / COMPONENT
    load = loader(mode, checkpoint)
    seconds = []
    for _ in range(repeats + 1):
        warm_cache(path) if cache == "hot" else drop_cache(path)
        if mode == "owned":
            touch_free_memory(path.stat().st_size)
        start = time.perf_counter()
        answer = load()
        seconds.append(time.perf_counter() - start)
        del answer
        gc.collect()
    return seconds[1:]


def rates(checkpoint: Path, repeats: int) -> dict[str, float]:
    """GB/s of the cores that this process may use, best of ``repeats``, and of storage and bus."""
    path = checkpoint / COMPONENT
    nbytes = min(path.stat().st_size, ceilings.MEMORY_BYTES) // ceilings.BLOCK * ceilings.BLOCK
    cores = len(os.sched_getaffinity(0))
    memory = ceilings.aligned_memory(nbytes)
    warm_cache(path)
    cached = _best(lambda: ceilings.cached_read(path, memory, cores, nbytes), nbytes, repeats)
    hashing = _best(lambda: _native.digest_chunks([memory]), nbytes, repeats)
    pages = _best(lambda: touch_free_memory(nbytes), nbytes, repeats)
    found = {"hash": hashing, "cached read": cached, "make pages": pages}
    found["direct read"] = _direct_read(path, memory, repeats)
    if torch.cuda.is_available():
        found["host to device"] = _best(_copy_to_device(), 16 * PINNED_BYTES, repeats)
    return found


def _direct_read(path: Path, memory: Any, repeats: int) -> float:
    def read(threads: int, block: int) -> float:
        drop_cache(path)
        return _best(lambda: ceilings.direct_read(path, memory, threads, block), len(memory), repeats)

    return max(read(threads, block) for threads, block in ((8, 1 << 20), (16, 1 << 20), (4, 4 << 20), (8, 4 << 20)))


def _copy_to_device() -> Load:
    host = torch.empty(PINNED_BYTES, dtype=torch.uint8, pin_memory=True)
    device = torch.empty_like(host, device="cuda:0")

    def copy() -> None:
        for _ in range(16):
            device.copy_(host, non_blocking=True)
        torch.cuda.synchronize()

    return copy


def _best(work: Load, nbytes: int, repeats: int) -> float:
    def timed() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return nbytes / 1e9 / min(timed() for _ in range(repeats + 1))


if __name__ == "__main__":
    what, *words, directory, count = sys.argv[1:]
    if what == "load":
        print(json.dumps(load_seconds(words[0], words[1], Path(directory), int(count))))
    else:
        print(json.dumps(rates(Path(directory), int(count))))
