"""How often to save: pure functions of what a save costs and how often a run fails."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from model_checkpoint.analytics.decision import Decision

__all__ = ["FailureRecord", "RunStart", "daly_interval", "interference", "within_budget"]


def daly_interval(save_cost: timedelta, between_failures: timedelta) -> timedelta:
    """How long to compute between two saves so that saving and losing work together cost least.

    Source: Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", 2006, equation 37;
    its first term is Young's, "A first order approximation to the optimum checkpoint interval", 1974.

    Args:
        save_cost: How long training waits for one save.
        between_failures: The mean time between two failures.
    """
    cost, between = save_cost.total_seconds(), between_failures.total_seconds()
    if cost >= 2 * between:
        return between_failures
    ratio = cost / (2 * between)
    seconds = math.sqrt(2 * cost * between) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - cost
    return timedelta(seconds=max(seconds, 0.0))


def within_budget(share: float, *, elapsed: timedelta, waited: timedelta, next_wait: timedelta) -> Decision:
    """Whether another save keeps the time that training waits for saves within a share of its time.

    Args:
        share: The share, as 0.02.
        elapsed: How long the run has gone on, waits included.
        waited: How long it has waited for saves.
        next_wait: How long it is going to wait for the next one.
    """
    total = elapsed + next_wait
    spent = (waited + next_wait) / total if total else 0.0
    fits = spent <= share
    return Decision(fits, (f"a save now would make waiting {spent:.2%} of the time; the budget is {share:.2%}",))


def interference(beside: Sequence[float], apart: Sequence[float], *, least: int = 5) -> float:
    """How many seconds a save in the background has cost the steps beside it.

    By how much the median of these is above that of other steps, times their number: a step that was slow for a reason
    of its own counts on neither side.

    Args:
        beside: How long each step took while the save was being written, without waiting for it, in seconds.
        apart: The same of steps while nothing was being saved.
        least: Of how many of the latter at least to conclude anything.
    """
    if not beside or len(apart) < least:
        return 0.0
    return max(statistics.median(beside) - statistics.median(apart), 0.0) * len(beside)


@dataclass(frozen=True, slots=True)
class RunStart:
    """The start of a process that trains.

    Attributes:
        at: When (UTC).
        saved_at: When the checkpoint that it resumed from was saved; None if it began from nothing.
    """

    at: datetime
    saved_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FailureRecord:
    """How often an experiment has failed, and how long it has run.

    A failure is a start from a checkpoint; a stop that was meant counts, too: nothing tells them apart. The time is
    what all runs together have run, each from its start to the last save that the next one resumed from.

    Attributes:
        failures: How often it has failed.
        ran: How long the runs before the present one have run.
        running_since: When the present one has started (UTC); None: there was none.
    """

    failures: int = 0
    ran: timedelta = timedelta()
    running_since: datetime | None = None

    @classmethod
    def of(cls, starts: Iterable[RunStart]) -> FailureRecord:
        """The record of all starts that are known, given oldest first."""
        return functools.reduce(FailureRecord.after, starts, cls())

    def after(self, start: RunStart) -> FailureRecord:
        """The record once another run has started."""
        ran = self.ran + self._present(start.saved_at or start.at)
        return FailureRecord(self.failures + (start.saved_at is not None), ran, start.at)

    def mean_time_between(self, *, now: datetime) -> timedelta | None:
        """The mean time between two failures; None if it has not failed.

        Time over failures, as usual for events that come at random; that the present run goes on is part of it.

        Args:
            now: The time (UTC), or when the last run has ended.
        """
        total = self.ran + self._present(now)
        return total / self.failures if self.failures and total else None

    def _present(self, end: datetime) -> timedelta:
        """How long the present run has run; nothing if the clock went back."""
        return timedelta() if self.running_since is None else max(end - self.running_since, timedelta())
