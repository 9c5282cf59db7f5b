"""``python -m tests.fuzz``: try millions of inputs on everything that reads files, and report.

The fuzz targets of the core take part if they are built; ``--build`` builds them, with libFuzzer where there is a clang
that has it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.fuzz import campaign, native
from tests.fuzz.loop import Statistics
from tests.fuzz.targets.all import TARGETS


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.replay:
        return _replay(options.target, options.replay)
    core = native.build() if options.build else native.targets()
    everything = {**TARGETS, **{target.name: target for target in core}}
    wanted = options.target or [*TARGETS, *native.NAMES]
    if missing := [name for name in wanted if name not in everything]:
        print(f"left out: {', '.join(missing)}; what is of the core must be built: --build", file=sys.stderr)
    chosen = [everything[name] for name in wanted if name in everything]
    progress = _Progress(options.executions)
    results = campaign.run(
        campaign.tasks(chosen, executions=options.executions, seed=options.seed),
        jobs=options.jobs,
        seconds=options.seconds,
        report=progress,
    )
    progress.end()
    _print_table(results)
    return _print_findings(results, options.artifacts, outcomes=options.outcomes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--executions", type=int, default=1_000_000, help="how many inputs, over all targets")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="the most wall time")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="how many processes")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same inputs")
    parser.add_argument("--target", action="append", help="only this one; may be given again")
    parser.add_argument("--build", action="store_true", help="build the targets of the core first")
    parser.add_argument("--artifacts", type=Path, default=Path("fuzz-findings"), help="where findings are written")
    parser.add_argument("--outcomes", action="store_true", help="list what came of the inputs, and how often")
    parser.add_argument("--replay", nargs="+", type=Path, metavar="FILE", help="only try these inputs, on the target")
    return parser


class _Progress:
    """A line on a terminal that tells how far it is; a line a minute in a log."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._start = self._shown = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def __call__(self, done: int, findings: int) -> None:
        now = time.monotonic()
        if now - self._shown >= (1 if self._terminal else 60):
            self._shown = now
            rate = done / (now - self._start)
            text = f"{done:,} of {self._total:,} executions, {rate:,.0f}/s, {findings} findings"
            print(f"\r{text}\x1b[K" if self._terminal else text, end="" if self._terminal else "\n", file=sys.stderr)

    def end(self) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr)


def _print_table(results: Mapping[str, Statistics]) -> None:
    heads = ("target", "executions", "accepted", "outcomes", "seconds", "per second", "slowest", "memory", "findings")
    rows = [_row(name, results[name]) for name in sorted(results)]
    rows.append(_row("all", _sum(results)))
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    for row in (heads, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells))


def _sum(results: Mapping[str, Statistics]) -> Statistics:
    total = Statistics()
    for part in results.values():
        total = campaign.merged(total, part)
    return total


def _row(name: str, statistics: Statistics) -> tuple[str, ...]:
    return (
        name,
        f"{statistics.executions:,}",
        f"{statistics.accepted:,}",
        f"{len(statistics.outcomes)}",
        f"{statistics.seconds:,.0f}",
        f"{statistics.executions / max(statistics.seconds, 1e-9):,.0f}",
        f"{statistics.slowest * 1000:.0f} ms",
        f"{statistics.peak_bytes / 1e6:.1f} MB",
        f"{len(statistics.findings)}",
    )


def _print_findings(results: Mapping[str, Statistics], artifacts: Path, *, outcomes: bool) -> int:
    for name, statistics in results.items():
        if outcomes:
            for outcome, count in sorted(statistics.outcomes.items(), key=lambda item: -item[1]):
                print(f"{name}: {count:>9,}  {outcome}")
        for finding in statistics.findings.values():
            print(f"FINDING {campaign.save_finding(finding, artifacts)}: {finding.what[:500]}")
    return int(any(statistics.findings for statistics in results.values()))


def _replay(names: list[str] | None, files: list[Path]) -> int:
    for path in files:
        for name in names or [path.parent.name]:
            print(f"{path}: {name}: {TARGETS[name].outcome(path.read_bytes())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
