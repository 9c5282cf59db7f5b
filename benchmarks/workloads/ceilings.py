"""Ceilings of the machine, measured before anything else."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from functools import partial

from benchmarks import ceilings
from benchmarks.ceilings import BLOCK
from benchmarks.entrant import Entrant
from benchmarks.files import unlink
from benchmarks.harness import Contender
from benchmarks.hash_kernel import HashKernel
from benchmarks.result import Result
from benchmarks.run import CORES, DirectMode, Run
from model_checkpoint import _native

MODES = tuple(
    DirectMode(threads, block) for block, counts in ((1 << 20, (8, 16)), (BLOCK, (2, 4, 8))) for threads in counts
)


def measure(run: Run) -> None:
    """Memory, hash kernels, page cache, and storage; the fastest modes of direct I/O serve the later groups."""
    with run.memory() as source, run.memory() as dest:
        run.measure("ceilings: memory", [*copies(source, dest)], nbytes=len(source), bounded=False)
    run.measure("ceilings: hash kernels, warm mapped memory", kernels(run), bounded=False)
    with run.memory() as memory:
        run.measure("ceilings: page cache", [cached(run, memory)], bounded=False)
        reads = {mode: direct_read(run, memory, mode) for mode in MODES}
        run.read_mode = _best(run.measure("ceilings: direct read", [*reads.values()], cache="cold", bounded=False))
        writes = {mode: direct_write(run, memory, mode) for mode in MODES}
        run.write_mode = _best(run.measure("ceilings: direct write", [*writes.values()], bounded=False))


def _best(result: Result) -> DirectMode:
    best = max(result.rows, key=lambda row: row.rate).name
    return next(mode for mode in MODES if best.endswith(str(mode)))


def _ceiling(name: str, work: Callable[[], object], nbytes: int | None = None) -> Entrant:
    return Entrant(Contender(name, work), "ceiling", nbytes=nbytes)


def copies(source: mmap.mmap, dest: mmap.mmap) -> list[Entrant]:
    """By memcpy and by our streaming stores."""
    return [*copies_reused(source, dest), *copies_fresh(source)]


def fastest(run: Run, entrants: list[Entrant]) -> Entrant:
    """The one that was fastest when the ceilings were measured."""
    measured = {row.name: row.rate for result in run.results for row in result.rows}
    return max(entrants, key=lambda entrant: measured.get(entrant.name, 0.0))


def copies_reused(source: mmap.mmap, dest: mmap.mmap) -> list[Entrant]:
    return [
        _ceiling("memcpy, reused memory, 1 core", partial(ceilings.copy, source, dest, 1), len(source)),
        _ceiling("memcpy, reused memory, all cores", partial(ceilings.copy, source, dest, CORES), len(source)),
        _ceiling(
            "streaming copy, reused memory, all cores",
            lambda: _native.copy_buffers(dest, [0], [source]),
            len(source),
        ),
    ]


def copies_fresh(source: mmap.mmap) -> list[Entrant]:
    return [
        _ceiling("memcpy, fresh memory, all cores", partial(ceilings.copy_into_fresh, source, CORES), len(source)),
        _ceiling(
            "streaming copy, fresh memory, all cores",
            lambda: _native.copy_buffers(_native.Arena(len(source)), [0], [source]),
            len(source),
        ),
    ]


def kernels(run: Run) -> list[Entrant]:
    rows = []
    for label, check in (("SHA-256", "sha256"), ("CRC-32C", "crc32c")):
        for cores, threads in (("all cores", 0), ("1 core", 1)):
            kernel = HashKernel(run.files, "sha256" if check == "sha256" else "crc32c", threads)
            rows.append(
                Entrant(Contender(f"{label} kernel, {cores}", kernel.run, kernel.before, kernel.after), "ceiling")
            )
    return rows


def cached(run: Run, memory: mmap.mmap) -> Entrant:
    """Reads from the page cache into memory that is reused."""
    path, nbytes = run.files.path("safetensors"), run.direct_bytes
    return Entrant(
        Contender(
            "pread from the page cache, reused memory",
            lambda: ceilings.cached_read(path, memory, CORES, nbytes),
            lambda: run.files.warm("safetensors"),
        ),
        "ceiling",
        nbytes=nbytes,
    )


def direct_read(run: Run, memory: mmap.mmap, mode: DirectMode) -> Entrant:
    path, nbytes = run.files.path("safetensors"), run.direct_bytes
    return Entrant(
        Contender(
            f"O_DIRECT read, {mode}",
            lambda: ceilings.direct_read(path, memory, mode.threads, mode.block, nbytes),
            lambda: run.files.cool("safetensors"),
        ),
        "ceiling",
        nbytes=nbytes,
    )


def direct_write(run: Run, memory: mmap.mmap, mode: DirectMode) -> Entrant:
    path, nbytes = run.directory / "raw", run.direct_bytes

    def write() -> None:
        ceilings.direct_write(path, memory, mode.threads, mode.block, nbytes)

    return Entrant(
        Contender(f"O_DIRECT write + fsync, {mode}", write, lambda: unlink(path), lambda _answer: unlink(path)),
        "ceiling",
        nbytes=nbytes,
    )
