"""Figures in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tests.harness.evidence import UNFINISHED, Evidence

__all__ = ["SECTIONS", "figure", "joined", "section", "test_function", "upper_bound"]

_LEAST_SAMPLE = 10
_MOST_DETAILS = 5

SECTIONS = (
    ("Kills", r"tests/crash/"),
    ("Power cuts", r"tests/crash/.*power|power|simulat"),
    ("Failing devices and full disks", r"fault|disk|alloc|fsync"),
    ("Damage", r"tests/corruption/"),
    ("Hostile input", r"tests/hostile/|fuzz"),
    ("Races", r"tests/concurrency/"),
    ("Leaks", r"tests/leak/"),
    ("Others", r""),
)
_ORDER = (
    "Power cuts",
    "Failing devices and full disks",
    "Hostile input",
    "Damage",
    "Kills",
    "Races",
    "Leaks",
    "Others",
)


def section(line: Evidence) -> str:
    """Under which heading a figure stands, by its test's path."""
    patterns = dict(SECTIONS)
    path = line.test.partition("::")[0]
    return next(name for name in _ORDER if re.search(patterns[name], path))


def test_function(line: Evidence) -> str:
    """The test without its parameters."""
    return line.test.partition("[")[0]


def figure(line: Evidence) -> str:
    """Violations of trials, and what that says about the next one: "0 of 1,000 kills (< 0.3 %)"."""
    if line.unit == UNFINISHED:
        return "failed before it gave a figure"
    every = "all " if line.exhaustive else ""
    count = f"{line.violations:,} of {every}{line.trials:,} {line.unit}"
    if line.violations or line.exhaustive or line.trials < _LEAST_SAMPLE:
        return count
    return f"{count} (< {upper_bound(line.trials)})"


def upper_bound(trials: int) -> str:
    """The rule of three: if N trials passed, the rate of failures is below 3/N, with a confidence of 95 %."""
    percent = 300 / trials
    decimals = 0
    while round(percent, decimals) < percent * 0.95 and decimals < 12:
        decimals += 1
    return f"{percent:.{decimals}f} %"


def joined(lines: Iterable[Evidence]) -> list[Evidence]:
    """One figure where tests differ in nothing but parameters and details."""
    groups: dict[tuple[object, ...], list[Evidence]] = {}
    for line in lines:
        key = (test_function(line), line.threat, line.promise, line.unit, line.scale)
        groups.setdefault(key, []).append(line)
    return [_sum(group) for group in groups.values()]


def _sum(group: Sequence[Evidence]) -> Evidence:
    return replace(
        group[0],
        trials=sum(line.trials for line in group),
        violations=sum(line.violations for line in group),
        date=min(line.date for line in group),
        detail=_together([line.detail for line in group]),
        exhaustive=all(line.exhaustive for line in group),
    )


def _together(details: Sequence[str]) -> str:
    """Details that differ; the first ones, if there are many. The file of results has them all."""
    different = list(dict.fromkeys(filter(None, details)))
    shown = different[:_MOST_DETAILS]
    rest = len(different) - len(shown)
    return "; ".join([*shown, *([f"and {rest} more"] if rest else [])])
