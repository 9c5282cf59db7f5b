"""Percentiles of durations in bounded memory: an HDR histogram of the library ``hdrhistogram``.

Values are counted in buckets whose width is 1% of the value (two significant digits), from a nanosecond to a day: 40 kB
for any number of values. See http://hdrhistogram.org; the library is the Python port of Gil Tene's original.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from model_checkpoint.utils.optional_import import require

__all__ = ["ERROR", "Histogram", "Percentiles"]

ERROR = 0.01
"""The relative error of a percentile, at most."""

_LONGEST_NS = 24 * 3600 * 10**9
_DIGITS = 2
_PERCENTS = (50.0, 90.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """How long things took, in seconds, within 1%.

    Attributes:
        count: How many there were.
        p50: Half of them took at most this long; the others accordingly.
        p90: 90%.
        p95: 95%.
        p99: 99%.
        p999: 99.9%.
        longest: All of them.
    """

    count: int
    p50: float
    p90: float
    p95: float
    p99: float
    p999: float
    longest: float


class Histogram:
    """Durations. Not for several threads at once.

    Raises:
        MissingDependencyError: The extra ``monitoring`` is not installed.
    """

    def __init__(self) -> None:
        library: Any = require("hdrh.histogram", extra="monitoring")
        self._counts = library.HdrHistogram(1, _LONGEST_NS, _DIGITS)

    def add(self, seconds: Iterable[float]) -> None:
        """Count durations; those of more than a day as a day."""
        for value in seconds:
            self._counts.record_value(min(round(value * 1e9), _LONGEST_NS))

    def percentile(self, percent: float) -> float:
        """The duration that so many percent do not exceed, in seconds; 0 if there is none."""
        return float(self._counts.get_value_at_percentile(percent)) / 1e9

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return int(self._counts.get_total_count())

    def percentiles(self) -> Percentiles:
        """The usual ones."""
        found = self._counts.get_percentile_to_value_dict(list(_PERCENTS))
        p50, p90, p95, p99, p999 = (float(found[percent]) / 1e9 for percent in _PERCENTS)
        return Percentiles(self.count, p50, p90, p95, p99, p999, float(self._counts.get_max_value()) / 1e9)
