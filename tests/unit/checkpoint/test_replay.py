"""Runs gone through again with other policies."""

from __future__ import annotations

import dataclasses
import math
import random
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.analytics.objective import Objective
from model_checkpoint.analytics.save_interval import daly_interval
from model_checkpoint.checkpoint.recording import Recording
from model_checkpoint.checkpoint.replay import mean_outcome, random_failures, replay
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


def test_a_run_that_fails_before_it_saves_is_given_up():
    """It would go on for ever; what it has come to is no answer, and says so."""
    recording = Recording([1.0] * 100, save_s=0.0, failures_s=[10.0 * n for n in range(1, 10_000)])
    found = replay(recording, SaveWhen.every(steps=50), until_s=2000)
    assert not found.is_finished
    assert 2000 <= found.total_s < 2011
    assert replay(recording, SaveWhen.every(steps=50)).failures == 1000
    assert not mean_outcome([replay(Recording([1.0], save_s=0.0), SaveWhen.every(steps=50)), found]).is_finished


def test_a_run_that_fails_often_and_saves_is_not_given_up():
    """Five thousand failures, between which it gets on."""
    recording = Recording([1.0] * 20_000, save_s=0.0, failures_s=[4.5 * n for n in range(1, 5001)])
    assert replay(recording, SaveWhen.every(steps=1)).is_finished


def test_failures_in_the_replay_are_what_the_policy_sees():
    """Without a stated time between failures, a replayed run learns from its own: it went by a failure a day for ever.

    The first run fails at 600 s, so the second one saves about every 25 s.
    """
    recording = Recording([1.0] * 1500, save_s=0.5, failures_s=[600.0])
    learned = replay(recording, SaveWhen.young_daly())
    stated = replay(recording, SaveWhen.young_daly(mtbf_hours=24))
    assert learned.saves > 3 * stated.saves


@pytest.mark.parametrize(
    "fields",
    [
        {"step_s": [-1.0]},
        {"save_s": -1.0},
        {"failures_s": [2.0, 1.0]},
        {"restart_s": -math.inf},
        {"numbers": [1, 2]},
    ],
)
def test_recordings_that_make_no_sense_are_refused(fields):
    """At once."""
    with pytest.raises(ConfigurationError):
        Recording(**{"step_s": [1.0], "save_s": 1.0, **fields})


def test_a_run_that_goes_on_knows_nothing_of_the_time_before():
    """Like the process that resumes: it counts from its own beginning, and has not measured what a save costs.

    Saves are due at 30 s, then 30 s after the restart at 55.2 s, and again; what the budget measures is paid again.
    """
    recording = Recording([1.0] * 100, save_s=0.5, failures_s=[50.2], restart_s=5.0)
    assert replay(recording, SaveWhen.every(minutes=0.5)).saves == 1 + 2
    twice = Recording([1.0] * 30, save_s=1.0, failures_s=[12.0])
    assert replay(twice, SaveWhen.budget(0.01)).saves == 1 + 1


def test_failures_while_it_is_down_are_none():
    """Nothing runs that could fail."""
    found = replay(
        Recording([1.0] * 10, save_s=0.0, failures_s=[5.0, 6.0, 7.0], restart_s=10.0), SaveWhen.every(steps=2)
    )
    assert (found.failures, found.restarts_s) == (1, 10.0)
    assert found.total_s == found.lost_s + 10 + 10


def test_random_failures_come_as_often_as_they_should():
    """A Poisson process: the mean of the times between, and as much deviation; the same ones for a seed."""
    failures = random_failures(timedelta(seconds=50), 500_000, seed=3)
    gaps = np.diff([0.0, *failures])
    assert np.mean(gaps) == pytest.approx(50, rel=0.05)
    assert np.std(gaps) == pytest.approx(50, rel=0.05)
    assert failures == random_failures(timedelta(seconds=50), 500_000, seed=3)


@pytest.mark.parametrize(("save_s", "between_s"), [(1.0, 600), (8.0, 1800)])
def test_no_interval_beats_young_and_daly_s_by_much(save_s, between_s):
    """In failing runs, an interval a third of it, half, twice or three times it loses more, or hardly less."""
    best_s = daly_interval(timedelta(seconds=save_s), timedelta(seconds=between_s)).total_seconds()
    step_s, work_s = best_s / 12, 40 * between_s
    run = Recording([step_s] * int(work_s / step_s), save_s=save_s)
    runs = [
        dataclasses.replace(run, failures_s=random_failures(timedelta(seconds=between_s), 3 * work_s, seed))
        for seed in range(6)
    ]

    def overhead(factor):
        policy = SaveWhen.every(minutes=factor * best_s / 60)
        return mean_outcome([replay(one, policy) for one in runs]).overhead

    lost = {factor: overhead(factor) for factor in (1 / 3, 1 / 2, 1, 2, 3)}
    assert lost[1] <= 1.05 * min(lost.values())
    assert lost[1] < lost[1 / 3]
    assert lost[1] < lost[3]
    young_daly = mean_outcome([replay(one, SaveWhen.young_daly(mtbf_hours=between_s / 3600)) for one in runs])
    assert young_daly.overhead <= 1.1 * lost[1]


@given(
    st.lists(st.floats(0.1, 5), min_size=1, max_size=40),
    st.floats(0, 2),
    st.lists(st.floats(0, 100), max_size=4),
    st.sampled_from(["budget(0.1)", "young_daly(mtbf_hours=0.01)", "every(minutes=0.1) | improved('loss')"]),
)
def test_time_adds_up_by_every_policy(step_s, save_s, failures_s, policy):
    """Work, saves, lost work and restarts are all the time there is; a save that failed is among what is lost."""
    metrics = {step: {"loss": float(-step % 7)} for step in range(len(step_s))}
    recording = Recording(step_s, save_s, sorted(failures_s), restart_s=2.0, metrics=metrics)
    found = replay(recording, SaveWhen.parse(policy))
    assert found.total_s == pytest.approx(sum(step_s) + found.waited_s + found.lost_s + found.restarts_s)
    assert 0 <= found.overhead <= 1
