"""Runs gone through again with other policies."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.analytics.objective import Objective
from model_checkpoint.checkpoint.replay import Recording, replay
from model_checkpoint.checkpoint.save_when import SaveWhen
from model_checkpoint.errors import ConfigurationError


def test_without_failures_only_saves_cost():
    """Ten saves of two seconds in a thousand steps of one second."""
    found = replay(Recording([1.0] * 1001, save_s=2.0), SaveWhen.every(steps=100))
    assert (found.saves, found.failures, found.waited_s, found.lost_s) == (10, 0, 20.0, 0.0)
    assert found.total_s == 1021.0
    assert found.overhead == pytest.approx(20 / 1021)


def test_a_failure_costs_what_was_done_since_the_last_save():
    """Saved after step 100 (at 101 s), failed at 150.5 s: 49.5 s are done again."""
    found = replay(Recording([1.0] * 200, save_s=0.0, failures_s=[150.5], restart_s=10.0), SaveWhen.every(steps=100))
    assert (found.failures, found.lost_s) == (1, 49.5)
    assert found.total_s == 200 + 49.5 + 10


def test_a_failure_in_a_save_loses_the_step_too():
    """The save that was under way does not count."""
    found = replay(Recording([1.0] * 3, save_s=5.0, failures_s=[3.0]), SaveWhen.every(steps=1))
    assert found.lost_s == 3.0
    assert found.saves == 2


@given(
    st.lists(st.floats(0.1, 5), min_size=1, max_size=60),
    st.floats(0, 3),
    st.lists(st.floats(0, 200), max_size=5),
    st.integers(1, 10),
)
def test_time_is_work_and_waits_and_losses_and_restarts(step_s, save_s, failures_s, every):
    """Nothing else, however it fails."""
    recording = Recording(step_s, save_s, sorted(failures_s), restart_s=1.0)
    found = replay(recording, SaveWhen.every(steps=every))
    parts = sum(step_s) + found.waited_s + found.lost_s
    assert parts <= found.total_s + 1e-6
    assert found.total_s <= parts + found.failures * 1.0 + 1e-6


def test_young_daly_loses_less_than_guesses():
    """Over twenty runs that fail about once an hour, its overhead is below that of saving far more or less often."""
    policies = [SaveWhen.young_daly(mtbf_hours=1), SaveWhen.every(minutes=0.1), SaveWhen.every(minutes=30)]
    overhead = dict.fromkeys(map(str, policies), 0.0)
    for seed in range(20):
        rng, at, failures = random.Random(seed), 0.0, []
        while at < 100_000:
            at += rng.expovariate(1 / 3600)
            failures.append(at)
        recording = Recording([5.0] * 4000, save_s=2.0, failures_s=failures, restart_s=30.0)
        for policy in policies:
            overhead[str(policy)] += replay(recording, policy).overhead / 20
    best, *others = overhead.values()
    assert best < min(others)


def test_a_budget_is_kept_in_a_recording():
    """As it would be in the run."""
    found = replay(Recording([0.5] * 5000, save_s=1.5), SaveWhen.budget(0.02))
    assert found.waited_s / found.total_s <= 0.02
    assert found.saves > 25


def test_improvements_are_seen_in_what_was_recorded():
    """Policies that look at metrics get those of the step."""
    metrics = {step: {"loss": 1 / (step + 1) if step < 5 else 1.0} for step in range(10)}
    recording = Recording([1.0] * 10, save_s=0.0, metrics=metrics)
    assert replay(recording, SaveWhen.improved(), goal=Objective("loss")).saves == 5
    with pytest.raises(ConfigurationError, match="monitor"):
        replay(recording, SaveWhen.improved())


def test_a_recording_is_made_from_logged_times():
    """A clock that goes back makes a step of no time, not a negative one."""
    times = np.array(["2026-01-01T00:00:00", "2026-01-01T00:00:02", "2026-01-01T00:00:01"], dtype="datetime64[us]")
    assert Recording.of_times(times, save_s=1.0).step_s == (2.0, 0.0)


def test_a_run_that_never_saves_in_time_is_refused():
    """It would go on for ever."""
    recording = Recording([1.0] * 100, save_s=0.0, failures_s=[10.0 * n for n in range(1, 10_000)])
    with pytest.raises(ConfigurationError, match="fails before it saves"):
        replay(recording, SaveWhen.every(steps=50), limit=10_000)


@pytest.mark.parametrize(
    "fields", [{"step_s": [-1.0]}, {"save_s": -1.0}, {"failures_s": [2.0, 1.0]}, {"restart_s": -math.inf}]
)
def test_recordings_that_make_no_sense_are_refused(fields):
    """At once."""
    with pytest.raises(ConfigurationError):
        Recording(**{"step_s": [1.0], "save_s": 1.0, **fields})
