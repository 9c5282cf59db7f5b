"""What came of the trials of one row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeAlias, TypedDict

__all__ = ["Counts", "Outcomes", "counted"]

Outcomes: TypeAlias = set[str]
"""What happened in one trial; nothing if all went well."""


class Counts(TypedDict):
    """Attributes:
    trials: How many there were.
    outcomes: How many had each outcome; one trial may have several.
    exhaustive: Whether there were no more that could be tried.
    """

    trials: int
    outcomes: dict[str, int]
    exhaustive: bool


def counted(trials: Iterable[Outcomes], *, exhaustive: bool = False) -> Counts:
    every = list(trials)
    outcomes = Counter(outcome for trial in every for outcome in trial)
    return Counts(trials=len(every), outcomes=dict(sorted(outcomes.items())), exhaustive=exhaustive)
