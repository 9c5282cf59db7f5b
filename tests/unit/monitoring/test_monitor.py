"""The monitor: sums, gauges, thresholds, and many threads at once."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.errors import ConfigurationError
from model_checkpoint.monitoring import (
    OperationTiming,
    PercentileAbove,
    PerformanceMonitor,
    SlowerThan,
    StallAbove,
    ThroughputBelow,
)
from model_checkpoint.monitoring import histogram as histograms
from model_checkpoint.monitoring import monitor as monitors
from model_checkpoint.monitoring.span import span
from model_checkpoint.monitoring.stages import STAGES

BEGIN = datetime(2026, 1, 2, tzinfo=UTC)
GB = 10**9


@pytest.fixture
def often_interrupted():
    """Threads take turns a thousand times more often than usual."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(interval / 1000)
    yield
    sys.setswitchinterval(interval)


def timing(seconds, *, after_s=0.0, kind="save", nbytes=GB, stall_s=None):
    at = BEGIN + timedelta(seconds=after_s)
    return OperationTiming(kind, "gpt2", "gpt2:5-1f3a9c2e", 5, at, seconds, stall_s, nbytes, {"write": seconds / 2})


def told(monitor, *timings):
    """What the monitor says of operations, one list for each."""
    events = []
    for one in timings:
        events.append([])
        monitor.ended(one, (), 0.0, events[-1].append)
    return events


@given(st.lists(st.tuples(st.sampled_from(["save", "load"]), st.floats(0, 1000), st.integers(0, 2**50)), max_size=20))
def test_sums_are_those_of_the_operations(given_ones):
    """Counts, bytes, seconds and stages of each kind."""
    monitor = PerformanceMonitor(percentiles=False)
    told(monitor, *(timing(seconds, kind=kind, nbytes=nbytes) for kind, seconds, nbytes in given_ones))
    for kind in {kind for kind, _, _ in given_ones}:
        own = [(seconds, nbytes) for other, seconds, nbytes in given_ones if other == kind]
        figures = monitor.report().of(kind)
        assert (figures.count, figures.nbytes) == (len(own), sum(nbytes for _, nbytes in own))
        assert figures.seconds == pytest.approx(math.fsum(seconds for seconds, _ in own))
        assert figures.stages["write"] == pytest.approx(figures.seconds / 2)
        assert figures.last.seconds == own[-1][0]


def test_one_thread_at_a_time_changes_the_sums(monkeypatch):
    """The library's histograms and the sums are nobody's but the lock's."""
    inside, most = [], []

    def watched(method):
        def call(self, what):
            inside.append(method)
            most.append(len(inside))
            time.sleep(0.001)
            done = method(self, what)
            inside.pop()
            return done

        return call

    for owner in (histograms.Histogram, monitors._Sums):
        monkeypatch.setattr(owner, "add", watched(owner.add))
    monitor = PerformanceMonitor()

    def work():
        for _ in range(10):
            with monitor.operation("save"), span("write"):
                pass

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert max(most) == 2  # a histogram among the sums of its kind
    assert len(most) == 4 * 10 * 3


def test_threads_that_measure_at_the_same_time_lose_nothing(often_interrupted):
    """Eight threads, thousands of spans, and reports meanwhile: every operation and every span is counted."""
    monitor, threads, rounds = PerformanceMonitor(), 8, 300

    def work():
        for _ in range(rounds):
            with monitor.operation("save", nbytes=1):
                for stage in ("write", "fsync", "write"):
                    with span(stage):
                        pass
            monitor.report() if _ % 100 == 0 else None

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    report = monitor.report()
    figures = report.of("save")
    assert (figures.count, figures.nbytes, figures.latency.count) == (threads * rounds,) * 3
    assert {stage: found.count for stage, found in report.stages.items()} == {
        "write": threads * rounds * 2,
        "fsync": threads * rounds,
    }


def test_an_operation_of_very_many_spans_takes_no_more_memory():
    """Durations are counted away every few thousand."""
    monitor = PerformanceMonitor()
    with monitor.operation("query") as operation, operation.part():
        for _ in range(10_000):
            with span("query"):
                pass
        assert monitor.report().stages["query"].count == 8192
    assert monitor.report().stages["query"].count == 10_000


def test_gauges_add_up_and_remember_their_peak():
    """Two of one name are one; a peak is seen at the end of an operation; a gauge can be forgotten."""
    monitor, levels = PerformanceMonitor(percentiles=False), {"a": 1.0, "b": 10.0}
    forget = [monitor.gauge("queue", lambda name=name: levels[name]) for name in levels]
    levels["a"] = 5.0
    with monitor.operation("save"):
        pass
    levels["a"] = 0.0
    readings = {reading.name: reading for reading in monitor.report().gauges}
    assert (readings["queue"].value, readings["queue"].peak) == (10, 15)
    assert readings["rss_bytes"].value > 1_000_000
    for end in forget:
        end()
        end()
    assert "queue" not in {reading.name for reading in monitor.report().gauges}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_measures_for_itself():
    """Whatever lock another thread of the parent held, the child's monitor works."""
    monitor = PerformanceMonitor(percentiles=False)
    held, release = threading.Event(), threading.Event()

    def hold():
        with monitor._lock:
            held.set()
            release.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if child == 0:
        with monitor.operation("save"):
            pass
        os._exit(0 if monitor.report().of("save").count == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    release.set()
    holder.join()


def test_an_exporter_that_fails_fails_nothing_else(caplog):
    """It is logged; sums and the other exporters go on."""

    class Broken:
        traces = False

        def export(self, timing, trace, began_at):
            raise OSError("unreachable")

    class Kept(list):
        traces = True

        def export(self, timing, trace, began_at):
            self.append((timing, trace))

    kept = Kept()
    monitor = PerformanceMonitor(percentiles=False, exporters=[Broken(), kept])
    with monitor.operation("save"), span("fsync"):
        pass
    assert monitor.report().of("save").count == 1
    assert [past.stage for past in kept[0][1]] == ["fsync"]
    assert "an exporter failed on a save" in caplog.text


def test_a_threshold_or_a_gauge_that_fails_fails_nothing_else(caplog):
    """It is logged; the operation is counted, and what else there is to tell is told. Either may ask for a report."""

    class Broken(list):  # cannot be hashed, either
        kind, limit, unit, is_lasting = "save", 1.0, "s", False

        def exceeded_by(self, timing, past):
            raise ZeroDivisionError

    monitor = PerformanceMonitor(percentiles=False, thresholds=[Broken(), SlowerThan("save", 2)])
    asked = []
    monitor.gauge("broken", lambda: 1 / 0)
    monitor.gauge("saves", lambda: asked.append(1) or (monitor.report().of("save").count if len(asked) == 1 else 1))
    (events,) = told(monitor, timing(3.0))
    assert [event.measured for event in events] == [3.0]
    readings = {reading.name: reading.value for reading in monitor.report().gauges}
    assert readings["saves"] == monitor.report().of("save").count == 1
    assert "broken" not in readings
    assert {"a threshold failed on a save", "the gauge broken failed"} == {line.message for line in caplog.records}


# --- thresholds -------------------------------------------------------------------------------------------------------


def test_each_operation_that_is_too_slow_is_told_of():
    """With what was demanded and what was measured; other kinds are not asked."""
    monitor = PerformanceMonitor(percentiles=False, thresholds=[SlowerThan("save", 2)])
    slow, at_limit, other = told(monitor, timing(3.0), timing(2.0), timing(9.0, kind="load"))
    assert (at_limit, other) == ([], [])
    (event,) = slow
    assert (event.kind, event.experiment, event.step) == ("save", "gpt2", 5)
    assert (event.measured, event.limit, event.unit) == (3.0, 2, "s")
    assert event.threshold == "a save takes at most 2 s"


def test_a_percentile_is_told_of_when_it_gets_there():
    """Once, not with every operation from then on; and again after it was below."""
    monitor = PerformanceMonitor(thresholds=[PercentileAbove("save", 50, 1.0, least=3)])
    events = told(monitor, *map(timing, [5, 5, 5, 5, 0.1, 0.1, 0.1, 0.1, 0.1, 5, 5, 5, 5]))
    assert [len(some) for some in events] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]
    assert events[2][0].measured == pytest.approx(5, rel=0.01)
    assert events[2][0].threshold == "50% of all saves take at most 1 s"


def test_a_low_throughput_is_told_of_where_there_is_enough_to_move():
    """A small state is all overhead."""
    monitor = PerformanceMonitor(percentiles=False, thresholds=[ThroughputBelow("load", GB)])
    slow, fast, small = told(
        monitor,
        timing(2.0, kind="load"),
        timing(0.5, kind="load"),
        timing(2.0, kind="load", nbytes=1000),
    )
    assert (slow[0].measured, slow[0].unit) == (GB / 2, "B/s")
    assert (fast, small) == ([], [])


def test_a_stall_is_measured_from_save_to_save():
    """The first save has nothing to be compared with, and a clock that went back says nothing."""
    monitor = PerformanceMonitor(percentiles=False, thresholds=[StallAbove(0.02)])
    first, much, little, back = told(
        monitor,
        timing(1.0, stall_s=1.0),
        timing(1.0, after_s=10, stall_s=0.3),
        timing(1.0, after_s=20, stall_s=0.1),
        timing(1.0, after_s=15, stall_s=1.0),
    )
    assert (first, little, back) == ([], [], [])
    assert much[0].measured == pytest.approx(0.03)
    assert much[0].unit == "of the time"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SlowerThan("save", 0), "limit of SlowerThan is 0"),
        (lambda: SlowerThan("save", math.nan), "limit of SlowerThan is nan"),
        (lambda: ThroughputBelow("save", -1), "limit of ThroughputBelow is -1"),
        (lambda: StallAbove(math.inf), "limit of StallAbove is inf"),
        (lambda: PercentileAbove("save", 101, 1), "101 is no percentile"),
        (
            lambda: PerformanceMonitor(percentiles=False, thresholds=[PercentileAbove("save", 99, 1)]),
            "percentiles=True",
        ),
    ],
)
def test_thresholds_that_make_no_sense_are_refused(make, message):
    """When they are made, and not when they would be asked."""
    with pytest.raises(ConfigurationError, match=message):
        make()


# --- the report -------------------------------------------------------------------------------------------------------


def test_a_report_prints_as_a_table():
    """Aligned columns; stages below their operation, with their share; failures and stalls where there are any."""
    monitor = PerformanceMonitor()
    assert str(monitor.report()) == "nothing was measured"
    told(monitor, timing(2.0, stall_s=0.5), timing(4.0, stall_s=0.5))
    monitor.failed("save")
    heading, save, write, other, *gauges = str(monitor.report()).splitlines()
    columns = "OPERATION COUNT FAILED BYTES BYTES/S TIME SHARE MEAN P50 P99 STALL"
    assert heading.split() == columns.split()
    assert save.split() == "save 2 1 2.0 GB 333 MB/s 6.0 s 3.0 s 2.0 s 4.0 s 1.0 s".split()
    assert write.split() == "write 3.0 s 50.0% 1.5 s".split()
    assert other.split() == "other 3.0 s 50.0% 1.5 s".split()
    assert any(line.startswith("rss: ") for line in gauges)
    assert save.index("6.0 s") == write.index("3.0 s")


def test_a_report_as_json_has_everything():
    """What was measured, by the names of the attributes."""
    monitor = PerformanceMonitor()
    told(monitor, timing(2.0, stall_s=0.5))
    with monitor.operation("load"), span("read"):
        pass
    found = json.loads(monitor.report().to_json())
    save, load = found["operations"]
    assert (save["kind"], save["count"], save["nbytes"], save["stages"]) == ("save", 1, GB, {"write": 1.0})
    assert save["latency"]["p999"] == pytest.approx(2.0, rel=0.01)
    assert save["last"]["checkpoint"] == "gpt2:5-1f3a9c2e"
    assert load["last"]["stages"].keys() == found["stages"].keys() == {"read"}
    assert {gauge["name"] for gauge in found["gauges"]} >= {"rss_bytes", "operations_in_flight"}


def test_names_of_stages_stay():
    """They are in timing logs and on dashboards: this list may grow, nothing else."""
    expected = "wait snapshot memory read hash copy write fsync commit catalog verify restore query hook"
    assert set(STAGES) >= set(expected.split())
