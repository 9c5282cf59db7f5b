"""What a report says of a store."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest

import model_checkpoint as mc
from model_checkpoint.analytics.reader import MetricsReader
from model_checkpoint.analytics.report.collect import collect
from model_checkpoint.analytics.report.page import Subject
from model_checkpoint.types import ExperimentInfo

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """`exp`: a loss with a NaN and a spike, three checkpoints, the last of a run resumed from the first."""
    root = tmp_path_factory.mktemp("collect")
    for first, last in ((0, 200), (200, 300)):
        with mc.CheckpointManager(root, experiment="exp", monitor="loss", progress=False) as ckpts:
            ckpts.track(weight=np.zeros(10))
            if first:
                ckpts.resume(99)
            for step in range(first, last):
                loss = {150: math.nan, 250: 9.0}.get(step, 2.0 - step / 300 + (step % 7) / 1000)
                ckpts.log(step, loss=loss)
                if step % 100 == 99:
                    ckpts.save(step, metrics={"loss": loss, "latency_ms": step, "accuracy": step}, block=True)
    return root


@pytest.fixture
def page(root):
    with MetricsReader.open(root) as reader, mc.CheckpointManager(root, experiment="exp", progress=False) as ckpts:
        checkpoints = tuple(sorted(ckpts.list(), key=lambda info: info.seq))
        reasons = {info.id: ("best",) if info.step == 299 else () for info in checkpoints}
        info = ExperimentInfo("exp", NOW, monitor="loss", mode="min")
        yield collect("store", [Subject(info, checkpoints, reasons)], reader, now=NOW)


def test_an_experiment_has_its_best_and_its_course(page):
    """From what was logged, all of its points."""
    (one,) = page.experiments
    assert (one.best.step, one.last_step, one.lately) == (299, 299, "improving")
    assert one.best.value == pytest.approx(2 - 299 / 300 + 0.005)
    assert (one.checkpoints, one.freed_bytes) == (3, 2 * one.nbytes // 3)


def test_charts_are_what_was_logged_and_what_was_saved(page):
    """The monitored one first; what is in both is drawn as it was logged."""
    assert [(chart.metric, chart.mode, chart.is_monitored) for chart in page.charts] == [
        ("loss", "min", True), ("accuracy", "max", False), ("latency_ms", "min", False),
    ]  # fmt: skip
    assert [(line.source, line.points) for chart in page.charts for line in chart.lines] == [
        ("logged", 300), ("saved", 3), ("saved", 3),
    ]  # fmt: skip


def test_marks_say_what_is_wrong(page):
    """The NaN and the spike of the loss."""
    marks = {mark.kind: mark for mark in page.charts[0].lines[0].marks}
    assert (marks["not finite"].step, marks["spike"].step) == (150, 250)
    assert marks["spike"].text == "spike at step 250: 9"


def test_trade_offs_are_pairs_with_the_longest_front_first(page):
    """Of the metrics whose direction is known; the monitored one is in the first."""
    first = page.trade_offs[0]
    assert (first.y, first.x, len(first.front)) == ("loss", "latency_ms", 3)
    assert {(one.y, one.x): one.front for one in page.trade_offs}[("loss", "accuracy")] == (2,)
    assert len(page.trade_offs) == 3


def test_runs_begin_where_they_were_resumed(page):
    """The second run has the first checkpoint as its parent."""
    assert [(run.parent, run.checkpoints) for run in page.runs] == [(None, (0, 1)), (0, (2,))]


def test_best_is_a_reason(page):
    """The one that retention keeps as the best."""
    assert [one.is_best for one in page.checkpoints] == [False, False, True]
