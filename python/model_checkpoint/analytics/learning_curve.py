"""Where a learning curve will be, and how wrong that has been for this very curve so far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from model_checkpoint.analytics.curve import Floats, finite, thinned
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.utils.optional_import import require

__all__ = ["Extrapolation", "extrapolate"]

_LEAST = 12
_MOST = 5000
"""Fits see at most so many points: medians of stretches."""
_CUTS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """Attributes:
    step: Which step it is about.
    value: The value expected there.
    low: Lower end of the interval.
    high: Upper end.
    limit: Where the curve goes in the end.
    held_out_error: The median error of the same prediction, made earlier in this series for what came after.
    """

    step: int
    value: float
    low: float
    high: float
    limit: float
    held_out_error: float


def extrapolate(steps: ArrayLike, values: ArrayLike, step: int) -> Extrapolation:
    """Expect the value at a later step by the power law ``limit + scale * (step + 1) ** -rate``.

    Source of the law: Hestness et al., "Deep learning scaling is predictable, empirically", 2017; Domhan et al.,
    "Speeding up automatic hyperparameter optimization by extrapolation of learning curves", 2015 (pow3).

    The interval does not trust the law. The law is fitted to several beginnings of the series, and predicts each time
    what came as far ahead, in proportion, as is asked for now (as far as there are values). The largest of these errors
    and twice the standard error of the fit (by the delta method), taken together, are the interval to either side.

    Args:
        steps: Steps in order.
        values: One value a step; those that are not finite do not count.
        step: Which step to look at, beyond the last one.

    Raises:
        ConfigurationError: There are fewer than 12 finite values, or the step is not beyond them.
    """
    x, y = finite(steps, values)
    if x.size < _LEAST:
        raise ConfigurationError(f"{x.size} finite values are too few to extrapolate")
    if step <= x[-1]:
        raise ConfigurationError(f"step {step} is not beyond the last one, {x[-1]:.0f}")
    fit = _fit(x, y)
    errors = [_error_of_beginning(x, y, round(cut * x.size), step / x[-1]) for cut in _CUTS]
    value = float(_law(np.array([step]), *fit.parameters)[0])
    reach = math.hypot(max(errors), 2 * fit.standard_error(step))
    return Extrapolation(step, value, value - reach, value + reach, float(fit.parameters[0]), float(np.median(errors)))


def _error_of_beginning(x: Floats, y: Floats, count: int, horizon: float) -> float:
    """How far off the prediction from the first ``count`` points is, ``horizon`` times as far as they reach."""
    parameters = _fit(x[:count], y[:count]).parameters
    target = min(x[count - 1] * horizon, x[-1])
    around = np.flatnonzero(np.abs(x - target) <= max(x[-1] * 0.02, 1.0))
    around = around if around.size else np.array([int(np.argmin(np.abs(x - target)))])
    predicted = _law(x[around], *parameters)
    return float(np.abs(np.median(y[around]) - np.median(predicted)))


@dataclass(frozen=True, slots=True)
class _Fit:
    """Attributes:
    parameters: Limit, scale and rate.
    covariance: Theirs.
    """

    parameters: Floats
    covariance: Floats

    def standard_error(self, step: int) -> float:
        """Of the law's value at a step, by the delta method."""
        _, scale, rate = self.parameters
        power = (step + 1.0) ** -rate
        gradient = np.array([1.0, power, -scale * power * math.log(step + 1)])
        return math.sqrt(max(float(gradient @ self.covariance @ gradient), 0.0))


def _fit(x: Floats, y: Floats) -> _Fit:
    """The law that fits best, and not at the mercy of single wild values (soft L1 loss)."""
    optimize: Any = require("scipy.optimize", extra="analytics")
    x, y = thinned(x, y, _MOST)
    first, last = float(np.median(y[: max(len(y) // 10, 1)])), float(np.median(y[-max(len(y) // 10, 1) :]))
    scale = max(abs(first - last), 1e-12)
    best: Any = None
    for rate in (0.2, 0.5, 1.0):
        found = optimize.least_squares(
            lambda p: (_law(x, *p) - y) / scale,
            x0=[last, (first - last) * float(x[0] + 1) ** rate, rate],
            bounds=([-np.inf, -np.inf, 1e-3], [np.inf, np.inf, 5.0]),
            loss="soft_l1",
            f_scale=0.1,
        )
        if best is None or found.cost < best.cost:
            best = found
    jacobian = best.jac * scale
    residuals = _law(x, *best.x) - y
    variance = float(residuals @ residuals) / max(x.size - 3, 1)
    return _Fit(best.x, variance * np.linalg.pinv(jacobian.T @ jacobian))


def _law(x: Floats, limit: float, scale: float, rate: float) -> Floats:
    result: Floats = limit + scale * (x + 1) ** -rate
    return result
