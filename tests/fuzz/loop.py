"""The inner loop: makes inputs, tries them, and keeps those that led to something new.

It needs no tool and no instrumentation, so that it runs everywhere and fast. What it learns from is the outcome: which
rule refused an input and with what words, or what kind of value was accepted.
"""

from __future__ import annotations

import contextlib
import random
import resource
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.target import Target, Violation

__all__ = ["MEMORY_BYTES", "SECONDS", "Finding", "Statistics", "Trial", "inputs", "limit_memory", "run"]

SECONDS = 1.0
"""The most CPU time that one input may take."""

MEMORY_BYTES = 64 * 1024 * 1024
"""The most memory beyond twice the input."""

_MOST_KEPT = 1000
_TRACED_EVERY = 509
_FRESH_EVERY = 20_000


@dataclass(frozen=True, slots=True)
class Finding:
    """An input for which a promise does not hold."""

    target: str
    data: bytes
    what: str


@dataclass(slots=True)
class Statistics:
    """What a run of one target came to.

    Attributes:
        executions: How many inputs were tried.
        accepted: How many of them were accepted.
        seconds: Wall time in seconds.
        outcomes: How often each outcome came up.
        slowest: CPU seconds of the slowest input.
        peak_bytes: The most memory that Python took for one input, of those that were traced.
        findings: The inputs that broke a promise, one for each way of breaking it.
    """

    executions: int = 0
    accepted: int = 0
    seconds: float = 0.0
    outcomes: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0
    peak_bytes: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)


class Trial:
    """Tries inputs on one target and watches what they take."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.statistics = Statistics()

    def attempt(self, data: bytes) -> bool:
        """Try an input; whether its outcome is new."""
        statistics = self.statistics
        statistics.executions += 1
        outcome = self._traced(data) if statistics.executions % _TRACED_EVERY == 0 else self._guarded(data)
        count = statistics.outcomes.get(outcome, 0)
        statistics.outcomes[outcome] = count + 1
        if outcome.startswith("accepted"):
            statistics.accepted += 1
        if count == 0 and len(statistics.outcomes) < _MOST_KEPT:
            self._traced(data)
            return True
        return False

    def _guarded(self, data: bytes) -> str:
        start = time.monotonic()
        try:
            outcome = self.target.outcome(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what we are looking for
            outcome = self._found(data, error)
        if time.monotonic() - start > self.statistics.slowest:
            self._measure(data)
        return outcome

    def _measure(self, data: bytes) -> None:
        """Try an input once more that seemed slow: what counts is its own time, and asking for that is slow itself."""
        start = time.thread_time()
        with contextlib.suppress(Exception):  # it has been seen
            self.target.outcome(data)
        taken = time.thread_time() - start
        self.statistics.slowest = max(self.statistics.slowest, taken)
        if taken > SECONDS:
            self._found(data, Violation(f"took {taken:.1f} s"))

    def _traced(self, data: bytes) -> str:
        """As `_guarded`, with every allocation of Python's counted."""
        tracemalloc.start()
        try:
            outcome = self._guarded(data)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        self.statistics.peak_bytes = max(self.statistics.peak_bytes, peak)
        if peak > MEMORY_BYTES + 2 * len(data):
            self._found(data, Violation(f"took {peak} bytes for {len(data)}"))
        return outcome

    def _found(self, data: bytes, error: Exception) -> str:
        what = f"{type(error).__name__}: {error} ({_place(error)})"
        key = f"finding: {type(error).__name__} {''.join(filter(str.isalpha, str(error)))[:40]} {_place(error)}"
        self.statistics.findings.setdefault(key, Finding(self.target.name, data, what))
        return key


def _place(error: BaseException) -> str:
    """The innermost line of code: two findings there are one bug."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return "" if traceback is None else f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"


def inputs(target: Target, rng: random.Random, kept: list[Any]) -> Iterator[bytes]:
    """New inputs without end; new seeds replace old ones now and then."""
    fresh: list[Any] = []
    count = 0
    while True:
        if count % _FRESH_EVERY == 0:
            seeds = [*target.seeds(rng), *target.regressions()]
            yield from seeds
            fresh = [target.read(seed) for seed in seeds]
        pool = kept if kept and count % 3 == 0 else fresh
        yield target.mutate(rng, rng.choice(pool), rng.choice(fresh))
        count += 1


def run(
    target: Target,
    *,
    executions: int,
    seed: int,
    seconds: float = float("inf"),
    before: Callable[[bytes], None] = lambda _: None,
) -> Statistics:
    """Try so many inputs, or as many as there is time for.

    Args:
        target: What to try.
        executions: How many inputs.
        seed: The same seed gives the same inputs.
        seconds: The most wall time.
        before: Called with each input before it is tried.
    """
    trial = Trial(target)
    kept: list[Any] = []
    start = time.monotonic()
    for data in inputs(target, random.Random(seed), kept):
        before(data)
        if trial.attempt(data):
            kept.append(target.read(data))
        if trial.statistics.executions >= executions:
            break
        if trial.statistics.executions % 64 == 0 and time.monotonic() - start > seconds:
            break
    trial.statistics.seconds = time.monotonic() - start
    return trial.statistics


def limit_memory(spare: int = MEMORY_BYTES) -> None:
    """Let the kernel refuse this process what is beyond ``spare`` bytes more than it has: every input is watched, and
    one that wants more gets a MemoryError, which is a finding."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[5])
    limit = pages * resource.getpagesize() + spare
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
