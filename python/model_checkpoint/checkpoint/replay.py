"""What a policy would have cost: recorded runs, gone through again with other decisions."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from statistics import fmean
from types import MappingProxyType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from model_checkpoint.analytics.objective import Objective
from model_checkpoint.checkpoint.save_when import Moment, SaveHistory, SaveWhen
from model_checkpoint.errors import ConfigurationError

__all__ = ["Outcome", "Recording", "mean_outcome", "random_failures", "replay"]

_START = datetime(2000, 1, 1, tzinfo=UTC)
_PAUSE = 50  # medians: a step that took longer, and a minute at least, is a program that was not running


@dataclass(frozen=True, slots=True)
class Recording:
    """A run as it was, or as it might be.

    Attributes:
        step_s: How long each step takes, in seconds, without saves.
        save_s: What one save costs training, in seconds.
        failures_s: When the run fails, in seconds of running time (steps, waits and repeated steps), ascending.
        restart_s: How long a restart takes, in seconds, until the first step.
        metrics: What was measured, by step, for policies that look at it.
        numbers: The number of each step, ascending; None for 0, 1, 2 and so on.
    """

    step_s: Sequence[float]
    save_s: float
    failures_s: Sequence[float] = ()
    restart_s: float = 0.0
    metrics: Mapping[int, Mapping[str, float]] = field(default_factory=lambda: MappingProxyType({}))
    numbers: Sequence[int] | None = None

    def __post_init__(self) -> None:
        rising = all(before <= after for before, after in itertools.pairwise(self.failures_s))
        if not rising or min([*self.step_s, self.save_s, self.restart_s, *self.failures_s], default=0) < 0:
            raise ConfigurationError("a recording has no negative times, and its failures are in order")
        if self.numbers is not None and len(self.numbers) != len(self.step_s):
            raise ConfigurationError(
                f"a recording of {len(self.step_s)} steps has {len(self.numbers)} numbers of steps"
            )

    @classmethod
    def of_times(
        cls,
        times: ArrayLike,
        *,
        save_s: float,
        failures_s: Sequence[float] = (),
        restart_s: float = 0.0,
        steps: Sequence[int] | None = None,
        metrics: Mapping[int, Mapping[str, float]] = MappingProxyType({}),
    ) -> Self:
        """From when each step was logged: the ``time`` column of `MetricsReader.metrics`.

        Where the program was not running, between two runs, the step counts as one of median length. That is taken to
        be so where a step took fifty times as long as the median, and a minute at least.

        Args:
            times: One moment for each step, as ``datetime64``.
            save_s: See the attributes, as for the others.
            failures_s: The same.
            restart_s: The same.
            steps: The number of each step that was logged.
            metrics: What was measured, by these numbers.
        """
        moments = np.asarray(times, dtype="datetime64[us]")
        seconds = np.maximum(np.diff(moments).astype(np.float64) / 1e6, 0)
        if len(seconds):
            median = float(np.median(seconds))
            seconds = np.where(seconds > max(_PAUSE * median, 60.0), median, seconds)
        return cls(
            step_s=tuple(seconds.tolist()),
            save_s=save_s,
            failures_s=failures_s,
            restart_s=restart_s,
            metrics=metrics,
            numbers=None if steps is None else tuple(steps[1:]),
        )

    @property
    def work_s(self) -> float:
        """How long all steps take."""
        return sum(self.step_s)

    def coarser(self, most: int) -> Recording:
        """The same with at most so many steps: several become one, which has the number of the last of them."""
        size = -(-len(self.step_s) // most)
        if size <= 1:
            return self
        numbers = self.numbers or range(len(self.step_s))
        blocks = [range(first, min(first + size, len(self.step_s))) for first in range(0, len(self.step_s), size)]
        measured = {
            numbers[block[-1]]: {name: value for at in block for name, value in self._metrics_of(numbers[at])}
            for block in blocks
        }
        return replace(
            self,
            step_s=tuple(sum(self.step_s[at] for at in block) for block in blocks),
            metrics={number: metrics for number, metrics in measured.items() if metrics},
            numbers=tuple(numbers[block[-1]] for block in blocks),
        )

    def _metrics_of(self, number: int) -> Iterator[tuple[str, float]]:
        yield from self.metrics.get(number, {}).items()


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
    """

    policy: str
    saves: float
    failures: float
    waited_s: float
    lost_s: float
    restarts_s: float
    total_s: float

    @property
    def overhead(self) -> float:
        """The share of the time that went into saves and repeated steps."""
        return (self.waited_s + self.lost_s) / self.total_s if self.total_s else 0.0


def mean_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    """The mean of what one policy did in several recordings, at least one."""
    names = ("saves", "failures", "waited_s", "lost_s", "restarts_s", "total_s")
    means = (fmean(getattr(outcome, name) for outcome in outcomes) for name in names)
    return Outcome(outcomes[0].policy, *means)


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
    recording: Recording, policy: SaveWhen, *, goal: Objective | None = None, limit: int = 10_000_000
) -> Outcome:
    """Go through a recording, saving when a policy says so, and going back to the last save at each failure.

    Args:
        recording: The run.
        policy: When to save; it is asked after each step.
        goal: What ``SaveWhen.improved()`` looks at.
        limit: After how many steps, repeated ones included, to give up.

    Raises:
        ConfigurationError: The run never ends: it fails more often than it saves.
    """
    policy.check(None if goal is None else goal.metric)
    run = _Run(recording, policy, goal)
    for _ in range(limit):
        if run.at >= len(recording.step_s):
            return run.outcome()
        run.advance()
    raise ConfigurationError(f"with {policy} the run has not ended after {limit:,} steps: it fails before it saves")


class _Run:
    """One go through a recording.

    Attributes:
        at: Which step is next, counted from 0.
    """

    def __init__(self, recording: Recording, policy: SaveWhen, goal: Objective | None) -> None:
        self.at = 0
        self._recording, self._policy, self._goal = recording, policy, goal
        self._numbers = recording.numbers or range(len(recording.step_s))
        self._failures = list(reversed(recording.failures_s))
        self._now = self._waited = self._lost = self._done_since_save = 0.0
        self._saved = self._saves = self._failed = 0
        self._history = SaveHistory(last_at=_START, begun_at=_START)

    def advance(self) -> None:
        """Do the next step, and save after it if that is due; a failure before the end of either undoes both."""
        seconds, number = self._recording.step_s[self.at], self._numbers[self.at]
        metrics = self._recording.metrics.get(number, {})
        is_due = self._policy.decide(self._history, Moment(number, metrics, self._time(seconds), self._goal)).answer
        wait = self._recording.save_s if is_due else 0.0
        if self._failures and self._failures[-1] <= self._now + seconds + wait:
            self._fail()
            return
        self._now += seconds + wait
        self._done_since_save += seconds
        self.at += 1
        if is_due:
            self._save(number, metrics, wait)

    def _save(self, number: int, metrics: Mapping[str, float], wait: float) -> None:
        self._saves += 1
        self._waited += wait
        self._saved, self._done_since_save = self.at, 0.0
        self._history = self._history.after(number, metrics, self._time(), wait=timedelta(seconds=wait))

    def _fail(self) -> None:
        failed_at = self._failures.pop()
        self._failed += 1
        self._lost += self._done_since_save + max(failed_at - self._now, 0.0)
        self._now = max(failed_at, self._now) + self._recording.restart_s
        self.at, self._done_since_save = self._saved, 0.0
        while self._failures and self._failures[-1] <= self._now:  # while it was down
            self._failures.pop()
        self._resume()

    def _resume(self) -> None:
        """The process that goes on knows the checkpoints, and nothing of what they have cost."""
        known, now = self._history, self._time()
        last = self._numbers[self._saved - 1] if self._saved else None
        self._history = SaveHistory(now, last, known.lowest, known.highest, begun_at=now, metrics=known.metrics)

    def _time(self, later_s: float = 0.0) -> datetime:
        return _START + timedelta(seconds=self._now + later_s)

    def outcome(self) -> Outcome:
        restarts = self._failed * self._recording.restart_s
        return Outcome(str(self._policy), self._saves, self._failed, self._waited, self._lost, restarts, self._now)
