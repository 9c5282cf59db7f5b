"""What is wrong with a series, or over: plateaus, divergence, spikes. Pure functions of its steps and values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from model_checkpoint.analytics.curve import Floats, finite, reduced
from model_checkpoint.analytics.trend import mann_kendall, smooth, theil_sen
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.types import Mode

__all__ = ["Divergence", "Plateau", "Spike", "find_divergence", "find_nonfinite", "find_plateau", "find_spikes"]

_LEAST = 8
_STARTS = 16
_MAD_TO_SIGMA = 1.4826
"""Of a normal distribution, the standard deviation is so many times the median absolute deviation."""


@dataclass(frozen=True, slots=True)
class Plateau:
    """Attributes:
    since_step: From which step on the series is flat.
    level: The median since then.
    change: By how much the robust line through the plateau changes, as a share of what the whole series went through.
    """

    since_step: int
    level: float
    change: float


@dataclass(frozen=True, slots=True)
class Divergence:
    """Attributes:
    since_step: The step of the best smoothed value: it has become worse since.
    best: That value.
    last: The last smoothed value; NaN if what is logged is not finite any more.
    noises: How far the last is from the best, in standard deviations of the noise.
    """

    since_step: int
    best: float
    last: float
    noises: float


@dataclass(frozen=True, slots=True)
class Spike:
    """Attributes:
    step: Its step.
    value: Its value.
    noises: How far it is from the median of its neighbours, in standard deviations of the noise; with sign.
    """

    step: int
    value: float
    noises: float


def find_plateau(
    steps: ArrayLike, values: ArrayLike, *, least_share: float = 0.2, tolerance: float = 0.02
) -> Plateau | None:
    """The longest end of a series that is flat, if it makes up a share of it.

    An end is flat if the Theil-Sen line through it changes by no more than ``tolerance`` of the range that the whole
    series went through (its 5th to 95th percentile), or the Mann-Kendall test finds no trend in it at 5 %; and if the
    same is true of either half of it, at 1 %: what goes down and up again has no trend as a whole.

    Args:
        steps: Steps in order.
        values: One value a step; those that are not finite do not count.
        least_share: How much of the series must be flat, from 0 to 1.
        tolerance: How much it may change.

    Raises:
        ConfigurationError: A share or tolerance makes no sense.
    """
    if not (0 < least_share <= 1 and tolerance >= 0):
        raise ConfigurationError(f"least_share {least_share:g} must be in (0, 1], tolerance {tolerance:g} not below 0")
    x, y = finite(steps, values)
    count = x.size
    if count < _LEAST or x[0] == x[-1]:
        return None
    y, unit = reduced(y)
    low, high = np.percentile(y, [5, 95])
    last_start = count - max(_LEAST, round(least_share * count))
    for start in sorted({round(share * last_start) for share in np.linspace(0, 1, _STARTS)}):
        half = (start + count) // 2
        spread = float(high - low)
        change = _flat_change(x[start:], y[start:], spread, tolerance, level=0.05)
        parts = ((x[start:half], y[start:half]), (x[half:], y[half:]))
        if change is not None and all(_is_flat(*part, spread, tolerance) for part in parts):
            return Plateau(int(x[start]), unit * float(np.median(y[start:])), change)
    return None


def _is_flat(x: Floats, y: Floats, spread: float, tolerance: float) -> bool:
    """Whether half of an end is flat, or too short to tell."""
    return x.size < _LEAST or _flat_change(x, y, spread, tolerance, level=0.01) is not None


def _flat_change(x: Floats, y: Floats, spread: float, tolerance: float, *, level: float) -> float | None:
    """How much a flat stretch changes, as a share of the spread; None if it is not flat."""
    if x.size < _LEAST:
        return None
    change = theil_sen(x, y).slope * (x[-1] - x[0]) / (spread or 1.0)
    is_flat = abs(change) <= tolerance or mann_kendall(x, y).p_value >= level
    return float(change) if is_flat else None


def find_divergence(
    steps: ArrayLike, values: ArrayLike, *, mode: Mode = "min", window: int = 10, noises: float = 6.0
) -> Divergence | None:
    """Whether a series has left its best value for good: it is far worse now, or not finite any more.

    Smoothed by running medians; the noise is that of the differences between neighbours, which a trend hardly moves.

    Args:
        steps: Steps in order.
        values: One value a step.
        mode: Which values are better.
        window: Over how many values the medians are taken.
        noises: How far from the best the end must be, in standard deviations of the noise.
    """
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.size < max(_LEAST, window):
        return None
    y, unit = reduced(y)
    sign = 1 if mode == "min" else -1
    losses = sign * y
    smoothed = smooth(losses, method="median", window=window)
    finite = np.isfinite(smoothed)
    if not finite.any():
        return Divergence(int(x[0]), float("nan"), float("nan"), float("inf"))
    best = int(np.nanargmin(np.where(finite, smoothed, np.nan)))
    best_value = unit * sign * float(smoothed[best])
    if not np.isfinite(losses[-window:]).any():
        return Divergence(int(x[best]), best_value, float("nan"), float("inf"))
    with np.errstate(over="ignore"):  # without any noise, everything else is infinitely far
        apart = float((smoothed[-1] - smoothed[best]) / (_noise(losses) or np.finfo(float).tiny))
    if apart < noises:
        return None
    return Divergence(int(x[best]), best_value, unit * sign * float(smoothed[-1]), apart)


def find_spikes(steps: ArrayLike, values: ArrayLike, *, window: int = 21, noises: float = 6.0) -> tuple[Spike, ...]:
    """Values that stand out from their neighbours.

    By the modified z-score: the distance from the running median, over the median absolute deviation of all such
    distances. Source: Iglewicz & Hoaglin, "How to detect and handle outliers", 1993; they take 3.5 for small samples,
    at which one of 2,000 normal values is taken for a spike. Where a line rises or falls without noise, each value is
    its own running median; what stands out there is measured by the usual step from one value to the next. And where a
    line is noisier than elsewhere, as losses are in the beginning, by the deviation there.

    Args:
        steps: Steps in order.
        values: One value a step; those that are not finite are no spikes (`find_nonfinite`).
        window: How many neighbours a value is compared with, an odd number.
        noises: How far it must be from them.
    """
    x, y = finite(steps, values)
    if x.size < _LEAST:
        return ()
    y, unit = reduced(y)
    half = min(window, x.size) // 2
    apart = y - _running_median(y, half, "odd")
    usual_step = float(np.median(np.abs(np.diff(y)))) / math.sqrt(2)  # of noise alone, the same as the deviation
    deviation = max(float(np.median(np.abs(apart))), usual_step)
    local = np.maximum(_running_median(np.abs(apart), half, "even"), _doubt_at_ends(y, half))
    noise = np.maximum(deviation, local) * _MAD_TO_SIGMA
    with np.errstate(over="ignore"):  # beside a constant, everything else is infinitely far
        scores = apart / np.maximum(noise, np.finfo(float).tiny)
    found = np.flatnonzero((np.abs(scores) >= noises) & (apart != 0))
    return tuple(Spike(int(x[n]), unit * float(y[n]), float(scores[n])) for n in found)


def _running_median(values: Floats, half: int, beyond: Literal["even", "odd"]) -> Floats:
    """Of each value and those up to ``half`` places around it; beyond the ends a slope turns (even) or goes on."""
    padded = np.pad(values, half, mode="reflect", reflect_type=beyond)
    medians: Floats = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)
    return medians


def _doubt_at_ends(values: Floats, half: int) -> Floats:
    """Near an end, running medians hang on the last value there: how far that one is from the median of the rest."""
    doubt = np.zeros_like(values)
    doubt[:half] = abs(values[0] - np.median(values[: 2 * half + 1]))
    doubt[values.size - half :] = abs(values[-1] - np.median(values[-2 * half - 1 :]))
    return doubt


def find_nonfinite(steps: ArrayLike, values: ArrayLike) -> tuple[int, ...]:
    """The steps whose values are NaN or infinite."""
    x, y = np.asarray(steps), np.asarray(values, dtype=np.float64)
    return tuple(int(step) for step in x[~np.isfinite(y)])


def _noise(values: Floats) -> float:
    """The standard deviation of the noise, from the differences of neighbours: a trend adds next to nothing to them."""
    differences = np.diff(values[np.isfinite(values)])
    if not differences.size:
        return 0.0
    centred = differences - np.median(differences)
    return float(np.median(np.abs(centred))) * _MAD_TO_SIGMA / math.sqrt(2)
