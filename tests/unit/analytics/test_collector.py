"""From the training loop to whoever writes."""

from __future__ import annotations

import math
import os
import threading
import time

import pytest
import torch

from model_checkpoint.analytics import collector as collectors
from model_checkpoint.analytics.aggregate import RunningAggregate
from model_checkpoint.analytics.collector import MetricsCollector
from model_checkpoint.database.metric_table import SeriesKey
from model_checkpoint.errors import (
    CatalogBusyError,
    CatalogError,
    ConfigurationError,
    MetricNotFoundError,
    MissingDependencyError,
)

NEVER = 3600.0


class Written:
    """Stands for the catalog: remembers what it is given, or fails."""

    def __init__(self):
        self.batches = []
        self.error = None
        self.called = threading.Event()

    def __call__(self, experiment, points):
        self.called.set()
        if self.error is not None:
            raise self.error
        self.batches.append({key: list(added) for key, added in points.items()})

    def values(self, name="loss"):
        return [point[1] for batch in self.batches for point in batch.get(SeriesKey(name), ())]


@pytest.fixture
def written():
    return Written()


@pytest.fixture
def collector(written):
    made = MetricsCollector("exp", written, flush_interval_s=NEVER)
    yield made
    written.error = None
    made.close()


def test_values_are_written_together_and_by_series(collector, written):
    """Nothing is written before its time; then all at once, each series in its order, with what was said of it."""
    before = time.time_ns() // 1000
    collector.log(5, loss=1.5, acc=torch.tensor(1))
    collector.log(3, {"split": 2}, split="train", tags={"b": "2", "a": "1"}, epoch=0.5)
    collector.log(4, loss=math.inf)
    assert written.batches == []
    collector.flush()
    collector.flush()
    (batch,) = written.batches
    assert [(step, value, epoch) for step, value, _, epoch in batch[SeriesKey("loss")]] == [
        (5, 1.5, None),
        (4, math.inf, None),
    ]
    assert [point[:2] for point in batch[SeriesKey("acc")]] == [(5, 1.0)]
    assert [(s, v, e) for s, v, _, e in batch[SeriesKey("split", "train", '{"a":"1","b":"2"}')]] == [(3, 2.0, 0.5)]
    times = [point[2] for points in batch.values() for point in points]
    assert before <= min(times) <= max(times) <= time.time_ns() // 1000


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.log(-1, loss=1),
        lambda c: c.log(1.0, loss=1),
        lambda c: c.log(True, loss=1),
        lambda c: c.log(2**63, loss=1),
        lambda c: c.log(1, loss="x"),
        lambda c: c.log(1, {"": 1.0}),
        lambda c: c.log(1, {3: 1.0}),
        lambda c: c.log(1, loss=1.0, epoch="x"),
        lambda c: c.log(1, loss=1.0, split=3),
        lambda c: c.log(1, loss=1.0, tags={"a": 1}),
        lambda c: c.log(1, loss=1.0, tags="a"),
        lambda c: c.log(1, [("loss", 1.0)]),
    ],
)
def test_what_makes_no_sense_is_refused_and_not_noted(collector, written, call):
    """A call is noted whole or not at all."""
    with pytest.raises(ConfigurationError):
        call(collector)
    collector.flush()
    assert written.batches == []


def test_values_are_written_behind_the_caller(written):
    """Without a call, in the interval that was asked for; what `close` finds it writes, too."""
    with MetricsCollector("exp", written, flush_interval_s=0.01) as collector:
        collector.log(0, loss=1.0)
        assert written.called.wait(30)
        collector.log(1, loss=2.0)
    assert written.values() == [1.0, 2.0]
    with pytest.raises(ConfigurationError, match="closed"):
        collector.log(2, loss=3.0)


def test_threads_lose_nothing(written):
    """What several threads log while one writes is written once each, in the order of each thread."""
    with MetricsCollector("exp", written, flush_interval_s=0.001) as collector:
        names = [f"thread{number}" for number in range(4)]

        def work(name):
            for step in range(5000):
                collector.log(step, {name: step})

        threads = [threading.Thread(target=work, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for name in names:
        assert written.values(name) == list(range(5000))
    assert len(written.batches) > 1


def test_a_busy_catalog_costs_no_value_and_stops_nobody(written):
    """While the catalog is busy the values wait; `flush` says so, `log` does not."""
    collector = MetricsCollector("exp", written, flush_interval_s=0.01)
    written.error = CatalogBusyError("locked")
    collector.log(0, loss=1.0)
    assert written.called.wait(30)
    collector.log(1, loss=2.0)
    with pytest.raises(CatalogBusyError):
        collector.flush()
    written.error = None
    collector.close()
    assert written.values() == [1.0, 2.0]


def test_a_failure_behind_the_caller_is_raised_by_its_next_call(written):
    """Once, with nothing lost: neither what was logged before nor the call that raises."""
    collector = MetricsCollector("exp", written, flush_interval_s=0.01)
    written.error = CatalogError("broken")
    collector.log(0, loss=1.0)
    deadline = time.monotonic() + 30
    with pytest.raises(CatalogError, match="broken"):
        while time.monotonic() < deadline:
            collector.log(1, loss=2.0)
            time.sleep(0.005)
    written.error = None
    collector.close()
    assert written.values()[:2] == [1.0, 2.0]


def test_close_raises_what_could_not_be_written(written):
    """And can be called again, with what is left."""
    collector = MetricsCollector("exp", written, flush_interval_s=NEVER)
    collector.log(0, loss=1.0)
    written.error = CatalogError("broken")
    with pytest.raises(CatalogError):
        collector.close()
    written.error = None
    collector.close()
    assert written.values() == [1.0]


def test_memory_is_bounded(collector, written, monkeypatch):
    """With so many calls waiting, the next one waits until they are written."""
    monkeypatch.setattr(collectors, "_MAX_CALLS", 100)
    for step in range(250):
        collector.log(step, loss=step)
    assert len(written.values()) == 200
    written.error = CatalogBusyError("locked")
    with pytest.raises(CatalogBusyError):
        for step in range(250, 1000):
            collector.log(step, loss=step)
    assert step < 400
    written.error = None
    collector.flush()
    assert written.values() == list(range(step + 1))


def test_a_forked_child_does_not_write_its_parents_values(tmp_path):
    """A child begins with nothing; the parent's values are written by the parent, once."""

    def write(_experiment, points):
        with (tmp_path / "log").open("a") as file:
            file.writelines(f"{os.getpid()} {point[1]}\n" for added in points.values() for point in added)

    collector = MetricsCollector("exp", write, flush_interval_s=NEVER)
    collector.log(0, loss=1.0)
    pid = os.fork()
    if pid == 0:
        collector.log(1, loss=2.0)
        collector.close()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    collector.close()
    assert sorted((tmp_path / "log").read_text().split("\n")[:-1]) == sorted([f"{pid} 2.0", f"{os.getpid()} 1.0"])


def test_figures_include_what_was_just_logged(collector):
    """Nothing needs to be written for them; another split is another series."""
    collector.log(0, loss=1.0)
    collector.log(1, loss=3.0)
    collector.log(1, loss=9.0, split="val")
    assert collector.aggregate("loss").mean == 2.0
    assert collector.aggregate("loss", split="val").count == 1
    with pytest.raises(MetricNotFoundError, match="no metric 'los'; there is loss"):
        collector.aggregate("los")


@pytest.mark.parametrize(
    ("elapsed_s", "write_s", "expected"), [(0.0, 0.0, 1.0), (0.1, 0.1, 0.8), (0.5, 0.1, 0.4), (0.9, 0.3, 0.25)]
)
def test_the_next_write_ends_an_interval_after_the_last_one_began(elapsed_s, write_s, expected):
    """What a killed process loses is what was logged since the last write began."""
    assert collectors.pause(1.0, elapsed_s=elapsed_s, write_s=write_s) == pytest.approx(expected)


def test_values_are_written_whatever_becomes_of_their_figures(collector, written, monkeypatch):
    """Of none of the series that were logged together anything is lost."""
    monkeypatch.setattr(RunningAggregate, "add", lambda *_: 1 / 0)
    collector.log(0, loss=1.0, accuracy=0.5)
    with pytest.raises(ZeroDivisionError):
        collector.flush()
    monkeypatch.undo()
    collector.flush()
    assert [key.name for batch in written.batches for key in batch] == ["loss", "accuracy"]


@pytest.mark.parametrize("seconds", [0, -1, math.inf, math.nan])
def test_an_interval_is_a_positive_number(written, seconds):
    """Anything else is refused at once."""
    with pytest.raises(ConfigurationError, match="flush_interval_s"):
        MetricsCollector("exp", written, flush_interval_s=seconds)


def test_compaction_is_asked_for_when_there_is_much(written, monkeypatch):
    """When the thread begins, for what was there before, and whenever as much again was written; not in between."""
    monkeypatch.setattr(collectors, "COMPACT_EVERY", 100)
    asked = threading.Semaphore(0)
    with MetricsCollector("exp", written, flush_interval_s=0.005, compact=asked.release) as collector:
        collector.log(0, loss=0.0)
        assert asked.acquire(timeout=30)
        for step in range(90):
            collector.log(step, loss=0.0)
        collector.flush()
        assert not asked.acquire(timeout=0.05)
        for step in range(20):
            collector.log(step, loss=0.0)
        assert asked.acquire(timeout=30)


def test_without_pyarrow_metrics_stay_where_they_are(written):
    """A missing extra is no failure of a training."""
    asked = threading.Event()

    def compact():
        asked.set()
        raise MissingDependencyError("pyarrow", extra="analytics")

    with MetricsCollector("exp", written, flush_interval_s=0.005, compact=compact) as collector:
        collector.log(0, loss=0.0)
        assert asked.wait(30)
        collector.log(1, loss=1.0)
    assert written.values() == [0.0, 1.0]
