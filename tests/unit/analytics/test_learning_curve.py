"""How often the truth is in the interval of an extrapolation, for curves whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from model_checkpoint.analytics.learning_curve import extrapolate

VALUES, NOISE = 80, 0.02


def power(rng):
    limit, scale, rate = rng.uniform(0.1, 1), rng.uniform(0.5, 4), rng.uniform(0.2, 1)
    return lambda steps: limit + scale * (steps + 1.0) ** -rate


def exponential(rng):
    limit, scale, time = rng.uniform(0.1, 1), rng.uniform(0.5, 3), rng.uniform(15, 100)
    return lambda steps: limit + scale * np.exp(-steps / time)


def logarithm(rng):
    """Of neither law: it has no limit."""
    start, slope = rng.uniform(1, 3), rng.uniform(0.05, 0.2)
    return lambda steps: start - slope * np.log(steps + 1.0)


LAWS = {"power law": power, "exponential law": exponential, "logarithm": logarithm}


@pytest.mark.parametrize("name", LAWS)
def test_the_truth_is_in_the_interval_nineteen_times_of_twenty(name, trials, evidence):
    """Of noisy curves, some of which follow no law that is fitted, up to twice as far as they are known."""
    rng, curves, missed, widths = np.random.default_rng(17), trials(ci=15, proof=100, full=1000), 0, []
    for _ in range(curves):
        truth, step = LAWS[name](rng), int(VALUES * rng.uniform(1.1, 2))
        found = extrapolate(np.arange(VALUES), truth(np.arange(VALUES)) + rng.normal(0, NOISE, VALUES), step)
        missed += not found.low <= truth(step) <= found.high
        widths.append(found.high - found.low)
    evidence(
        threat=f"noisy learning curves by a random {name}, looked at up to twice as far as they are known",
        promise="The interval of an extrapolation misses the truth in no more than one case of twenty",
        trials=curves,
        unit="curves",
        violations=max(missed - curves // 20, 0),
        detail=f"it missed {missed} of {curves:,}; half of the intervals are narrower than {np.median(widths):.2f}",
    )
    assert missed <= curves // 20
