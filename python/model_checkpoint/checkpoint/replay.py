"""What a policy would have cost: recorded runs, gone through again with other decisions."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import fmean

from model_checkpoint.analytics.objective import Objective
from model_checkpoint.analytics.save_interval import FailureRecord, RunStart
from model_checkpoint.checkpoint.recording import Recording
from model_checkpoint.checkpoint.save_when import Moment, SaveHistory, SaveWhen

__all__ = ["Outcome", "mean_outcome", "random_failures", "replay"]

_IN_VAIN = 1000  # failures since the last save: one try in a hundred that gets there would have, by now
_START = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy did in a recording, or on the average in several.

    Attributes:
        policy: Its text.
        saves: How many saves it asked for, those included whose work was lost later.
        failures: How many failures there were.
        waited_s: What the saves have cost, in seconds.
        lost_s: How long it did steps again that had been done before a failure.
        restarts_s: How long restarts took.
        total_s: How long it all took.
        is_finished: Whether it came to the end of the recording; else this is what there was until it was given up.
    """

    policy: str
    saves: float
    failures: float
    waited_s: float
    lost_s: float
    restarts_s: float
    total_s: float
    is_finished: bool = True

    @property
    def overhead(self) -> float:
        """The share of the time that went into saves and repeated steps."""
        return (self.waited_s + self.lost_s) / self.total_s if self.total_s else 0.0


def mean_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    """The mean of what one policy did in several recordings, at least one."""
    names = ("saves", "failures", "waited_s", "lost_s", "restarts_s", "total_s")
    saves, failures, waited_s, lost_s, restarts_s, total_s = (
        fmean(getattr(outcome, name) for outcome in outcomes) for name in names
    )
    is_finished = all(outcome.is_finished for outcome in outcomes)
    return Outcome(outcomes[0].policy, saves, failures, waited_s, lost_s, restarts_s, total_s, is_finished)


def random_failures(between: timedelta, until_s: float, seed: int) -> tuple[float, ...]:
    """When a run might fail: as machines do, at any moment as likely as at any other (a Poisson process).

    Args:
        between: The mean time between two failures.
        until_s: Until when, in seconds of running time.
        seed: The same seed gives the same failures.
    """
    rng, at, found = random.Random(seed), 0.0, list[float]()  # noqa: S311 - a simulation
    while (at := at + rng.expovariate(1 / between.total_seconds())) < until_s:
        found.append(at)
    return tuple(found)


def replay(
    recording: Recording, policy: SaveWhen, *, goal: Objective | None = None, until_s: float = math.inf
) -> Outcome:
    """Go through a recording, saving when a policy says so, and going back to the last save at each failure.

    Args:
        recording: The run.
        policy: When to save; it is asked after each step.
        goal: What ``SaveWhen.improved()`` looks at.
        until_s: When to give up, in seconds of running time. With failures that come more often than saves, a run never
            ends; it is also given up when it has failed a thousand times without saving.
    """
    policy.check(None if goal is None else goal.metric)
    run = _Run(recording, policy, goal)
    while run.at < len(recording.step_s):
        if run.now >= until_s or run.in_vain >= _IN_VAIN:
            return run.outcome(is_finished=False)
        run.advance()
    return run.outcome(is_finished=True)


class _Run:
    """One go through a recording.

    Attributes:
        at: Which step is next, counted from 0.
        now: The running time, in seconds.
        in_vain: How often it has failed since it saved.
    """

    def __init__(self, recording: Recording, policy: SaveWhen, goal: Objective | None) -> None:
        self.at = self.in_vain = 0
        self.now = 0.0
        self._recording, self._policy, self._goal = recording, policy, goal
        self._numbers = recording.numbers or range(len(recording.step_s))
        self._failures = list(reversed(recording.failures_s))
        self._waited = self._lost = self._done_since_save = 0.0
        self._saved = self._saves = self._failed = 0
        self._saved_at: datetime | None = None
        self._history = SaveHistory(_START, begun_at=_START, failed=FailureRecord().after(RunStart(_START)))

    def advance(self) -> None:
        """Do the next step, and save after it if that is due; a failure before the end of either undoes both."""
        seconds, number = self._recording.step_s[self.at], self._numbers[self.at]
        metrics = self._recording.metrics.get(number, {})
        is_due = self._policy.decide(self._history, Moment(number, metrics, self._time(seconds), self._goal)).answer
        wait = self._recording.save_s if is_due else 0.0
        if self._failures and self._failures[-1] <= self.now + seconds + wait:
            self._fail()
            return
        self.now += seconds + wait
        self._done_since_save += seconds
        self.at += 1
        if is_due:
            self._save(number, metrics, wait)

    def _save(self, number: int, metrics: Mapping[str, float], wait: float) -> None:
        self._saves += 1
        self.in_vain = 0
        self._waited += wait
        self._saved, self._done_since_save = self.at, 0.0
        self._saved_at = self._time()
        self._history = self._history.after(number, metrics, self._saved_at, wait=timedelta(seconds=wait))

    def _fail(self) -> None:
        failed_at = self._failures.pop()
        self._failed += 1
        self.in_vain += 1
        self._lost += self._done_since_save + max(failed_at - self.now, 0.0)
        self.now = max(failed_at, self.now) + self._recording.restart_s
        self.at, self._done_since_save = self._saved, 0.0
        while self._failures and self._failures[-1] <= self.now:  # while it was down
            self._failures.pop()
        self._resume()

    def _resume(self) -> None:
        """The process that goes on knows the checkpoints and the starts, and nothing of what saves have cost."""
        known, now = self._history, self._time()
        self._history = SaveHistory(
            now,
            self._numbers[self._saved - 1] if self._saved else None,
            known.lowest,
            known.highest,
            begun_at=now,
            metrics=known.metrics,
            failed=known.failed.after(RunStart(now, self._saved_at)),
        )

    def _time(self, later_s: float = 0.0) -> datetime:
        return _START + timedelta(seconds=self.now + later_s)

    def outcome(self, *, is_finished: bool) -> Outcome:
        restarts_s = self._failed * self._recording.restart_s
        return Outcome(
            str(self._policy), self._saves, self._failed, self._waited, self._lost, restarts_s, self.now, is_finished
        )
