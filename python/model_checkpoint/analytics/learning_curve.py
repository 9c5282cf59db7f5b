"""Where a learning curve will be, and how wrong that has been for this very curve so far."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from model_checkpoint.analytics.curve import Floats, finite, thinned
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.utils.optional_import import require

__all__ = ["Extrapolation", "extrapolate"]

_LEAST = 12
_MOST = 400
"""Fits see at most so many points: medians of stretches."""
_CUTS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_MUCH = 3.0
_LARGEST = 1e150
"""Fits go by squares, which a float must hold."""
_RATES = 40

LawName = Literal["power", "exponential"]


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """Attributes:
    step: Which step it is about.
    value: The value expected there.
    low: Lower end of the interval.
    high: Upper end.
    limit: Where the curve goes in the end.
    held_out_error: The median error of the same prediction, made earlier in this series for what came after.
    law: By which law: ``"power"`` or ``"exponential"``.
    """

    step: int
    value: float
    low: float
    high: float
    limit: float
    held_out_error: float
    law: LawName


def extrapolate(steps: ArrayLike, values: ArrayLike, step: int) -> Extrapolation:
    """Expect the value at a later step by a power law or an exponential one, whichever has been less wrong so far.

    They are ``limit + scale * (step + 1) ** -rate`` and ``limit + scale * exp(-rate * step)``. Source of the laws:
    Hestness et al., "Deep learning scaling is predictable, empirically", 2017; Viering & Loog, "The shape of learning
    curves: a review", 2022 (POW3 and EXP3). That the past chooses among laws: Domhan et al., "Speeding up automatic
    hyperparameter optimization by extrapolation of learning curves", 2015.

    The interval does not trust the law. Both laws are fitted to several beginnings of the series, and predict each time
    what came as far ahead as is asked for now, in steps and in proportion (as far as there are values). The largest of
    these errors of the better law, twice the standard error of its fit (by the delta method), and how far a law that
    was about as good is apart from it, taken together, are the interval to either side. It is to hold the truth in 95 %
    of cases or more, and rather too wide for that: of 600 curves of 300 noisy points by power, exponential and
    logarithmic laws, looked at 1.25 and 2 times as far, the truth was in the interval of each, and so it was for 300
    curves of 80 points. What changes the law, as a new learning rate does, nobody can foresee.

    Args:
        steps: Steps in order.
        values: One value a step; those that are not finite do not count.
        step: Which step to look at, beyond the last one.

    Raises:
        ConfigurationError: There are fewer than 12 finite values, or one above 1e150, or the step is not beyond them.
    """
    x, y = finite(steps, values)
    if x.size < _LEAST:
        raise ConfigurationError(f"{x.size} finite values are too few to extrapolate")
    if np.abs(y).max() > _LARGEST:
        raise ConfigurationError(f"values above {_LARGEST:g} are too large to extrapolate")
    if step <= x[-1]:
        raise ConfigurationError(f"step {step} is not beyond the last one, {x[-1]:.0f}")
    errors = {name: _errors_of_beginnings(law, x, y, step) for name, law in _LAWS.items()}
    best = min(errors, key=lambda name: float(np.median(errors[name])))
    fits = {name: _fit(law, x, y) for name, law in _LAWS.items()}
    expected = {name: fit.at(step) for name, fit in fits.items()}
    apart = max(abs(expected[name] - expected[best]) for name in _plausible(errors, best))
    fit, value = fits[best], expected[best]
    reach = math.hypot(max(errors[best]), 2 * fit.standard_error(step), apart)
    limit, error = float(fit.parameters[0]), float(np.median(errors[best]))
    return Extrapolation(step, value, value - reach, value + reach, limit, error, best)


def _plausible(errors: dict[LawName, list[float]], best: LawName) -> list[LawName]:
    """The laws that have not been much more wrong than the best one."""
    most = _MUCH * float(np.median(errors[best]))
    return [name for name, own in errors.items() if float(np.median(own)) <= most]


# --- how wrong that has been ------------------------------------------------------------------------------------------


def _errors_of_beginnings(law: _Law, x: Floats, y: Floats, step: int) -> list[float]:
    """How far off the predictions from several beginnings of the series were."""
    errors = []
    for cut in _CUTS:
        count = round(cut * x.size)
        fit = _fit(law, x[:count], y[:count])
        ahead = {min(x[count - 1] * (step / x[-1]), x[-1]), min(x[count - 1] + (step - x[-1]), x[-1])}
        errors += [_error(fit, x, y, target) for target in ahead]
    return errors


def _error(fit: _Fit, x: Floats, y: Floats, target: float) -> float:
    """Of the median around a place, for its noise is nobody's error."""
    around = np.flatnonzero(np.abs(x - target) <= max(x[-1] * 0.02, 1.0))
    around = around if around.size else np.array([int(np.argmin(np.abs(x - target)))])
    return float(np.abs(np.median(y[around]) - np.median(fit.law.of(x[around], fit.parameters))))


# --- laws -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Law:
    """``limit + scale * decay(step, rate)``.

    Attributes:
        decay: By step and rate, from 1 at step 0 to 0.
        bounds: The least and the greatest rate, of a series with this last step.
    """

    decay: Callable[[Floats, Floats | float], Floats]
    bounds: Callable[[float], tuple[float, float]]

    def of(self, x: Floats, parameters: Floats) -> Floats:
        limit, scale, rate = parameters
        values: Floats = limit + scale * self.decay(x, rate)
        return values


_LAWS: dict[LawName, _Law] = {
    "power": _Law(lambda x, rate: (x + 1) ** -rate, lambda _last: (1e-3, 5.0)),
    "exponential": _Law(lambda x, rate: np.exp(-rate * x), lambda last: (1e-2 / max(last, 1), 50 / max(last, 1))),
}


@dataclass(frozen=True, slots=True)
class _Fit:
    """Attributes:
    law: Which law.
    parameters: Limit, scale and rate.
    covariance: Theirs.
    """

    law: _Law
    parameters: Floats
    covariance: Floats

    def at(self, step: int) -> float:
        return float(self.law.of(np.array([float(step)]), self.parameters)[0])

    def standard_error(self, step: int) -> float:
        """Of the law's value at a step, by the delta method."""
        _, scale, rate = self.parameters
        place, little = np.array([float(step)]), 1e-4 * rate
        slope = (self.law.decay(place, rate + little) - self.law.decay(place, rate - little)) / (2 * little)
        gradient = np.array([1.0, self.law.decay(place, rate)[0], scale * slope[0]])
        return math.sqrt(max(float(gradient @ self.covariance @ gradient), 0.0))


def _fit(law: _Law, x: Floats, y: Floats) -> _Fit:
    """The parameters that fit best, and not at the mercy of single wild values (soft L1 loss)."""
    optimize: Any = require("scipy.optimize", extra="analytics")
    x, y = thinned(x, y, _MOST)
    least, greatest = law.bounds(float(x[-1]))
    start = _best_by_squares(law, x, y, np.geomspace(least, greatest, _RATES + 2)[1:-1])
    unit = max(float(np.subtract(*np.percentile(y, [95, 5]))), 1e-12)
    found = optimize.least_squares(
        lambda p: (law.of(x, p) - y) / unit,
        x0=start,
        x_scale=[unit, max(abs(start[1]), unit), start[2]],
        bounds=([-np.inf, -np.inf, least], [np.inf, np.inf, greatest]),
        loss="soft_l1",
        f_scale=0.1,
    )
    jacobian, residuals = found.jac * unit, law.of(x, found.x) - y
    variance = float(residuals @ residuals) / max(x.size - 3, 1)
    return _Fit(law, found.x, variance * np.linalg.pinv(jacobian.T @ jacobian))


def _best_by_squares(law: _Law, x: Floats, y: Floats, rates: Floats) -> Floats:
    """Limit, scale and rate of the least squares among these rates: for each, the others follow (Golub & Pereyra, 1973,
    variable projection).
    """
    decays = law.decay(x[None, :], rates[:, None])
    centred = decays - decays.mean(axis=1, keepdims=True)
    spread = np.maximum((centred**2).sum(axis=1), np.finfo(float).tiny)
    scales = centred @ (y - y.mean()) / spread
    limits = y.mean() - scales * decays.mean(axis=1)
    residuals = ((limits[:, None] + scales[:, None] * decays - y) ** 2).sum(axis=1)
    best = int(np.argmin(residuals))
    return np.array([limits[best], scales[best], rates[best]])
