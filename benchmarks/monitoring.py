"""What measuring costs: a span where nobody measures, where somebody does, and all of them in one save.

    python -m benchmarks.monitoring [--size 1GiB] [--repeats 7]

Prints the median of each, and exits with 1 if a span costs more than its bound: 1 microsecond where nobody measures, 5
where somebody does. That the spans were really counted is checked.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

import numpy as np

from benchmarks.sizes import parse_size
from model_checkpoint.checkpoint.keep import Keep
from model_checkpoint.checkpoint.manager import CheckpointManager
from model_checkpoint.monitoring import OperationTiming, PerformanceMonitor
from model_checkpoint.monitoring.span import PastSpan, span

SPANS = 100_000
OFF_US, ON_US = 1.0, 5.0
TENSORS = 64


@dataclass
class Counter:
    """An exporter that counts the spans of saves."""

    traces: Final = True
    saves: list[tuple[float, int]] = field(default_factory=list)

    def export(self, timing: OperationTiming, trace: Sequence[PastSpan], began_at: float) -> None:  # noqa: ARG002
        if timing.kind == "save":
            self.saves.append((timing.seconds, len(trace)))


def spans() -> float:
    """Microseconds of one span, in a loop of many."""
    began = perf_counter()
    for _ in range(SPANS):
        with span("hash"):
            pass
    return (perf_counter() - began) / SPANS * 1e6


def measured_spans(monitor: PerformanceMonitor) -> float:
    """The same, inside of an operation that counts each of them."""
    with monitor.operation("load"):
        return spans()


def median(repeats: int, sample: Callable[[], float]) -> float:
    return statistics.median(sample() for _ in range(repeats))


def saves(nbytes: int, repeats: int) -> tuple[float, int]:
    """Seconds of a save of this size, and how many spans it has."""
    counter = Counter()
    state = {f"layer{at}": np.ones(nbytes // TENSORS // 4, np.float32) for at in range(TENSORS)}
    monitor = PerformanceMonitor(percentiles=False, exporters=[counter])
    with tempfile.TemporaryDirectory() as root, CheckpointManager(root, performance=monitor) as ckpts:
        ckpts.track(model=state)
        for step in range(repeats):
            ckpts.save(step, block=True)
            ckpts.prune(keep=Keep.last(1), dry_run=False, force=True)
    return statistics.median(seconds for seconds, _ in counter.saves), max(count for _, count in counter.saves)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring", description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=parse_size, default="1GiB", help="of the save")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()

    monitor = PerformanceMonitor()
    off = median(arguments.repeats, spans)
    on = median(arguments.repeats, lambda: measured_spans(monitor))
    counted = monitor.report().stages["hash"].count
    if counted != SPANS * arguments.repeats:
        raise SystemExit(f"{counted} spans were counted, and there were {SPANS * arguments.repeats}")
    seconds, count = saves(arguments.size, min(arguments.repeats, 5))

    print(f"a span where nobody measures     {off:8.3f} us   at most {OFF_US:g}")
    print(f"a span that is measured          {on:8.3f} us   at most {ON_US:g}, percentiles included")
    print(f"spans of a save of {arguments.size / 2**30:.2g} GiB     {count:8}      {seconds:.2f} s")
    print(f"their share of it                {count * on / 1e6 / seconds:12.4%}")
    return int(off > OFF_US or on > ON_US)


if __name__ == "__main__":
    sys.exit(main())
