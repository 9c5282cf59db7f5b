"""How much one thing costs in terms of another, and how sure that is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """A median of ratios with its confidence interval."""

    low: float
    median: float
    high: float

    def exceeds(self, bound: float) -> bool:
        """Whether the ratio is above the bound with confidence: all of the interval is."""
        return self.low > bound


def median_ratio(ratios: Sequence[float], confidence: float = 0.99) -> Ratio:
    """The median of ratios that were measured one after the other, with the interval that the sign test gives.

    It holds for every distribution: each ratio lies above the true median as a coin falls, so that the true median
    lies below the k-th smallest ratio as rarely as fewer than k of n coins fall one way. Outliers, which a busy machine
    makes, do not move it.

    Raises:
        ValueError: There are too few ratios for the confidence.
    """
    ordered = sorted(ratios)
    rank = _rank(len(ordered), (1 - confidence) / 2)
    if rank == 0:
        raise ValueError(f"{len(ordered)} ratios are too few for a confidence of {confidence:.0%}")
    return Ratio(ordered[rank - 1], statistics.median(ordered), ordered[-rank])


def _rank(count: int, tail: float) -> int:
    """The greatest k for which fewer than k of `count` coins fall one way with a chance of at most `tail`."""
    chance, rank = 0.0, 0
    while rank <= count // 2:
        chance += math.comb(count, rank) / 2**count
        if chance > tail:
            break
        rank += 1
    return rank
