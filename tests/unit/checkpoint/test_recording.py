"""Runs as they were recorded."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.checkpoint.recording import Recording, Stall

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def moments(*seconds):
    """When steps were logged, by how long after the begin."""
    return np.datetime64("2026-01-01T00:00:00", "us") + (np.array(seconds) * 1e6).astype("timedelta64[us]")


def stall(at_s, seconds):
    return Stall(BEGIN + timedelta(seconds=at_s), seconds)


def recorded(times, *, steps=None, **more):
    return Recording.of_times(times, range(len(times)) if steps is None else steps, save_s=1.0, **more)


def test_steps_take_as_long_as_from_one_to_the_next():
    """Each has the number that was logged at its end; a clock that goes back makes a step of no time."""
    found = recorded(moments(0, 2, 1, 4.5), steps=[10, 20, 30, 40])
    assert found.step_s == (2.0, 0.0, 3.5)
    assert found.numbers == (20, 30, 40)


@pytest.mark.parametrize("count", [0, 1])
def test_less_than_two_moments_are_no_step(count):
    """Nothing is made up."""
    assert recorded(moments(*range(count))).step_s == ()


def test_what_the_run_waited_for_its_own_saves_is_no_work():
    """It was counted as the steps': a replay of a run that had saved often was one of a slow run that saves nothing.

    A save in the second step; one that begins in the third and ends in the fourth; two at the same time.
    """
    stalls = [stall(1.25, 0.5), stall(2.75, 0.5), stall(5.0, 0.5), stall(5.25, 0.5)]
    found = recorded(moments(0, 1, 2, 3, 4, 5, 6, 7), stalls=stalls)
    assert found.step_s == pytest.approx((1.0, 0.5, 0.75, 0.75, 1.0, 0.25, 1.0))


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=20),
    st.lists(st.tuples(st.integers(-20, 300), st.integers(0, 60)), max_size=10),
)
def test_no_stall_is_taken_off_twice(steps, waits):
    """Whatever they share, each tenth of a second is either a wait or work."""
    ends = [0, *itertools.accumulate(steps)]
    waited = {tenth for begin, length in waits for tenth in range(begin, begin + length)}
    work = [len(set(range(begin, end)) - waited) / 10 for begin, end in itertools.pairwise(ends)]
    stalls = [stall(begin / 10, length / 10) for begin, length in waits]
    found = recorded(moments(*(end / 10 for end in ends)), stalls=stalls)
    assert found.step_s == pytest.approx(tuple(work), abs=1e-5)


def test_a_pause_between_two_runs_is_no_step():
    """A night in which nothing ran; a step that was merely slow is one."""
    seconds = [0, *itertools.accumulate([*[10] * 20, 40_000, 10, 90, 10])]
    assert recorded(moments(*seconds)).step_s[19:] == (10.0, 10.0, 10.0, 90.0, 10.0)


def test_steps_can_be_taken_together():
    """No time is lost, and each block has the number of its last step."""
    seconds = [0, *itertools.accumulate([1.0, 2.0] * 5)]
    found = recorded(moments(*seconds), most=4)
    assert found.step_s == (4.0, 5.0, 4.0, 2.0)
    assert found.numbers == (3, 6, 9, 10)
    assert recorded(moments(*seconds), most=10).step_s == (1.0, 2.0) * 5


def test_of_values_that_belong_to_one_step_the_last_counts():
    """Those before the first step belong to it; those after the last are out; a second series fills gaps only."""
    run = recorded(moments(*range(11)), most=4)  # blocks that end at 3, 6, 9, 10
    run = run.measuring("loss", np.array([0, 2, 3, 5, 12]), np.array([9.0, 8.0, 7.0, 6.0, 5.0]))
    assert run.metrics == {3: {"loss": 7.0}, 6: {"loss": 6.0}}
    run = run.measuring("loss", np.array([4, 10]), np.array([1.0, 2.0])).measuring(
        "acc", np.array([10]), np.array([0.5])
    )
    assert run.metrics == {3: {"loss": 7.0}, 6: {"loss": 6.0}, 10: {"loss": 2.0, "acc": 0.5}}
