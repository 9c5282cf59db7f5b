"""Where a series is going: pure functions of its steps and values.

All of them take one value a step, in the order of the steps, and leave out values that are not finite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from model_checkpoint.analytics.curve import Floats, finite, thinned
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.types import Mode
from model_checkpoint.utils.optional_import import require

if TYPE_CHECKING:
    from typing import Any

__all__ = ["Trend", "mann_kendall", "smooth", "theil_sen", "trend"]

_MOST = 1000
"""Both tests look at all pairs of points; longer series are thinned to medians of as many stretches."""


@dataclass(frozen=True, slots=True)
class Slope:
    """A robust line.

    Attributes:
        slope: Change of the value in one step.
        low: Lower end of the slope's confidence interval.
        high: Its upper end.
        intercept: Value of the line at step 0.
    """

    slope: float
    low: float
    high: float
    intercept: float


@dataclass(frozen=True, slots=True)
class Significance:
    """Whether values go one way.

    Attributes:
        tau: Kendall's rank correlation with the step, from -1 to 1.
        p_value: How likely one as far from 0 is where there is no trend.
    """

    tau: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Trend:
    """Attributes:
    direction: ``"improving"``, ``"worsening"``, or ``"flat"`` where the slope cannot be told from 0.
    slope: The robust line.
    significance: The test that the direction rests on.
    """

    direction: Literal["improving", "worsening", "flat"]
    slope: Slope
    significance: Significance


def trend(steps: ArrayLike, values: ArrayLike, *, mode: Mode = "min", confidence: float = 0.95) -> Trend:
    """The direction of a series, if it has one.

    Raises:
        ConfigurationError: There are fewer than four finite values, or all are of one step.
    """
    significance = mann_kendall(steps, values)
    slope = theil_sen(steps, values, confidence=confidence)
    if significance.p_value >= 1 - confidence or slope.slope == 0:
        return Trend("flat", slope, significance)
    better = slope.slope < 0 if mode == "min" else slope.slope > 0
    return Trend("improving" if better else "worsening", slope, significance)


def theil_sen(steps: ArrayLike, values: ArrayLike, *, confidence: float = 0.95) -> Slope:
    """The median of the slopes between all pairs of points, which a third of wild values does not move far.

    Source: Sen, "Estimates of the regression coefficient based on Kendall's tau", 1968; by scipy.

    Raises:
        ConfigurationError: There are fewer than four finite values, or all are of one step.
    """
    stats: Any = require("scipy.stats", extra="analytics")
    x, y = _points(steps, values)
    with np.errstate(over="ignore", invalid="ignore"):  # of values near the largest that a float holds
        found = stats.theilslopes(y, x, alpha=confidence)
    return Slope(float(found.slope), float(found.low_slope), float(found.high_slope), float(found.intercept))


def mann_kendall(steps: ArrayLike, values: ArrayLike) -> Significance:
    """The Mann-Kendall test: whether later values tend to be larger, or smaller, than earlier ones.

    Source: Mann, "Nonparametric tests against trend", 1945; Kendall's tau-b with ties, by scipy.

    Raises:
        ConfigurationError: There are fewer than four finite values, or all are of one step.
    """
    stats: Any = require("scipy.stats", extra="analytics")
    x, y = _points(steps, values)
    if np.all(y == y[0]):
        return Significance(0.0, 1.0)
    found = stats.kendalltau(x, y)
    return Significance(float(found.statistic), float(found.pvalue))


def smooth(values: ArrayLike, *, method: Literal["ema", "median"] = "ema", window: int = 10) -> Floats:
    """A series without its noise; NaN where a value is not finite and nothing is known yet.

    Args:
        values: The series.
        method: ``"ema"``: the exponential moving average of weight ``2 / (window + 1)``, corrected for its start.
            ``"median"``: the median of the last ``window`` values, which a spike does not move.
        window: Over how many values, at least 1.

    Raises:
        ConfigurationError: The window makes no sense.
    """
    if window < 1:
        raise ConfigurationError(f"a window of {window} values is none")
    series = np.asarray(values, dtype=np.float64)
    return _ema(series, 2 / (window + 1)) if method == "ema" else _running_median(series, window)


def _ema(series: Floats, weight: float) -> Floats:
    """A value that is not finite changes nothing, and counts for nothing."""
    result, sums, weights = np.empty_like(series), 0.0, 0.0
    for number, value in enumerate(series.tolist()):
        if math.isfinite(value):
            sums, weights = (1 - weight) * sums + weight * value, (1 - weight) * weights + weight
        result[number] = sums / weights if weights else math.nan
    return result


def _running_median(series: Floats, window: int) -> Floats:
    if not series.size:
        return series
    padded = np.concatenate([np.full(window - 1, np.inf), np.where(np.isfinite(series), series, np.inf)])
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(padded, window), axis=1)  # what is unknown comes last
    known, rows = np.isfinite(windows).sum(axis=1), np.arange(series.size)
    middle: Floats = windows[rows, (known - 1) // 2] / 2 + windows[rows, known // 2] / 2  # a sum may be too large
    return np.where(known > 0, middle, np.nan)


def _points(steps: ArrayLike, values: ArrayLike) -> tuple[Floats, Floats]:
    """The finite points, as many as a test of all pairs can take."""
    if np.shape(steps) != np.shape(values) or np.ndim(values) != 1:
        raise ConfigurationError(f"{np.shape(steps)} steps and {np.shape(values)} values are no series")
    x, y = finite(steps, values)
    if x.size < 4:
        raise ConfigurationError(f"{x.size} finite values are too few for a trend")
    if x[0] == x[-1]:
        raise ConfigurationError(f"all finite values are of step {x[0]:.0f}, or so near that they cannot be told apart")
    return thinned(x, y, _MOST)
