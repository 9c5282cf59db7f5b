"""Spans and operations: whose time is counted where."""

from __future__ import annotations

import asyncio
import math
import threading
import time

import pytest

from model_checkpoint.monitoring import PerformanceMonitor
from model_checkpoint.monitoring.span import current_track, span, spanned


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def work(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    """The clock of spans and operations."""
    clock = Clock()
    for module in ("span", "operation", "monitor"):
        monkeypatch.setattr(f"model_checkpoint.monitoring.{module}.perf_counter", clock)
    return clock


@pytest.fixture
def monitor():
    return PerformanceMonitor(percentiles=False)


def last(monitor, kind="save"):
    return monitor.report().of(kind).last


def test_time_belongs_to_the_innermost_span(clock, monitor):
    """A stage has what its spans took but for the spans inside; what is in none is unaccounted."""
    with monitor.operation("save"):
        clock.work(1)
        with span("commit"):
            clock.work(2)
            with span("fsync"):
                clock.work(4)
            clock.work(8)
            with span("fsync"):
                clock.work(16)
        clock.work(32)
    timing = last(monitor)
    assert timing.stages == {"fsync": 20, "commit": 10}
    assert (timing.seconds, timing.unaccounted_s) == (63, 33)


def test_stages_come_in_the_order_of_an_operation(clock, monitor):
    """However they were entered, they are listed as a save goes through them."""
    with monitor.operation("save"):
        for stage in ("hook", "fsync", "snapshot"):
            with span(stage):
                clock.work(1)
    assert list(last(monitor).stages) == ["snapshot", "fsync", "hook"]


def test_a_stage_inside_of_itself_counts_once(clock, monitor):
    """Nested spans of one stage make one sum."""
    with monitor.operation("save"), span("catalog"):
        clock.work(1)
        with span("catalog"):
            clock.work(2)
    assert last(monitor).stages == {"catalog": 3}


def test_the_time_of_parallel_work_is_divided_in_proportion(clock, monitor):
    """Six thread-seconds in three seconds: each stage gets its share of the wall time, and nothing is lost."""
    with monitor.operation("save"), span("write") as call:
        clock.work(3)
        call.divide({"hash": 4.0, "write": 2.0})
    assert last(monitor).stages == {"hash": 2, "write": 1}


def test_a_call_of_the_core_without_any_work_counts_for_its_span(clock, monitor):
    """An empty file has no stages to divide among."""
    with monitor.operation("save"), span("write") as call:
        clock.work(3)
        call.divide({})
    assert last(monitor).stages == {"write": 3}


def test_a_whole_span_keeps_what_is_inside_of_it(clock, monitor):
    """Reading back what was written is verification, whatever that reads and hashes."""

    @spanned("hash")
    def digest():
        clock.work(2)

    @spanned("verify", whole=True)
    def read_back():
        with span("read") as call:
            clock.work(1)
            call.divide({"read": 1.0, "hash": 1.0})
        digest()

    with monitor.operation("save"):
        read_back()
        digest()
    assert last(monitor).stages == {"hash": 2, "verify": 3}


def test_an_error_ends_its_spans(clock, monitor):
    """What fails inside of a span is still counted, and the spans around go on."""
    with monitor.operation("save"), span("commit"):
        with pytest.raises(OSError, match="full"), span("write"):
            clock.work(1)
            raise OSError("full")
        clock.work(2)
    assert last(monitor).stages == {"write": 1, "commit": 2}


def test_a_failed_operation_is_counted_and_no_timing_is_made(monitor):
    """Its error passes through; the sums are of those that went well."""
    with pytest.raises(KeyboardInterrupt), monitor.operation("load"):
        raise KeyboardInterrupt
    figures = monitor.report().of("load")
    assert (figures.count, figures.failures, figures.last) == (0, 1, None)
    assert current_track.get() is None


def test_outside_of_operations_spans_are_one_object(monitor):
    """Nobody measures: nothing is made and nothing is counted."""
    assert span("fsync") is span("hash")
    with span("fsync") as call:
        call.divide({"hash": 1.0})
    assert monitor.report().operations == ()


def test_work_of_another_thread_belongs_to_the_operation_that_it_is_part_of(monitor):
    """Each thread has a track of its own, and what others do meanwhile is not counted."""
    operation = monitor.operation("save")

    def work():
        with operation.part(), span("write"):
            time.sleep(0.01)

    def stray():
        with span("write"):
            time.sleep(0.01)

    with operation.part(), span("snapshot"):
        time.sleep(0.01)
    threads = [threading.Thread(target=target) for target in (work, stray)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    operation.finish()
    timing = last(monitor)
    assert timing.stages.keys() == {"snapshot", "write"}
    assert math.fsum(timing.stages.values()) <= timing.seconds


def test_tasks_of_asyncio_do_not_share_a_track(monitor):
    """Two loads that take turns in one thread are each measured for themselves."""

    async def load(stage, other):
        with monitor.operation(f"load {stage}"), span(stage):
            await asyncio.sleep(0)
            assert current_track.get().top._stage == stage
            await asyncio.sleep(0)
        return other

    async def both():
        await asyncio.gather(load("read", "hash"), load("hash", "read"))

    asyncio.run(both())
    assert set(monitor.report().of("load read").stages) == {"read"}
    assert set(monitor.report().of("load hash").stages) == {"hash"}


def test_an_operation_inside_of_another_one_is_measured_for_itself(clock, monitor):
    """A load in the middle of a save takes its own spans; the save goes on where it was."""
    with monitor.operation("save"), span("hook"):
        with monitor.operation("load"), span("read"):
            clock.work(1)
        clock.work(2)
    assert last(monitor, "load").stages == {"read": 1}
    assert last(monitor).stages == {"hook": 3}


def test_an_operation_ends_once(monitor):
    """Whatever is said of it afterwards."""
    with monitor.operation("save") as operation:
        operation.finish()
    operation.finish()
    operation.fail()
    operation.drop()
    figures = monitor.report().of("save")
    assert (figures.count, figures.failures) == (1, 0)
    with monitor.operation("load") as operation:
        operation.drop()
    assert monitor.report().of("load") is None
    (in_flight, *_) = monitor.report().gauges
    assert (in_flight.name, in_flight.value, in_flight.peak) == ("operations_in_flight", 0, 1)
