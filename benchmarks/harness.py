"""Timing, cache control and memory measurement shared by the benchmarks."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_MADV_POPULATE_WRITE = 23  # Linux 5.14; the mmap module has no name for it


@dataclass(frozen=True, slots=True)
class Sample:
    """Wall times in seconds of one repeated operation over `nbytes` bytes."""

    seconds: tuple[float, ...]
    nbytes: int

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """(max - min) / median."""
        return (max(self.seconds) - min(self.seconds)) / self.median

    @property
    def rate(self) -> float:
        """Median GB/s."""
        return self.nbytes / self.median / 1e9


@dataclass(frozen=True, slots=True)
class Contender:
    """One side of a comparison.

    Attributes:
        name: What the table calls it.
        run: The timed operation.
        before: Untimed preparation, for example dropping the page cache.
        check: Untimed check of the answer that `run` returned; raises if it is wrong.
    """

    name: str
    run: Callable[[], object]
    before: Callable[[], None] = lambda: None
    check: Callable[[object], None] = lambda _answer: None


def alternate(contenders: list[Contender], nbytes: int, repeats: int, *, warm_ups: int = 1) -> dict[str, Sample]:
    """Run the contenders in turn, A B C A B C, after warm-up rounds; check every answer.

    Raises:
        AssertionError: An answer is wrong; its notes name the contender.
    """
    times: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for turn in range(warm_ups + repeats):
        for contender in contenders:
            elapsed = _timed(contender, nbytes)
            if turn >= warm_ups:
                times[contender.name].append(elapsed)
    return {name: Sample(tuple(seconds), nbytes) for name, seconds in times.items()}


def _timed(contender: Contender, nbytes: int) -> float:
    contender.before()
    gc.collect()
    touch_free_memory(nbytes)
    start = time.perf_counter()
    answer = contender.run()
    elapsed = time.perf_counter() - start
    try:
        contender.check(answer)
    except AssertionError as error:
        error.add_note(f"this was the answer of: {contender.name}")
        raise
    return elapsed


def touch_free_memory(nbytes: int) -> None:
    """Take memory, touch it, and give it back, so that what is timed next finds pages that are ready.

    A virtual machine may hand free memory back to its host. Whoever touches it first then waits for the host, at a
    tenth of the usual speed; that says nothing about the contender whose turn it happens to be.
    """
    with mmap.mmap(-1, max(nbytes, 1)) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        memory.madvise(_MADV_POPULATE_WRITE)


def settle() -> None:
    """Let what ran before end: garbage, dirty pages, and threads that free memory."""
    gc.collect()
    os.sync()
    time.sleep(1)


def drop_cache(path: Path) -> None:
    """Write the file back, evict its pages, and check that they are gone."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
    if (resident := residency(path)) > 0.01:
        raise RuntimeError(f"{path}: {resident:.0%} is still in the page cache")


def warm_cache(path: Path) -> None:
    """Read the file until all of it is in the page cache, which may lose some while it is read."""
    for _ in range(5):
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 24):
                continue
        if residency(path) == 1:
            return
    raise RuntimeError(f"{path} does not stay in the page cache; use a smaller --size")


def residency(path: Path) -> float:
    """Share of the file's pages that are in the page cache (mincore)."""
    size = path.stat().st_size
    if size == 0:
        return 0.0
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE) as mapping:
        pages = -(-size // mmap.PAGESIZE)
        vector = (ctypes.c_ubyte * pages)()
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
        if libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), vector):
            raise OSError(ctypes.get_errno(), "mincore")
        return sum(byte & 1 for byte in bytes(vector)) / pages


def reset_peak_memory() -> int:
    """Forget this process's peak resident size; returns the current one in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak_memory() -> int:
    """Peak resident size in bytes since `reset_peak_memory`."""
    return _status("VmHWM")


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {key} in /proc/self/status")


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown CPU"
