"""The statistics of the regression check."""

from __future__ import annotations

import random

import pytest

from benchmarks.regression.ratio import Ratio, median_ratio

CONFIDENCE = 0.99


def noisy_ratios(chance: random.Random, median: float, count: int = 24) -> list[float]:
    """Ratios of two times that a busy machine makes longer now and then, each independently."""

    def seconds(base: float) -> float:
        return base * chance.lognormvariate(0, 0.1) * (1 + 3 * (chance.random() < 0.1))

    return [seconds(median) / seconds(1) for _ in range(count)]


def test_the_interval_holds_the_true_median_as_often_as_it_says() -> None:
    """Of 2,000 runs with outliers, about 1 % have an interval that misses the truth."""
    chance = random.Random(1)
    intervals = [median_ratio(noisy_ratios(chance, 1.0)) for _ in range(2000)]
    missed = sum(not interval.low <= 1 <= interval.high for interval in intervals)
    assert 0 < missed <= 2000 * (1 - CONFIDENCE) * 1.5


@pytest.mark.parametrize(("slowdown", "least", "most"), [(1.0, 0.0, 0.001), (1.25, 0.0, 0.01), (1.6, 0.9, 1.0)])
def test_what_exceeds_the_bound_is_found_and_nothing_else(slowdown: float, least: float, most: float) -> None:
    """At a bound of 1.25, no slowdown and one of just 1.25 pass, one of 1.6 fails."""
    chance = random.Random(2)
    found = sum(median_ratio(noisy_ratios(chance, slowdown)).exceeds(1.25) for _ in range(1000)) / 1000
    assert least <= found <= most


def test_the_interval_is_that_of_the_sign_test() -> None:
    """Of ten ratios at 99 %, one may fall outside on no side: it reaches from the least to the greatest."""
    assert median_ratio([float(i) for i in range(1, 11)]) == Ratio(1.0, 5.5, 10.0)
    assert median_ratio([float(i) for i in range(1, 31)]) == Ratio(8.0, 15.5, 23.0)


def test_too_few_ratios_are_refused() -> None:
    """Seven ratios on one side of the median come by chance once in 64 times: no interval has 99 %."""
    assert median_ratio([1.0] * 8).low == 1.0
    with pytest.raises(ValueError, match="7 ratios are too few"):
        median_ratio([1.0] * 7)
