"""What a policy would have cost: recorded runs, gone through again with other decisions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from model_checkpoint.checkpoint.save_when import SaveHistory, SaveWhen
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.types import Mode

__all__ = ["Outcome", "Recording", "replay"]

_START = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Recording:
    """A run as it was, or as it might be.

    Attributes:
        step_s: How long each step takes, in seconds, without saves.
        save_s: How long training waits for one save, in seconds.
        failures_s: When the run fails, in seconds of running time (steps, waits and repeated steps), ascending.
        restart_s: How long a restart takes, in seconds, until the first step.
        metrics: What was measured, by step, for policies that look at it.
    """

    step_s: Sequence[float]
    save_s: float
    failures_s: Sequence[float] = ()
    restart_s: float = 0.0
    metrics: Mapping[int, Mapping[str, float]] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        rising = all(before <= after for before, after in itertools.pairwise(self.failures_s))
        if not rising or min([*self.step_s, self.save_s, self.restart_s, *self.failures_s], default=0) < 0:
            raise ConfigurationError("a recording has no negative times, and its failures are in order")

    @classmethod
    def of_times(
        cls, times: ArrayLike, *, save_s: float, failures_s: Sequence[float] = (), restart_s: float = 0.0
    ) -> Self:
        """From when each step was logged: the ``time`` column of `MetricsReader.metrics`.

        Args:
            times: One moment for each step, as ``datetime64``.
            save_s: See the attributes, as for the others.
            failures_s: The same.
            restart_s: The same.
        """
        moments = np.asarray(times, dtype="datetime64[us]")
        seconds = np.maximum(np.diff(moments).astype(np.float64) / 1e6, 0)
        return cls(step_s=tuple(seconds.tolist()), save_s=save_s, failures_s=failures_s, restart_s=restart_s)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy did in a recording.

    Attributes:
        policy: Its text.
        saves: How many saves it asked for, those included whose work was lost later.
        failures: How many failures there were.
        waited_s: How long training waited for saves.
        lost_s: How long it did steps again, that had been done before a failure.
        total_s: How long it all took.
    """

    policy: str
    saves: int
    failures: int
    waited_s: float
    lost_s: float
    total_s: float

    @property
    def overhead(self) -> float:
        """The share of the time that went into saves and repeated steps."""
        return (self.waited_s + self.lost_s) / self.total_s if self.total_s else 0.0


def replay(
    recording: Recording, policy: SaveWhen, *, monitor: str | None = None, mode: Mode = "min", limit: int = 10_000_000
) -> Outcome:
    """Go through a recording, saving when a policy says so, and going back to the last save at each failure.

    Args:
        recording: The run.
        policy: When to save; it is asked after each step.
        monitor: The metric that ``SaveWhen.improved()`` looks at.
        mode: Which values of it are better.
        limit: After how many steps, repeated ones included, to give up.

    Raises:
        ConfigurationError: The run never ends: it fails more often than it saves.
    """
    policy.check(monitor)
    run = _Run(recording, policy, monitor, mode)
    for _ in range(limit):
        if run.step >= len(recording.step_s):
            return run.outcome()
        run.advance()
    raise ConfigurationError(f"with {policy} the run has not ended after {limit:,} steps: it fails before it saves")


class _Run:
    def __init__(self, recording: Recording, policy: SaveWhen, monitor: str | None, mode: Mode) -> None:
        self.step = 0
        self._recording, self._policy, self._monitor, self._mode = recording, policy, monitor, mode
        self._failures = list(reversed(recording.failures_s))
        self._now = self._waited = self._lost = 0.0
        self._saved_step, self._done_since_save = 0, 0.0
        self._saves = 0
        self._history = SaveHistory(last_at=_START, begun_at=_START)

    def advance(self) -> None:
        """Do the next step, and save after it if that is due; a failure before the end of either undoes both."""
        seconds = self._recording.step_s[self.step]
        metrics = self._recording.metrics.get(self.step, {})
        moment = _START + timedelta(seconds=self._now + seconds)
        reasons = self._policy.should_save(
            self._history, self.step, metrics, moment, monitor=self._monitor, mode=self._mode
        )
        wait = self._recording.save_s if reasons else 0.0
        if self._failures and self._failures[-1] <= self._now + seconds + wait:
            self._fail()
            return
        self._now += seconds + wait
        self._done_since_save += seconds
        self.step += 1
        if reasons:
            self._save(metrics, wait)

    def _save(self, metrics: Mapping[str, float], wait: float) -> None:
        self._saves += 1
        self._waited += wait
        self._saved_step, self._done_since_save = self.step, 0.0
        now = _START + timedelta(seconds=self._now)
        self._history = self._history.after(self.step - 1, metrics, now, wait=timedelta(seconds=wait))

    def _fail(self) -> None:
        failed_at = self._failures.pop()
        self._lost += self._done_since_save + max(failed_at - self._now, 0.0)
        self._now = max(failed_at, self._now) + self._recording.restart_s
        self.step, self._done_since_save = self._saved_step, 0.0
        while self._failures and self._failures[-1] <= self._now:  # while it was down
            self._failures.pop()

    def outcome(self) -> Outcome:
        failures = len(self._recording.failures_s) - len(self._failures)
        return Outcome(str(self._policy), self._saves, failures, self._waited, self._lost, self._now)
