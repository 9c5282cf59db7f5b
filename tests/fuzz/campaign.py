"""Tries many inputs on many targets with many processes, and sums up."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from tests.fuzz.loop import Finding, Statistics
from tests.fuzz.native import NativeTarget, NativeWorker
from tests.fuzz.target import Target
from tests.fuzz.worker import Task, Worker

__all__ = ["merged", "run", "save_finding", "tasks"]

_SLICE = 250_000
"""Executions of one process: a new one starts with new seeds and little memory."""


def tasks(targets: Iterable[Target | NativeTarget], *, executions: int, seed: int) -> list[Task]:
    """Share a number of executions out by weight, in slices, the targets in turn."""
    chosen = list(targets)
    total = sum(target.weight for target in chosen)
    slices: list[tuple[float, Task]] = []
    for target in chosen:
        share = max(round(executions * target.weight / total), 1)
        count = -(-share // _SLICE)
        for part in range(count):
            size = share * (part + 1) // count - share * part // count
            slices.append(((part + 0.5) / count, Task(target, size, seed + part)))
    return [task for _, task in sorted(slices, key=lambda item: item[0])]


def run(
    todo: Sequence[Task], *, jobs: int, seconds: float, report: Callable[[int, int], None]
) -> dict[str, Statistics]:
    """Do tasks in parallel.

    Args:
        todo: The tasks, in the order in which they begin.
        jobs: How many processes at once.
        seconds: The most wall time.
        report: Told of the executions so far and of the findings, about every second.

    Returns:
        What came of each target, by name.
    """
    waiting, working = list(todo), list[Worker | NativeWorker]()
    results: dict[str, Statistics] = {}
    deadline = time.monotonic() + seconds
    try:
        while (waiting or working) and time.monotonic() < deadline:
            while waiting and len(working) < jobs:
                working.append(waiting.pop(0).start())
            time.sleep(0.2)
            _collect(working, results)
            done = sum(part.executions for part in results.values()) + sum(worker.executions for worker in working)
            report(done, sum(len(part.findings) for part in results.values()))
    finally:
        for worker in working:
            _merge(results, worker.target.name, worker.stop())
    return results


def _collect(working: list[Worker | NativeWorker], results: dict[str, Statistics]) -> None:
    for worker in list(working):
        statistics = worker.poll()
        if statistics is not None:
            working.remove(worker)
            _merge(results, worker.target.name, statistics)


def _merge(results: dict[str, Statistics], name: str, part: Statistics) -> None:
    results[name] = merged(results.get(name, Statistics()), part)


def merged(a: Statistics, b: Statistics) -> Statistics:
    """Both together."""
    return Statistics(
        executions=a.executions + b.executions,
        accepted=a.accepted + b.accepted,
        seconds=a.seconds + b.seconds,
        outcomes=_added(a.outcomes, b.outcomes),
        slowest=max(a.slowest, b.slowest),
        peak_bytes=max(a.peak_bytes, b.peak_bytes),
        findings=b.findings | a.findings,
    )


def _added(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {key: a.get(key, 0) + b.get(key, 0) for key in [*a, *(key for key in b if key not in a)]}


def save_finding(finding: Finding, directory: Path) -> Path:
    """Write an input down, where a test may find it."""
    path = directory / finding.target / hashlib.sha256(finding.data).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(finding.data)
    return path
