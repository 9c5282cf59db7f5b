"""What a save costs against what it saves."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from model_checkpoint.analytics.save_interval import daly_interval, mean_time_between_failures, within_budget
from model_checkpoint.types import CheckpointInfo

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


def made(seq, at_s, parent):
    at = datetime(2026, 1, 1, tzinfo=UTC) + at_s * SECOND
    return CheckpointInfo(str(seq), "e", seq, seq, at, "p", 1, "d", "c", {}, parent=parent)


def test_failures_are_seen_in_what_runs_resumed_from():
    """Two resumes in 300 seconds of running: one each 150 seconds; the pauses between do not count."""
    checkpoints = [made(1, 0, None), made(2, 100, None), made(3, 5000, "2"), made(4, 5150, "2"), made(5, 9000, "4")]
    checkpoints.append(made(6, 9050, "4"))
    assert mean_time_between_failures(checkpoints) == timedelta(seconds=150)
    assert mean_time_between_failures(checkpoints[:2]) is None
    assert mean_time_between_failures([]) is None
