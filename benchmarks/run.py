"""The state of one run: the model, its files, the peers, and what has been measured."""

from __future__ import annotations

import gc
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import model_checkpoint as mc
from benchmarks import ceilings, table
from benchmarks.entrant import Entrant
from benchmarks.files import Files
from benchmarks.harness import Sample, alternate
from benchmarks.models import size_of
from benchmarks.peers.peer import State
from benchmarks.peers.registry import Lineup
from benchmarks.result import Cache, Result, Row
from benchmarks.target import Target

CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class DirectMode:
    """How direct I/O is fastest here."""

    threads: int
    block: int

    def __str__(self) -> str:
        return f"{self.threads} x {self.block >> 20} MiB"


@dataclass
class Run:
    """Attributes:
    state: The model.
    directory: Where files go.
    repeats: Timed rounds.
    line_up: Peers.
    write_mode: The fastest way to write, found by the ceilings.
    read_mode: The fastest way to read, likewise.
    """

    state: State
    directory: Path
    repeats: int
    line_up: Lineup
    results: list[Result] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    write_mode: DirectMode = DirectMode(4, ceilings.BLOCK)
    read_mode: DirectMode = DirectMode(4, ceilings.BLOCK)

    def __post_init__(self) -> None:
        self.nbytes = size_of(self.state)
        self.direct_bytes = self.nbytes // ceilings.BLOCK * ceilings.BLOCK
        writers: dict[str, Callable[[State, Path], object]] = {
            peer.file_format: peer.savers()[0].save for peer in self.line_up.peers if peer.savers()
        }
        writers["safetensors"] = mc.save_file  # one file for all that read safetensors
        writers["checkpoint"] = lambda state, path: mc.save({"model": state}, path)
        self.files = Files(self.directory, self.state, writers)

    def measure(
        self,
        group: str,
        entrants: Sequence[Entrant],
        *,
        cache: Cache = "",
        nbytes: int | None = None,
        bounded: bool = True,
        warm_ups: int = 1,
    ) -> Result:
        """Measure entrants in turn, print their rows, and remember the result."""
        total = nbytes or self.nbytes
        samples = alternate([entrant.contender for entrant in entrants], self.nbytes, self.repeats, warm_ups=warm_ups)
        rows = [
            Row(
                entrant.name,
                entrant.role,
                entrant.guarantee,
                Sample(samples[entrant.name].seconds, entrant.nbytes or total),
            )
            for entrant in entrants
        ]
        result = Result(group, cache, tuple(rows), bounded)
        self.results.append(result)
        print("\n" + table.of_result(result), flush=True)
        gc.collect()
        return result

    def require(self, target: Target) -> None:
        self.targets.append(target)
        print(f"  {target}", flush=True)

    def require_ratio(self, what: str, result: Result, ours: str, theirs: str, bound: float) -> None:
        """How many times as fast as a peer we must be; the ceiling of the group says how much is possible."""
        peer = result.find(theirs)
        if peer is None:
            return
        value, limit = result[ours].rate / peer.rate, result.limit
        possible = None if limit is None else max(value, limit.rate / peer.rate)  # a ceiling is measured, too
        self.require(Target(what, value, bound, possible=possible))

    def require_share(self, what: str, result: Result, ours: str, bound: float) -> None:
        share = result.share(result[ours])
        if share is not None:
            self.require(Target(what, share, bound))

    @contextmanager
    def memory(self) -> Iterator[mmap.mmap]:
        """Memory for direct I/O and copies."""
        memory = ceilings.aligned_memory(min(self.direct_bytes, ceilings.MEMORY_BYTES))
        try:
            yield memory
        finally:
            gc.collect()  # views that an exception's traceback or a closure holds
            memory.close()
