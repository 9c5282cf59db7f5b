"""Figures of a series while it grows: totals over all of it, the rest over its newest values."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from model_checkpoint.database.metric_batch import Point

if TYPE_CHECKING:
    from model_checkpoint.analytics.curve import Floats

__all__ = ["QUANTILES", "Aggregate", "RunningAggregate"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_WINDOW = 1000
_SMOOTHING = 0.1
_MICROSECONDS = 1e-6


@functools.cache
def _weights_by_age() -> Floats:
    """For how much values count in a moving average, the newest first, as far as it is more than nothing."""
    import numpy as np

    weights: Floats = _SMOOTHING * np.float64(1 - _SMOOTHING) ** np.arange(8000, dtype=np.float64)
    return weights[weights > 0]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What can be said of a series at a moment. Where there is nothing to say it with, a number is NaN.

    Attributes:
        count: How many values there are.
        nonfinite: How many of them are NaN or infinite; all but ``last`` are about the others.
        last: The value that was logged last, whatever it is.
        last_step: Its step.
        min: The least.
        max: The greatest.
        mean: The mean. It, the deviation and the average are infinite or NaN where sums or squares of values exceed
            what a float holds (1.8e308).
        std: The standard deviation of the sample (divided by ``n - 1``).
        ema: The exponential moving average: each value counts for 0.1, and its age takes a tenth of that off with
            each later value. Corrected for its start at zero, as in Adam (Kingma & Ba, 2015, section 3).
        quantiles: Quantiles of the newest 1,000 values, linearly interpolated.
        points_per_s: Values a second, over the same.
        steps_per_s: Steps a second, over the same; negative if steps went back.
    """

    count: int
    nonfinite: int
    last: float
    last_step: int
    min: float
    max: float
    mean: float
    std: float
    ema: float
    quantiles: Mapping[float, float] = field(default_factory=lambda: MappingProxyType({}))
    points_per_s: float = math.nan
    steps_per_s: float = math.nan


class RunningAggregate:
    """The aggregate of a series to which values are added. Takes memory for 1,000 values."""

    def __init__(self) -> None:
        self._count = 0
        self._finite = 0
        self._min, self._max = math.inf, -math.inf
        self._mean, self._squares = 0.0, 0.0
        self._ema, self._ema_weight = 0.0, 0.0
        self._recent: list[Point] = []

    def add(self, points: Sequence[Point]) -> None:
        """Add points in the order in which they were logged."""
        import numpy as np

        with np.errstate(over="ignore", invalid="ignore"):
            self._add(points)

    def _add(self, points: Sequence[Point]) -> None:
        import numpy as np

        self._count += len(points)
        self._recent = [*self._recent, *points[-_WINDOW:]][-_WINDOW:]
        values = np.array([point[1] for point in points], dtype=np.float64)
        finite = values[np.isfinite(values)]
        if finite.size:
            self._add_moments(finite)
            self._add_to_ema(finite)

    def _add_moments(self, values: Floats) -> None:
        """Join mean and sum of squares of two samples (Chan, Golub & LeVeque, 1983, equations 2.1)."""
        self._min, self._max = min(self._min, float(values.min())), max(self._max, float(values.max()))
        count, mean = values.size, float(values.mean())
        total, apart = self._finite + count, mean - self._mean
        self._squares += float(((values - mean) ** 2).sum()) + apart * apart * self._finite * count / total
        self._mean += apart * count / total
        self._finite = total

    def _add_to_ema(self, values: Floats) -> None:
        weights = _weights_by_age()[: values.size]
        old = (1 - _SMOOTHING) ** values.size
        self._ema = old * self._ema + float(weights @ values[::-1][: weights.size])
        self._ema_weight = old * self._ema_weight + float(weights.sum())

    def now(self) -> Aggregate:
        """The aggregate of what was added so far, which is at least one value."""
        last_step, last, *_ = self._recent[-1]
        some = self._finite > 0
        points_per_s, steps_per_s = self._rates()
        return Aggregate(
            count=self._count,
            nonfinite=self._count - self._finite,
            last=last,
            last_step=last_step,
            min=self._min if some else math.nan,
            max=self._max if some else math.nan,
            mean=self._mean if some else math.nan,
            std=math.sqrt(self._squares / (self._finite - 1)) if self._finite > 1 else math.nan,
            ema=self._ema / self._ema_weight if some else math.nan,
            quantiles=self._quantiles(),
            points_per_s=points_per_s,
            steps_per_s=steps_per_s,
        )

    def _quantiles(self) -> Mapping[float, float]:
        import numpy as np

        values = np.array([point[1] for point in self._recent])
        finite = values[np.isfinite(values)]
        with np.errstate(over="ignore", invalid="ignore"):
            found = np.quantile(finite, QUANTILES) if finite.size else [math.nan] * len(QUANTILES)
        return MappingProxyType(dict(zip(QUANTILES, map(float, found), strict=True)))

    def _rates(self) -> tuple[float, float]:
        (first_step, _, began, _), (last_step, _, ended, _) = self._recent[0], self._recent[-1]
        seconds = (ended - began) * _MICROSECONDS
        if seconds <= 0:  # one value, or a clock that was set back
            return math.nan, math.nan
        return (len(self._recent) - 1) / seconds, (last_step - first_step) / seconds
