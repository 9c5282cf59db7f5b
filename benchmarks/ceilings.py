"""What the machine can do, measured without the engine (but for the hash kernel), in the same run."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

BLOCK = 4 << 20


def _parallel(threads: int, blocks: int, work: Callable[[int], None]) -> float:
    """Seconds for `threads` threads to call work(0) ... work(blocks - 1)."""
    pending = iter(range(blocks))
    lock = threading.Lock()

    def worker() -> None:
        while True:
            with lock:
                block = next(pending, None)
            if block is None:
                return
            work(block)

    workers = [threading.Thread(target=worker) for _ in range(threads)]
    start = time.perf_counter()
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    return time.perf_counter() - start


def aligned_memory(nbytes: int) -> mmap.mmap:
    """Page-aligned memory in huge pages, touched."""
    memory = mmap.mmap(-1, nbytes)
    memory.madvise(mmap.MADV_HUGEPAGE)
    pattern = os.urandom(1 << 20)
    for offset in range(0, nbytes, len(pattern)):
        memory[offset : offset + len(pattern)] = pattern[: nbytes - offset]
    return memory


def direct_write(path: Path, memory: mmap.mmap, threads: int) -> float:
    """Seconds to write `memory` with O_DIRECT from `threads` threads in 4 MiB writes, and fsync."""
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_DIRECT, 0o644)
    view = memoryview(memory)
    try:
        os.posix_fallocate(fd, 0, len(memory))
        start = time.perf_counter()
        _parallel(
            threads, len(memory) // BLOCK, lambda i: _full_write(fd, view[i * BLOCK : (i + 1) * BLOCK], i * BLOCK)
        )
        os.fsync(fd)
        return time.perf_counter() - start
    finally:
        os.close(fd)
        view.release()


def _full_write(fd: int, view: memoryview, offset: int) -> None:
    if os.pwrite(fd, view, offset) != len(view):
        raise RuntimeError("short direct write")


def direct_read(path: Path, memory: mmap.mmap, threads: int) -> float:
    """Seconds to read the file into `memory` with O_DIRECT from `threads` threads in 4 MiB reads."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    view = memoryview(memory)
    try:
        return _parallel(
            threads,
            len(memory) // BLOCK,
            lambda i: _full_read(fd, view[i * BLOCK : (i + 1) * BLOCK], i * BLOCK),
        )
    finally:
        os.close(fd)
        view.release()


def _full_read(fd: int, view: memoryview, offset: int) -> None:
    if os.preadv(fd, [view], offset) != len(view):
        raise RuntimeError("short direct read")
