"""What the machine can do: raw direct I/O, reads from the page cache, copies, and the hash kernels on their own."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

BLOCK = 4 << 20
MEMORY_BYTES = 1 << 30  # more than any cache holds, and little beside the model


def _parallel(threads: int, blocks: int, work: Callable[[int], None]) -> float:
    """Seconds for `threads` threads to call work(0) ... work(blocks - 1)."""
    pending = iter(range(blocks))
    lock = threading.Lock()
    errors: list[BaseException] = []

    def worker() -> None:
        try:
            while True:
                with lock:
                    block = next(pending, None)
                if block is None:
                    return
                work(block)
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that waits
            errors.append(error)

    workers = [threading.Thread(target=worker) for _ in range(threads)]
    start = time.perf_counter()
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    if errors:
        raise errors[0]
    return time.perf_counter() - start


def aligned_memory(nbytes: int) -> mmap.mmap:
    """Page-aligned memory in huge pages, touched."""
    memory = mmap.mmap(-1, nbytes)
    memory.madvise(mmap.MADV_HUGEPAGE)
    pattern = os.urandom(1 << 20)
    for offset in range(0, nbytes, len(pattern)):
        memory[offset : offset + len(pattern)] = pattern[: nbytes - offset]
    return memory


def direct_write(path: Path, memory: mmap.mmap, threads: int, block: int = BLOCK, nbytes: int | None = None) -> float:
    """Seconds to write ``nbytes`` (that of ``memory`` by default) with O_DIRECT, and fsync.

    Writes are of ``block`` bytes each, from ``threads`` threads; memory that is shorter is written again and again.
    """
    path.unlink(missing_ok=True)
    nbytes = nbytes or len(memory)
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_DIRECT, 0o644)
    try:
        os.posix_fallocate(fd, 0, nbytes)
        with memoryview(memory) as view:
            start = time.perf_counter()
            _parallel(threads, nbytes // block, lambda i: _full_write(fd, _piece(view, i, block), i * block))
            os.fsync(fd)
            return time.perf_counter() - start
    finally:
        os.close(fd)


def direct_read(path: Path, memory: mmap.mmap, threads: int, block: int = BLOCK, nbytes: int | None = None) -> float:
    """Seconds to read ``nbytes`` (that of ``memory`` by default) with O_DIRECT into ``memory``, as above."""
    return _read(path, os.O_RDONLY | os.O_DIRECT, memory, threads, block, nbytes or len(memory))


def cached_read(path: Path, memory: mmap.mmap, threads: int, nbytes: int) -> float:
    """Seconds to read ``nbytes`` through the page cache into ``memory``, a megabyte at a time."""
    return _read(path, os.O_RDONLY, memory, threads, 1 << 20, nbytes)


def _read(path: Path, flags: int, memory: mmap.mmap, threads: int, block: int, nbytes: int) -> float:
    fd = os.open(path, flags)
    try:
        with memoryview(memory) as view:
            return _parallel(threads, nbytes // block, lambda i: _full_read(fd, _piece(view, i, block), i * block))
    finally:
        os.close(fd)


def _piece(view: memoryview, index: int, block: int) -> memoryview:
    start = index % (len(view) // block) * block
    return view[start : start + block]


def _full_write(fd: int, view: memoryview, offset: int) -> None:
    if os.pwrite(fd, view, offset) != len(view):
        raise RuntimeError("short direct write")


def _full_read(fd: int, view: memoryview, offset: int) -> None:
    if os.preadv(fd, [view], offset) != len(view):
        raise RuntimeError("short read")


def copy(source: mmap.mmap, dest: mmap.mmap, threads: int) -> float:
    """Seconds of memcpy from one memory to another, an equal share for each thread."""
    share = -(-len(source) // threads)
    into, out = np.frombuffer(dest, np.uint8), np.frombuffer(source, np.uint8)

    def part(index: int) -> None:
        span = slice(index * share, (index + 1) * share)
        np.copyto(into[span], out[span])

    return _parallel(threads, threads, part)


def copy_into_fresh(source: mmap.mmap, threads: int) -> float:
    """Seconds of memcpy into memory that nobody has touched before, in huge pages."""
    with mmap.mmap(-1, len(source)) as dest:
        dest.madvise(mmap.MADV_HUGEPAGE)
        return copy(source, dest, threads)
