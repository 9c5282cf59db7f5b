"""The value that says where the time of an operation went."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from model_checkpoint.errors import ConfigurationError
from model_checkpoint.monitoring import OperationTiming
from model_checkpoint.monitoring.figures import figures_of

TIMING = OperationTiming(
    kind="save",
    experiment="gpt2",
    checkpoint="gpt2:500-1f3a9c2e",
    step=500,
    at=datetime(2026, 1, 2, tzinfo=UTC),
    seconds=4.0,
    stall_s=0.5,
    nbytes=1000,
    stages={"write": 2.0, "fsync": 1.0},
)


def test_what_follows_from_a_timing():
    """Throughput, and the time that no stage has."""
    assert TIMING.bytes_per_s == 250
    assert TIMING.unaccounted_s == 1
    assert dataclasses.replace(TIMING, seconds=0.0, stages={}).bytes_per_s is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"at": datetime(2026, 1, 2)}, "time zone"),  # noqa: DTZ001 - that is the point
        ({"seconds": -1.0}, "seconds of an operation is -1"),
        ({"seconds": float("nan")}, "seconds of an operation is nan"),
        ({"stall_s": float("inf")}, "stall_s of an operation is inf"),
        ({"stages": {"fsync": -0.1}}, "fsync of an operation is -0.1"),
        ({"nbytes": -1}, "about -1 bytes"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    """A time or size that is none names itself."""
    with pytest.raises(ConfigurationError, match=message):
        dataclasses.replace(TIMING, **changes)


def test_figures_of_several_operations():
    """Sums, in the order of stages; those that this version does not know come last."""
    other = dataclasses.replace(TIMING, seconds=2.0, stall_s=None, stages={"defrost": 1.0, "snapshot": 0.5})
    figures = figures_of([TIMING, other])
    assert (figures.count, figures.seconds, figures.stall_s, figures.nbytes) == (2, 6, 0.5, 2000)
    assert list(figures.stages.items()) == [("snapshot", 0.5), ("write", 2.0), ("fsync", 1.0), ("defrost", 1.0)]
    assert (figures.latency.p50, figures.latency.longest, figures.mean_s) == (2, 4, 3)
    assert figures.last is other


def test_figures_are_of_one_kind():
    """Neither of nothing nor of saves and loads together."""
    with pytest.raises(ConfigurationError, match="not of none"):
        figures_of([])
    with pytest.raises(ConfigurationError, match="not of load, save"):
        figures_of([TIMING, dataclasses.replace(TIMING, kind="load")])
