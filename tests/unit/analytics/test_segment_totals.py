"""Totals that stand in the footers of segments."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_checkpoint.analytics.compaction import Compactor
from model_checkpoint.analytics.reader import MetricsReader
from model_checkpoint.analytics.segment import points_table, read_totals
from model_checkpoint.analytics.segment_totals import decode_totals, encode_totals, totals_of
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database import MetricTable
from model_checkpoint.database.metric_batch import POINT
from model_checkpoint.database.metric_table import SeriesKey

LOSS, VAL = SeriesKey("loss", "train", '{"host":"a"}'), SeriesKey("loss", "val")


def hot(points):
    return np.array(points, dtype=list(POINT))


def write(workspace, values, *, key, first=0):
    points = [(first + n, value, 1_000_000 + n, None) for n, value in enumerate(values)]
    MetricTable(workspace.catalog).append("exp", {key: points})


@pytest.fixture
def workspace(memory_path):
    with Workspace.open(memory_path) as opened:
        opened.join("exp", monitor=None, mode="min", keep=None)
        yield opened


def test_totals_of_parts_are_those_of_the_whole(workspace):
    """Of segments with totals, of one without, and of what is in the catalog: as if all points were read."""
    rng, logged = np.random.default_rng(3), {LOSS: [], VAL: []}
    compactor = Compactor(workspace.store.root, MetricTable(workspace.catalog))
    for key, count in ((LOSS, 500), (VAL, 300), (LOSS, 700), (VAL, 5), (LOSS, 3)):
        values = rng.normal(1e6, 1e-3, count)  # a sum of squares would lose all digits
        values[1] = math.nan if count > 5 else math.inf
        values[-1] = 1e6 + len(logged[key]) / 1e6  # the last of the last part is neither the least nor the first
        write(workspace, values.tolist(), key=key, first=len(logged[key]))
        logged[key].extend(values.tolist())
        if count != 3:
            compactor.compact("exp")
    segments = MetricTable(workspace.catalog).segments("exp")
    assert [read_totals(workspace.store.root, one.path) is None for one in segments].count(True) == 1
    with MetricsReader.open(workspace.store.root) as reader:
        rows = reader.summary("exp").to_pylist()
    for row, (key, values) in zip(rows, sorted(logged.items()), strict=True):
        known = np.array(values)[np.isfinite(values)]
        assert (row["name"], row["split"], row["tags"]) == key
        assert (row["count"], row["nonfinite"]) == (len(values), len(values) - known.size)
        assert (row["min"], row["max"], row["last"]) == (known.min(), known.max(), values[-1])
        assert (row["first_step"], row["last_step"]) == (0, len(values) - 1)
        assert row["mean"] == pytest.approx(known.mean(), rel=1e-14)
        assert row["std"] == pytest.approx(known.std(ddof=1), rel=1e-6)


@pytest.mark.parametrize("compacted", [0, 1, 2])
def test_the_last_value_is_the_one_that_was_logged_last(workspace, compacted):
    """Not that of the highest step: a resumed run goes back, here in two parts, in the catalog or in segments."""
    compactor = Compactor(workspace.store.root, MetricTable(workspace.catalog))
    for part, steps in enumerate(([*range(500, 700), *range(450, 550)], [*range(20, 120), *range(10, 110)])):
        points = [(step, part + step / 1000, 1_000_000 + n, None) for n, step in enumerate(steps)]
        MetricTable(workspace.catalog).append("exp", {LOSS: points})
        if part < compacted:
            compactor.compact("exp")
    with MetricsReader.open(workspace.store.root) as reader:
        (row,) = reader.summary("exp").to_pylist()
    assert (row["last"], row["first_step"], row["last_step"], row["count"]) == (1.109, 10, 699, 500)


def test_a_series_without_a_finite_value_has_no_mean(workspace):
    """And the last value is what it is."""
    write(workspace, [math.nan] * 100 + [-math.inf] * 100, key=LOSS)
    Compactor(workspace.store.root, MetricTable(workspace.catalog)).compact("exp")
    with MetricsReader.open(workspace.store.root) as reader:
        (row,) = reader.summary("exp").to_pylist()
    assert (row["count"], row["nonfinite"], row["last"]) == (200, 200, -math.inf)
    assert {row[name] for name in ("min", "max", "mean", "std")} == {None}


@pytest.mark.parametrize("parts", [(3000,), (1000, 1000, 1000)])
@pytest.mark.parametrize("compacted", [False, True], ids=["catalog", "segments"])
def test_a_mean_has_the_digits_that_its_values_have(workspace, compacted, parts):
    """Of values around 1e15 that differ by one: a plain sum of them makes it off by ten."""
    compactor, first = Compactor(workspace.store.root, MetricTable(workspace.catalog)), 0
    for count in parts:
        write(workspace, (1e15 + np.arange(first, first + count)).tolist(), key=LOSS, first=first)
        first += count
        if compacted:
            compactor.compact("exp")
    with MetricsReader.open(workspace.store.root) as reader:
        (row,) = reader.summary("exp").to_pylist()
    assert row["mean"] == pytest.approx(1e15 + 1499.5, abs=0.25)
    assert row["std"] == pytest.approx(3000 / math.sqrt(12), rel=1e-3)


@pytest.mark.parametrize("compacted", [False, True], ids=["catalog", "segments"])
def test_sums_that_no_float_holds_spoil_no_other_figure(workspace, compacted):
    """Nor the compaction; there is no warning about them, which would be an error here."""
    write(workspace, [1e308, -1e308, 1.7e308] * 50, key=LOSS)
    if compacted:
        Compactor(workspace.store.root, MetricTable(workspace.catalog)).compact("exp")
    with MetricsReader.open(workspace.store.root) as reader:
        (row,) = reader.summary("exp").to_pylist()
    assert (row["count"], row["nonfinite"], row["min"], row["max"], row["last"]) == (150, 0, -1e308, 1.7e308, 1.7e308)


@settings(max_examples=30)
@given(st.lists(st.floats(), min_size=100, max_size=130))
def test_totals_are_written_as_they_are(values):
    """Every float survives the footer: NaN, infinities, minus zero and the smallest."""
    points = [(n, 1, n, None if math.isnan(value) else value, n, None) for n, value in enumerate(values)]
    totals = totals_of(points_table(hot(points), {1: LOSS}))
    again = decode_totals(encode_totals(totals))
    assert repr(again) == repr(totals)
    assert repr(again[0].last) == repr(values[-1])


def test_short_series_have_no_totals():
    """They would take more room than the points."""
    points = [(n, n % 2, n // 2, 0.5, n, None) for n in range(199)]
    assert totals_of(points_table(hot(points), {0: LOSS, 1: VAL})) is None
    points.append((199, 1, 100, 0.5, 199, None))
    assert totals_of(points_table(hot(sorted(points, key=lambda point: point[1])), {0: LOSS, 1: VAL})) is not None
