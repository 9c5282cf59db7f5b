"""What a save costs against what it saves."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.analytics.save_interval import (
    FailureRecord,
    RunStart,
    daly_interval,
    interference,
    within_budget,
)

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def lost_share(interval_s, cost_s, between_s, rng, work_s=2_000_000):
    """Simulated: what share of the time is lost to saves and failures, that come as a Poisson process does."""
    done = at = 0.0
    next_failure = rng.expovariate(1 / between_s)
    while done < work_s:
        end = at + interval_s + cost_s
        if end <= next_failure:
            done += interval_s
            at = end
        else:
            at = next_failure
            next_failure = at + rng.expovariate(1 / between_s)
    return 1 - done / at


def test_young_s_interval_is_the_first_term():
    """For a cheap save, sqrt(2 * cost * time between failures): 10 s and a day are 22 minutes."""
    interval = daly_interval(10 * SECOND, 24 * HOUR)
    assert interval.total_seconds() == pytest.approx((2 * 10 * 86400) ** 0.5, rel=0.01)


@pytest.mark.parametrize("cost_s", [1, 30])
def test_no_other_interval_loses_much_less(cost_s):
    """In a simulation, a third or three times the interval loses more."""
    best = daly_interval(cost_s * SECOND, HOUR).total_seconds()
    lost = {factor: lost_share(best * factor, cost_s, 3600, random.Random(1)) for factor in (1 / 3, 1, 3)}
    assert lost[1] < lost[1 / 3]
    assert lost[1] < lost[3]


def test_a_save_that_takes_longer_than_failures_wait_is_no_interval():
    """Then the time between failures is all there is; the interval is never negative."""
    assert daly_interval(3 * HOUR, HOUR) == HOUR
    assert daly_interval(1.9 * HOUR, HOUR) >= timedelta(0)


def test_a_budget_is_kept():
    """Another save is allowed if, with it, the share is still kept; the reason has both numbers."""
    allowed = within_budget(0.02, elapsed=100 * SECOND, waited=SECOND, next_wait=SECOND)
    assert allowed.reasons == ("a save now would make waiting 1.98% of the time; the budget is 2.00%",)
    assert allowed
    assert not within_budget(0.02, elapsed=90 * SECOND, waited=SECOND, next_wait=SECOND)
    assert within_budget(0.02, elapsed=timedelta(0), waited=timedelta(0), next_wait=timedelta(0))


def at(seconds):
    return datetime(2026, 1, 1, tzinfo=UTC) + seconds * SECOND


def test_failures_are_seen_in_how_often_a_run_was_resumed():
    """Two resumes in 300 seconds of running, the present 50 included; the pauses between runs do not count."""
    starts = [RunStart(at(0)), RunStart(at(5000), saved_at=at(100)), RunStart(at(9000), saved_at=at(5150))]
    record = FailureRecord.of(starts)
    assert record.mean_time_between(now=at(9050)) == timedelta(seconds=150)
    assert record.mean_time_between(now=at(9350)) == timedelta(seconds=300)  # it goes on, and does not fail
    assert FailureRecord.of(starts[:1]).mean_time_between(now=at(50)) is None
    assert FailureRecord.of([]).mean_time_between(now=at(0)) is None


def test_what_is_known_only_from_a_resume_on_counts_from_there():
    """A catalog that was rebuilt knows no earlier start; a clock that goes back makes no negative time."""
    starts = [RunStart(at(100), saved_at=at(90)), RunStart(at(400), saved_at=at(300))]
    assert FailureRecord.of(starts).mean_time_between(now=at(600)) == timedelta(seconds=200)
    assert FailureRecord.of(starts).mean_time_between(now=at(0)) == timedelta(seconds=100)


@given(st.floats(0.01, 600), st.floats(60, 1e7))
def test_the_interval_is_where_the_expected_cost_is_least(cost_s, between_s):
    """Against a search for the minimum of the exact expectation (Daly 2006, equation 20), within a percent of it."""

    def lost(interval_s):
        return between_s * math.expm1((interval_s + cost_s) / between_s) / interval_s

    if cost_s > between_s / 4:
        return
    interval_s = daly_interval(cost_s * SECOND, between_s * SECOND).total_seconds()
    least = min(lost(interval_s * 1.02**power) for power in range(-150, 151))
    assert lost(interval_s) <= 1.01 * least


def test_interference_is_how_much_slower_the_steps_beside_a_save_are():
    """Medians: neither a single slow step nor a quick one says anything; without a comparison nothing is claimed."""
    assert interference([1.5, 1.5, 1.5, 90.0], [1.0] * 9 + [50.0]) == pytest.approx(4 * 0.5)
    assert interference([0.5, 0.5], [1.0] * 10) == 0
    assert interference([2.0], [1.0] * 4) == 0
    assert interference([], [1.0] * 10) == 0
