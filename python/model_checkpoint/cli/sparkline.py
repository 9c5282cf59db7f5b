"""A curve in one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["sparkline"]

_BARS = "▁▂▃▄▅▆▇█"
_UNKNOWN = " "


def sparkline(values: Sequence[float], width: int = 24, *, bounds: tuple[float, float] | None = None) -> str:
    """The means of ``width`` stretches of a series as bars; a blank where nothing is finite.

    Args:
        values: The series.
        width: How many bars, at most.
        bounds: What the lowest and the highest bar stand for; None for the least and the greatest mean.
    """
    count = min(width, len(values))
    stretches = [values[n * len(values) // count : (n + 1) * len(values) // count] for n in range(count)]
    means = [_mean([value for value in stretch if math.isfinite(value)]) for stretch in stretches]
    known = [mean for mean in means if not math.isnan(mean)]
    low, high = bounds or (min(known, default=0.0), max(known, default=0.0))
    return "".join(_UNKNOWN if math.isnan(mean) else _bar(mean, low, high) for mean in means)


def _bar(value: float, low: float, high: float) -> str:
    if high == low:
        return _BARS[0]
    share = (value / 2 - low / 2) / (high / 2 - low / 2)  # the difference of halves is no more than a float holds
    return _BARS[max(0, min(int(share * len(_BARS)), len(_BARS) - 1))]


def _mean(values: Sequence[float]) -> float:
    return sum(value / len(values) for value in values) if values else math.nan
