"""Fewer points, the same picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.analytics.downsample import downsample
from model_checkpoint.errors import ConfigurationError

values_of_a_series = st.lists(
    st.floats(allow_nan=True, allow_infinity=True, width=32) | st.just(math.nan), min_size=1, max_size=300
)


def by_column(steps, values, first, last, columns):
    """The points of each column, computed the slow way."""
    found = {}
    for step, value in zip(steps, values, strict=True):
        found.setdefault((int(step) - first) * columns // (last - first + 1), []).append((int(step), float(value)))
    return found


@given(
    values=values_of_a_series,
    strides=st.lists(st.integers(1, 3) | st.integers(1, 10**6), min_size=300, max_size=300),
    start=st.integers(0, 2**62),
    columns=st.integers(1, 40),
)
def test_each_column_keeps_its_extremes_ends_and_gaps(values, strides, start, columns):
    """Of every column: the first, last, least and greatest finite point, the first and last gap; nothing made up."""
    steps = np.cumsum([start, *strides[: len(values) - 1]]).astype(np.int64)
    found = downsample(steps, np.array(values), columns)
    first, last = int(steps[0]), int(steps[-1])
    everything = by_column(steps, values, first, last, columns)
    drawn = by_column(found.steps, found.values, first, last, columns)
    assert drawn.keys() == everything.keys()
    for column, points in everything.items():
        finite = [point for point in points if math.isfinite(point[1])]
        gaps = [step for step, value in points if not math.isfinite(value)]
        kept = [point for point in drawn[column] if math.isfinite(point[1])]
        kept_gaps = [step for step, value in drawn[column] if not math.isfinite(value)]
        if finite:
            assert (kept[0], kept[-1]) == (finite[0], finite[-1])
            assert min(value for _, value in kept) == min(value for _, value in finite)
            assert max(value for _, value in kept) == max(value for _, value in finite)
        assert set(kept) <= set(finite)
        assert kept_gaps[:1] + kept_gaps[-1:] == gaps[:1] + gaps[-1:]
    assert list(found.steps) == sorted(set(found.steps.tolist()))
    assert len(found.steps) <= max(4 * columns, 6 * len(everything))


@given(values=values_of_a_series, columns=st.integers(1, 40))
def test_means_are_those_of_the_columns(values, columns):
    """Of all finite points of a column, not of the drawn ones; of a short series its points are their own means."""
    steps, series = np.arange(len(values)), np.array(values)
    found = downsample(steps, series, columns)
    finite = [value for value in values if math.isfinite(value)]
    if len(values) <= 4 * columns:
        assert found.means.tolist() == finite
        return
    expected = [
        sum(known) / len(known)
        for points in by_column(steps, series, 0, len(values) - 1, columns).values()
        if (known := [value for _, value in points if math.isfinite(value)])
    ]
    np.testing.assert_allclose(found.means, expected, rtol=1e-6, atol=1e-30 + 1e-12 * max(map(abs, finite), default=0))


def test_a_short_series_stays_as_it_is():
    """Up to four points a column."""
    steps, values = np.arange(400), np.random.default_rng(0).normal(size=400)
    found = downsample(steps, values, 100)
    assert found.steps is steps
    assert found.values is values
    assert len(downsample(steps, values, 99).steps) < 400


def test_one_lost_spike_of_a_million_is_seen():
    """The greatest and the least value are drawn, wherever they are."""
    values = np.random.default_rng(0).normal(size=1_000_000)
    values[123_456], values[777_777], values[500_000] = 99.0, -99.0, math.nan
    found = downsample(np.arange(values.size), values, 1000)
    drawn = dict(zip(found.steps.tolist(), found.values.tolist(), strict=True))
    assert (drawn[123_456], drawn[777_777]) == (99.0, -99.0)
    assert math.isnan(drawn[500_000])


@pytest.mark.parametrize("columns", [0, -1])
def test_a_picture_has_columns(columns):
    """Fewer than one is an error."""
    with pytest.raises(ConfigurationError, match="at least 1"):
        downsample(np.arange(3), np.zeros(3), columns)
