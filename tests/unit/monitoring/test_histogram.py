"""Percentiles of an HDR histogram, against numpy."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.errors import MissingDependencyError
from model_checkpoint.monitoring import PerformanceMonitor
from model_checkpoint.monitoring.figures import exact_percentiles
from model_checkpoint.monitoring.histogram import ERROR, Histogram

PERCENTS = (50, 90, 95, 99, 99.9)
durations = st.lists(st.floats(1e-9, 86400.0), min_size=1, max_size=300)


def shown(found):
    return (found.p50, found.p90, found.p95, found.p99, found.p999)


@given(durations)
def test_a_percentile_is_within_one_percent_of_a_neighbouring_rank(values):
    """The library rounds to the nearest rank; numpy's lower and higher neighbours enclose it."""
    histogram = Histogram()
    histogram.add(values)
    found = histogram.percentiles()
    assert found.count == len(values)
    for percent, value in zip(PERCENTS, shown(found), strict=True):
        low = np.percentile(values, max(0, percent - 100 / len(values)), method="lower")
        high = np.percentile(values, min(100, percent + 100 / len(values)), method="higher")
        assert low * (1 - ERROR) - 1e-9 <= value <= high * (1 + ERROR) + 1e-9
        assert value == histogram.percentile(percent)
    assert found.longest == pytest.approx(max(values), rel=ERROR, abs=1e-9)
    assert list(shown(found)) == sorted(shown(found))


@given(durations)
def test_exact_percentiles_are_numpys_inverted_cdf(values):
    """Nearest rank: the smallest duration that so many percent do not exceed."""
    expected = [np.percentile(values, percent, method="inverted_cdf") for percent in PERCENTS]
    assert shown(exact_percentiles(values)) == pytest.approx(expected, rel=0)


def test_memory_does_not_grow_with_what_is_counted():
    """A million durations, from a nanosecond to more than a day, take what none take: 40 kB."""
    histogram = Histogram()
    counts = histogram._counts
    empty = counts.counts_len
    histogram.add(10.0 ** (i % 19 - 9) * (1 + i / 1e5) for i in range(100_000))
    assert (counts.counts_len, sys.getsizeof(counts.counts)) == (empty, sys.getsizeof(Histogram()._counts.counts))
    assert empty * 8 < 64 * 1024
    assert histogram.count == 100_000
    assert histogram.percentile(100) == pytest.approx(86400, rel=ERROR)


def test_without_the_library_the_extra_is_named(monkeypatch):
    """A monitor with percentiles says so when it is made, and not in a save; one without does not need it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "hdrh"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "site-packages" not in entry])
    with pytest.raises(MissingDependencyError, match=r"model-checkpoint-engine\[monitoring\]"):
        PerformanceMonitor()
    with PerformanceMonitor(percentiles=False).operation("save"):
        pass
