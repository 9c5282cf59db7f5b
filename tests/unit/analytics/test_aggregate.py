"""The figures of a growing series, against those of the whole of it."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.analytics.aggregate import QUANTILES, RunningAggregate

SOME = st.lists(st.lists(st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf])), min_size=1)


def aggregated(batches):
    running, step = RunningAggregate(), 0
    for batch in batches:
        points = [(step + n, value, (step + n) * 500_000, None) for n, value in enumerate(batch)]
        step += len(batch)
        if points:
            running.add(points)
    return running.now()


@given(SOME.filter(any))
def test_figures_are_those_of_all_finite_values_however_they_arrive(batches):
    """Counts, bounds, mean and deviation are those that the standard library computes of all values at once."""
    values = [value for batch in batches for value in batch]
    finite = [value for value in values if math.isfinite(value)]
    found = aggregated(batches)
    assert (found.count, found.nonfinite) == (len(values), len(values) - len(finite))
    assert found.last_step == len(values) - 1
    assert found.last == values[-1] or (math.isnan(found.last) and math.isnan(values[-1]))
    if not finite:
        assert all(map(math.isnan, (found.min, found.max, found.mean, found.std, found.ema)))
        return
    scale = max(map(abs, finite)) + 1
    assert (found.min, found.max) == (min(finite), max(finite))
    assert found.mean == pytest.approx(statistics.fmean(finite), abs=1e-9 * scale)
    if len(finite) > 1:
        assert found.std == pytest.approx(statistics.stdev(finite), abs=1e-6 * scale)
    else:
        assert math.isnan(found.std)


@given(SOME.filter(any))
def test_the_moving_average_is_that_of_its_definition(batches):
    """One value after the other: a tenth of each, and the rest of what was before, corrected for the start at zero."""
    average, weight = 0.0, 0.0
    for value in (value for batch in batches for value in batch if math.isfinite(value)):
        average, weight = 0.9 * average + 0.1 * value, 0.9 * weight + 0.1
    found = aggregated(batches).ema
    assert math.isnan(found) if weight == 0 else found == pytest.approx(average / weight, rel=1e-6, abs=1e-3)


def test_quantiles_and_rates_are_those_of_the_newest_thousand():
    """Older values do not count for them; two steps a second are two steps a second."""
    found = aggregated([[1e9] * 500, list(range(700)), list(range(700, 1000))])
    assert list(found.quantiles) == list(QUANTILES)
    assert list(found.quantiles.values()) == pytest.approx(np.quantile(np.arange(1000), QUANTILES))
    assert found.points_per_s == pytest.approx(2.0)
    assert found.steps_per_s == pytest.approx(2.0)


@pytest.mark.parametrize("values", [[1e308, -1e308, 1e308], [1e308] * 3, [1.7e308, -1.7e308]])
def test_values_as_large_as_a_float_holds_have_figures(values):
    """Of what exceeds it, infinity or NaN; without a warning, which is an error here."""
    found = aggregated([values[:1], values[1:]])
    assert (found.count, found.nonfinite, found.min, found.max) == (len(values), 0, min(values), max(values))


def test_digits_beyond_the_fifteenth_count():
    """The deviation of large values that are near each other is that of their differences."""
    found = aggregated([[1e15 + n for n in range(3)], [1e15 + 3, 1e15 + 4]])
    assert (found.mean, found.std) == (1e15 + 2, pytest.approx(math.sqrt(2.5)))


def test_a_clock_that_goes_back_gives_no_rate():
    """No negative and no infinite rates."""
    running = RunningAggregate()
    running.add([(0, 1.0, 5_000_000, None), (1, 1.0, 1_000_000, None)])
    assert math.isnan(running.now().points_per_s)
