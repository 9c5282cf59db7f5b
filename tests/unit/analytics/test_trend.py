"""Trends, against scipy, published examples and series whose truth is known."""

from __future__ import annotations

import contextlib
import dataclasses
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from model_checkpoint.analytics.learning_curve import extrapolate
from model_checkpoint.analytics.shape import find_divergence, find_nonfinite, find_plateau, find_spikes
from model_checkpoint.analytics.trend import mann_kendall, smooth, theil_sen, trend
from model_checkpoint.errors import ConfigurationError

RNG = np.random.default_rng(0)
STEPS = np.arange(400)
NOISE = RNG.normal(0, 0.02, 400)
FALLING = 2 * np.exp(-STEPS / 60) + 0.3 + NOISE


# --- slopes -----------------------------------------------------------------------------------------------------------


def test_the_robust_line_of_sen_s_example():
    """Sen, 1968, section 6: the slope of that sample is 4."""
    line = theil_sen([1, 2, 3, 4, 10, 12, 18], [9, 15, 19, 20, 45, 55, 78])
    assert line.slope == pytest.approx(4.0)
    assert line.low < 4 < line.high


def test_ties_make_the_test_of_mann_and_kendall_surer_of_nothing():
    """Kendall, "Rank correlation methods", 1970, chapter 4: the variance of the score is less by a term of the ties."""
    values = np.round(np.random.default_rng(2).normal(np.linspace(0, 1, 80), 1), 0)
    n, ties = values.size, np.unique(values, return_counts=True)[1]
    score = sum(np.sign(values[j] - values[i]) for i in range(n) for j in range(i + 1, n))
    variance = (n * (n - 1) * (2 * n + 5) - (ties * (ties - 1) * (2 * ties + 5)).sum()) / 18
    assert ties.max() > 10
    p_value = 2 * scipy.stats.norm.sf(abs(score) / math.sqrt(variance))
    assert mann_kendall(range(n), values).p_value == pytest.approx(p_value)


def test_the_interval_of_a_slope_has_the_coverage_that_was_asked_for():
    """Of 300 noisy lines, the true slope is inside of nine in ten, give or take three standard deviations."""
    rng, steps, inside = np.random.default_rng(6), np.arange(40), 0
    for _ in range(300):
        line = theil_sen(steps, 0.1 * steps + rng.standard_t(3, 40), confidence=0.9)
        inside += line.low <= 0.1 <= line.high
    assert abs(inside / 300 - 0.9) < 3 * math.sqrt(0.9 * 0.1 / 300)


@given(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=60))
def test_significance_is_that_of_kendall(values):
    """Of up to a thousand points exactly what scipy says; nothing for a constant."""
    found = mann_kendall(range(len(values)), values)
    if len(set(values)) == 1:
        assert (found.tau, found.p_value) == (0.0, 1.0)
        return
    expected = scipy.stats.kendalltau(range(len(values)), values)
    assert (found.tau, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))


def test_a_third_of_wild_values_hardly_moves_the_line():
    """Least squares would be far off."""
    values = 3.0 - 0.01 * STEPS
    values[::3] += RNG.uniform(0, 100, values[::3].size)
    assert theil_sen(STEPS, values).slope == pytest.approx(-0.01, rel=0.5)


@pytest.mark.parametrize(("mode", "direction"), [("min", "improving"), ("max", "worsening")])
def test_the_direction_depends_on_which_values_are_better(mode, direction):
    """A falling series; values that are not finite do not count."""
    values = FALLING.copy()
    values[::50] = math.nan
    assert trend(STEPS, values, mode=mode).direction == direction


def test_noise_has_no_direction():
    """At a level of 5 %, about one of twenty noises has."""
    flat = sum(trend(STEPS[:100], RNG.normal(size=100)).direction == "flat" for _ in range(200))
    assert 180 <= flat <= 199


def test_long_series_are_thinned_and_not_truncated():
    """A hundred thousand points, with the trend in the last half."""
    values = np.concatenate([np.zeros(50_000), np.linspace(0, -1, 50_000)]) + RNG.normal(0, 0.1, 100_000)
    found = trend(np.arange(100_000), values)
    assert found.direction == "improving"


@pytest.mark.parametrize("values", [[1, 2, 3], [1, 2, 3, math.nan], []])
def test_few_values_have_no_trend(values):
    """At least four finite ones."""
    with pytest.raises(ConfigurationError, match="too few"):
        trend(range(len(values)), values)


# --- smoothing --------------------------------------------------------------------------------------------------------


def test_smoothing_by_its_definitions():
    """The average is corrected for its start; the median is over the last ones; NaN adds nothing."""
    np.testing.assert_allclose(smooth([1, 2, 3], window=1), [1, 2, 3])
    np.testing.assert_allclose(smooth([2.0, 2.0, 2.0], window=10), [2, 2, 2])
    np.testing.assert_allclose(smooth([1.0, math.nan, 3.0], window=3), [1, 1, 7 / 3])
    np.testing.assert_allclose(smooth([1, 9, 2, 3, 8], method="median", window=3), [1, 5, 2, 3, 3])
    assert np.isnan(smooth([math.nan, 1.0], method="median", window=2)).tolist() == [True, False]
    with pytest.raises(ConfigurationError, match="window"):
        smooth([1.0], window=0)


# --- shapes -----------------------------------------------------------------------------------------------------------


def test_a_plateau_is_found_where_it_begins():
    """The curve has come to rest after five of its time constants or so."""
    found = find_plateau(STEPS, FALLING)
    assert found is not None
    assert 120 <= found.since_step <= 320
    assert found.level == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("slope", [-1 / 400, 1 / 400])
def test_what_still_moves_has_no_plateau(slope):
    """Up or down."""
    assert find_plateau(STEPS, slope * STEPS + NOISE) is None


def test_a_series_that_never_moved_is_one_plateau():
    """From its first step on; few values are none."""
    found = find_plateau(STEPS, NOISE)
    assert found is not None
    assert found.since_step == 0
    assert find_plateau([1, 2], [1, 1]) is None


@pytest.mark.parametrize("sign", [-1, 1])
def test_what_turns_around_is_no_plateau(sign):
    """A curve like a V, or one like a roof, has no trend as a whole: it was called flat since step 0."""
    assert find_plateau(STEPS, sign * np.abs(STEPS - 200) / 100 + NOISE) is None


def test_divergence_is_found_and_noise_is_not():
    """A loss that grows after step 200, one that becomes NaN, and one that is well."""
    growing = np.where(STEPS < 200, FALLING, 0.4 + (STEPS - 200) * 0.01 + NOISE)
    found = find_divergence(STEPS, growing)
    assert found is not None
    assert 150 <= found.since_step <= 215
    assert found.last > 2
    lost = np.where(STEPS < 350, FALLING, math.nan)
    found = find_divergence(STEPS, lost)
    assert found is not None
    assert math.isnan(found.last)
    assert find_divergence(STEPS, FALLING) is None
    assert find_divergence(STEPS, -growing, mode="max") is not None
    assert find_divergence(STEPS, -FALLING, mode="max") is None


def test_spikes_are_found_and_nothing_else():
    """Three spikes on a falling curve, up and down; a NaN is not a spike."""
    values = FALLING.copy()
    values[[50, 200, 333]] += [1.0, -0.5, 2.0]
    values[100] = math.nan
    found = find_spikes(STEPS, values)
    assert [spike.step for spike in found] == [50, 200, 333]
    assert found[1].noises < 0 < found[0].noises
    assert find_nonfinite(STEPS, values) == (100,)
    assert find_spikes(STEPS, np.ones(400)) == ()


@pytest.mark.parametrize("window", [1, 2, 3, 10, 99])
def test_the_average_weighs_values_by_their_age(window):
    """By its definition with a span, as that of pandas: the weight falls by ``1 - 2 / (window + 1)`` a value."""
    values = np.random.default_rng(window).normal(size=50)
    decay = 1 - 2 / (window + 1)
    weights = [decay**age for age in range(50)]
    expected = [np.average(values[: n + 1][::-1], weights=weights[: n + 1]) for n in range(50)]
    assert smooth(values, window=window) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("slope", [0.0, 0.01, -0.01])
def test_distances_are_in_standard_deviations_of_the_noise(slope):
    """Of normal noise of 0.1, whose trend does not count: 2 is 20 of them, give or take a tenth."""
    steps = np.arange(2000)
    values = slope * steps + np.random.default_rng(5).normal(0, 0.1, 2000)
    values[1000] = slope * 1000 + 2
    (spike,) = find_spikes(steps, values)
    assert spike.noises == pytest.approx(20, rel=0.1)
    left = np.where(steps < 1500, -abs(slope) * steps, 2 - abs(slope) * 1500) + np.random.default_rng(6).normal(
        0, 0.1, 2000
    )
    found = find_divergence(steps, left)
    assert found is not None
    assert found.noises == pytest.approx(20, rel=0.15)


# --- extrapolation ----------------------------------------------------------------------------------------------------


def test_a_power_law_is_extrapolated():
    """Twice as far as is known, the truth is near, and in the interval nineteen times of twenty or so."""
    steps, truth, inside = np.arange(1000), 0.5 + 3 * (np.arange(2001) + 1) ** -0.5, 0
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0, 0.01, 1000)
        found = extrapolate(steps, truth[:1000] + noise, 2000)
        assert found.value == pytest.approx(truth[2000], abs=0.02)
        assert found.high - found.low < 0.1
        inside += found.low <= truth[2000] <= found.high
    assert inside >= 17


CURVES = {
    "power": (lambda steps: 0.5 + 3 * (steps + 1) ** -0.5, "power"),
    "exponential": (lambda steps: 0.5 + 2 * np.exp(-steps / 150), "exponential"),
    "logarithm": (lambda steps: 2 - 0.1 * np.log(steps + 1.0), "power"),
    "rising": (lambda steps: 0.9 - np.exp(-steps / 80), "exponential"),
}


@pytest.mark.parametrize(("curve", "law"), CURVES.values(), ids=CURVES)
def test_the_law_that_was_less_wrong_so_far_is_taken(curve, law):
    """The truth, half as far again, is in the interval, and the held-out error is about as large as the noise."""
    for seed in range(8):
        values = curve(np.arange(300)) + np.random.default_rng(seed).normal(0, 0.02, 300)
        found = extrapolate(np.arange(300), values, 450)
        assert found.low <= curve(np.array([450]))[0] <= found.high
        assert found.law == law
        assert found.held_out_error < 0.05


def test_a_constant_is_expected_to_stay(recwarn):
    """There is nothing to fit, and no warning about that."""
    found = extrapolate(range(20), np.ones(20), 50)
    assert (found.low, found.value, found.high) == pytest.approx((1, 1, 1))
    assert not recwarn.list


@given(st.lists(st.floats(-1e3, 1e3), min_size=12, max_size=40), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
@settings(max_examples=20)
def test_whatever_was_logged_has_an_interval(values, scale, shift):
    """Its ends are finite, and the expected value lies between them, in any unit of the values."""
    found = extrapolate(range(len(values)), np.array(values) * scale + shift, 2 * len(values))
    assert np.isfinite([found.low, found.value, found.high]).all()
    assert found.low <= found.value <= found.high


def test_a_curve_that_breaks_the_law_gets_a_wide_interval():
    """A step down in the middle was not to be foreseen: the error of earlier predictions says so."""
    values = np.where(STEPS < 250, 1.0, 0.5) + NOISE
    assert extrapolate(STEPS, values, 800).high - extrapolate(STEPS, values, 800).low > 0.5


@pytest.mark.parametrize(("count", "step"), [(5, 10), (100, 50)])
def test_what_cannot_be_extrapolated_is_refused(count, step):
    """Too few values, or a step that is known already."""
    with pytest.raises(ConfigurationError):
        extrapolate(range(count), np.ones(count), step)


def test_a_wiggle_of_a_smooth_line_is_no_spike():
    """The running median of a line without noise is the line itself; a step like any other does not stand out."""
    steps = np.arange(300)
    smooth_line = 2 - steps / 300
    smooth_line[100] += 1 / 300
    assert find_spikes(steps, smooth_line) == ()
    smooth_line[200] = 9.0
    assert [spike.step for spike in find_spikes(steps, smooth_line)] == [200]


def test_a_spike_of_a_constant_is_infinitely_far():
    """There is no noise to measure it by, and no warning about that."""
    values = np.zeros(100)
    values[50] = 9.0
    (spike,) = find_spikes(np.arange(100), values)
    assert (spike.step, spike.noises) == (50, math.inf)


@pytest.mark.parametrize("seed", range(5))
def test_noise_that_grows_with_the_level_makes_no_spikes(seed):
    """A loss that is noisy while it is high; a value far from all others there still is one."""
    steps = np.arange(1000)
    level = 3 * np.exp(-steps / 100) + 0.05
    values = level * (1 + np.random.default_rng(seed).normal(0, 0.1, 1000))
    assert len(find_spikes(steps, values, noises=7)) == 0
    values[20] = 9.0
    values[600] = 0.5
    assert [spike.step for spike in find_spikes(steps, values, noises=7)] == [20, 600]


# --- what nothing is expected of --------------------------------------------------------------------------------------

SOME = [math.nan, math.inf, -math.inf, 0.0, 1.0, -1.0, 1e15, 1e15 + 1, 5e-324, 3.4e38, 1e308, -1.7e308]
ODD = st.one_of(st.lists(st.sampled_from(SOME), max_size=40), st.sampled_from(SOME).map(lambda value: [value] * 30))


@given(ODD, st.sampled_from([range, lambda n: [5] * n, lambda n: [2**62 + i for i in range(n)]]))
@settings(max_examples=200)
def test_no_series_is_too_odd(values, make_steps):
    """Empty, one point, one step, not finite, as large as a float holds: an answer or a plain refusal, no warning."""
    steps = list(make_steps(len(values)))
    for ask in (trend, find_plateau, find_divergence, find_spikes, find_nonfinite):
        with contextlib.suppress(ConfigurationError):
            ask(steps, values)
    for method in ("ema", "median"):
        assert smooth(values, method=method).size == len(values)


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0, 2.0, 5.0]), min_size=10, max_size=40), st.sampled_from([600, 1020]))
@settings(max_examples=50)
def test_what_is_seen_of_a_series_does_not_depend_on_its_unit(values, exponent):
    """Also where squares of its values, or their differences, are more than a float holds."""
    steps, unit = range(len(values)), 2.0**exponent
    small, large = np.array(values), np.array(values) * unit
    for ask, fields in ((find_plateau, ("level",)), (find_divergence, ("best", "last"))):
        found, again = ask(steps, small), ask(steps, large)
        assert (found is None) == (again is None)
        if found is not None:
            same = {name: getattr(again, name) / unit for name in fields}
            assert dataclasses.replace(again, **same) == found
    assert [one.step for one in find_spikes(steps, large)] == [one.step for one in find_spikes(steps, small)]


def test_values_that_are_too_large_are_not_extrapolated():
    """Their squares are no numbers."""
    with pytest.raises(ConfigurationError, match=r"above 1e\+150"):
        extrapolate(range(20), np.linspace(1, 1e200, 20), 40)


def test_a_line_without_noise_that_rises_diverges_infinitely():
    """There is no noise to measure it by, and no warning about that."""
    found = find_divergence(range(30), np.arange(30.0))
    assert found is not None
    assert (found.since_step, found.last, found.noises) == (0, 24.5, math.inf)
