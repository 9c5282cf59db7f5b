"""When to save: small policies that combine by ``|`` and say why.

    SaveWhen.every(steps=500) | SaveWhen.every(minutes=10) | SaveWhen.improved()
    SaveWhen.budget(0.02) | SaveWhen.improved()

They are asked (`model_checkpoint.CheckpointManager.should_save`), never act by themselves.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from model_checkpoint.analytics.decision import Decision
from model_checkpoint.analytics.objective import Objective
from model_checkpoint.analytics.save_interval import (
    FailureRecord,
    RunStart,
    daly_interval,
    within_budget,
)
from model_checkpoint.analytics.selection import check_mode
from model_checkpoint.checkpoint.policy_text import parse_policies
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.types import CheckpointInfo, Mode
from model_checkpoint.utils.duration import format_duration
from model_checkpoint.utils.short_number import short_number

if TYPE_CHECKING:  # numpy
    from model_checkpoint.analytics.best_model_selector import BestModelSelector

__all__ = ["Moment", "SaveHistory", "SaveWhen"]

_RECENT = 5
_NEVER_FAILED = FailureRecord()
_NO_METRICS: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class SaveHistory:
    """What a policy knows of the past.

    Attributes:
        last_at: When this run saved last, or began (UTC).
        last_step: The step that it saved last, or resumed from; None before the first save.
        lowest: The least value of each metric among the experiment's checkpoints.
        highest: The greatest one.
        begun_at: When this run began (UTC); None: with ``last_at``.
        saved_at: When this run saved last (UTC); None if it has not.
        metrics: What is known of each of the experiment's checkpoints, oldest first.
        waited: What saves have cost training in this run: waiting, and steps that were slower beside them.
        waits: The same of each of the last five.
        failed: How often the experiment has failed so far.
    """

    last_at: datetime
    last_step: int | None = None
    lowest: Mapping[str, float] = field(default_factory=lambda: _NO_METRICS)
    highest: Mapping[str, float] = field(default_factory=lambda: _NO_METRICS)
    begun_at: datetime | None = None
    saved_at: datetime | None = None
    metrics: tuple[Mapping[str, float], ...] = ()
    waited: timedelta = timedelta()
    waits: tuple[timedelta, ...] = ()
    failed: FailureRecord = _NEVER_FAILED

    @property
    def next_wait(self) -> timedelta:
        """What the next save is going to cost: the median of the last ones, nothing if unknown."""
        return sorted(self.waits)[len(self.waits) // 2] if self.waits else timedelta()

    @property
    def dearest_wait(self) -> timedelta:
        """The most that the next save is going to cost, as far as the last ones tell."""
        return max(self.waits, default=timedelta())

    @classmethod
    def of(
        cls, checkpoints: Iterable[CheckpointInfo], *, begun_at: datetime, starts: Sequence[RunStart] = ()
    ) -> SaveHistory:
        """The history of a run that begins now in an experiment that has these checkpoints, and its starts so far."""
        known = sorted(checkpoints, key=lambda checkpoint: checkpoint.seq)
        history = cls(last_at=begun_at, begun_at=begun_at, failed=FailureRecord.of(starts))
        return history.knowing(*(checkpoint.metrics for checkpoint in known))

    def after(
        self, step: int, metrics: Mapping[str, float], at: datetime, *, wait: timedelta | None = None
    ) -> SaveHistory:
        """The history once a save of ``step`` has begun, for which training waited so long; None: it did not save."""
        saved = replace(self.knowing(metrics), last_step=step, last_at=at)
        if wait is None:
            return saved
        return replace(saved, saved_at=at, waited=self.waited + wait, waits=(*self.waits, wait)[-_RECENT:])

    def slowed(self, by: timedelta) -> SaveHistory:
        """The history once it is known by how much the last save has slowed down the steps beside it."""
        if not self.waits:
            return self
        return replace(self, waited=self.waited + by, waits=(*self.waits[:-1], self.waits[-1] + by))

    def overhead(self, now: datetime) -> float:
        """The share of the run's time that saves have cost."""
        elapsed = (now - (self.begun_at or self.last_at)).total_seconds()
        return self.waited.total_seconds() / elapsed if elapsed > 0 else 0.0

    def knowing(self, *metrics: Mapping[str, float]) -> SaveHistory:
        """The history once there are these values, of a checkpoint each."""
        lowest, highest = dict(self.lowest), dict(self.highest)
        for name, value in ((name, value) for one in metrics for name, value in one.items() if not math.isnan(value)):
            lowest[name] = min(value, lowest.get(name, value))
            highest[name] = max(value, highest.get(name, value))
        return replace(self, lowest=lowest, highest=highest, metrics=(*self.metrics, *filter(None, metrics)))


@dataclass(frozen=True, slots=True)
class Moment:
    """What a policy is asked about.

    Attributes:
        step: The step that training has reached.
        metrics: What is known of it.
        at: The time (UTC).
        goal: What makes a checkpoint the best, if the experiment says so.
        notice_at: When notice came that the process is going to be ended (UTC), or None.
    """

    step: int
    metrics: Mapping[str, float]
    at: datetime
    goal: Objective | None = None
    notice_at: datetime | None = None


class SaveWhen(ABC):
    """A policy that says whether a step is to be saved: a frozen value, combined by ``|``."""

    __slots__ = ()

    @staticmethod
    def every(*, steps: int | None = None, minutes: float | None = None, hours: float | None = None) -> SaveWhen:
        """At the first step at or after each multiple of ``steps``, or when the last save is so long ago."""
        given = [value for value in (steps, minutes, hours) if value is not None]
        if len(given) != 1:
            raise ConfigurationError("every() takes one of steps, minutes, hours")
        if isinstance(given[0], bool) or not (math.isfinite(given[0]) and given[0] > 0):
            raise ConfigurationError(f"every({given[0]!r}): must be a number above 0")
        if steps is None:
            return _EveryMinutes(float(minutes or 0) + 60 * float(hours or 0))
        if not isinstance(steps, int):
            raise ConfigurationError(f"every(steps={steps!r}): must be a whole number")
        return _EverySteps(steps)

    @staticmethod
    def improved(metric: str | None = None, mode: Mode | None = None, *, min_delta: float = 0.0) -> SaveWhen:
        """When a metric is better than in every checkpoint so far, by more than ``min_delta``.

        Without a metric: when it would be the best by the manager's ``monitor``, a criterion over several metrics
        included (then without ``min_delta``). NaN and missing values are no improvement.
        """
        if not (math.isfinite(min_delta) and min_delta >= 0):
            raise ConfigurationError(f"improved(min_delta={min_delta!r}): must be a number of at least 0")
        return _Improved(metric, None if mode is None else check_mode(mode), min_delta)

    @staticmethod
    def budget(share: float) -> SaveWhen:
        """As often as possible while saves cost training no more than a share of its time: 0.02 is 2 %.

        That is how long training waits for them, and by how much it is slower while they are written. The next save is
        expected to cost as much as the dearest of the last five; the first one, which measures it, is due at once.
        """
        if not 0 < share < 1:
            raise ConfigurationError(f"budget({share!r}): must be a number between 0 and 1")
        return _Budget(share)

    @staticmethod
    def young_daly(*, mtbf_hours: float | None = None) -> SaveWhen:
        """At the interval at which saving and repeating lost work together cost least; see `daly_interval`.

        What a save takes is measured; the first one is due at once.

        Args:
            mtbf_hours: The mean time between two failures; None for what the experiment's resumes tell, and a day
                until it was resumed for the first time.
        """
        if mtbf_hours is not None and not 0 < mtbf_hours < math.inf:
            raise ConfigurationError(f"young_daly(mtbf_hours={mtbf_hours!r}): must be a number above 0")
        return _YoungDaly(mtbf_hours)

    @staticmethod
    def notified() -> SaveWhen:
        """Once when notice came that the process is going to be ended: SIGTERM, with the manager's ``on_sigterm``."""
        return _Notified()

    @staticmethod
    def parse(text: str) -> SaveWhen:
        """Read ``"every(steps=500) | improved()"``, as ``str`` gives it.

        Raises:
            ConfigurationError: The text is not a policy.
        """
        return functools.reduce(SaveWhen.__or__, parse_policies(text, _POLICIES, example="every(steps=500)"))

    def __or__(self, other: SaveWhen) -> SaveWhen:
        if not isinstance(other, SaveWhen):
            return NotImplemented
        return _Any(tuple(dict.fromkeys((*self.parts, *other.parts))))

    @property
    def parts(self) -> tuple[SaveWhen, ...]:
        """The policies that it unites; itself, if it is one."""
        return (self,)

    def check(self, monitor: str | None) -> None:
        """Return if the policy can decide.

        Raises:
            ConfigurationError: It needs a metric, has none, and there is no ``monitor``.
        """
        for part in self.parts:
            if part is not self:
                part.check(monitor)

    @abstractmethod
    def decide(self, history: SaveHistory, moment: Moment) -> Decision:
        """Whether a step is to be saved, and why or why not."""


@dataclass(frozen=True, slots=True)
class _EverySteps(SaveWhen):
    steps: int

    def __str__(self) -> str:
        return f"every(steps={self.steps})"

    def decide(self, history: SaveHistory, moment: Moment) -> Decision:
        last = history.last_step or 0
        # A step before the last one means that the loop started again: only its own multiples count.
        passed = last // self.steps if last <= moment.step else 0
        reached = moment.step // self.steps
        if reached > passed:
            return Decision(True, (f"{self}: step {moment.step} has reached {reached * self.steps}",))
        return Decision(False, (f"{self}: due at step {(reached + 1) * self.steps}",))


@dataclass(frozen=True, slots=True)
class _EveryMinutes(SaveWhen):
    minutes: float

    def __str__(self) -> str:
        return f"every(minutes={short_number(self.minutes)})"

    def decide(self, history: SaveHistory, moment: Moment) -> Decision:
        return _after(self, history, moment, timedelta(minutes=self.minutes))


@dataclass(frozen=True, slots=True)
class _Improved(SaveWhen):
    metric: str | None
    mode: Mode | None
    min_delta: float

    def __str__(self) -> str:
        metric = [] if self.metric is None else [repr(self.metric)]
        mode = [] if self.mode is None else [f"mode={self.mode!r}"]
        min_delta = [f"min_delta={short_number(self.min_delta)}"] if self.min_delta else []
        return f"improved({', '.join([*metric, *mode, *min_delta])})"

    def check(self, monitor: str | None) -> None:
        if self.metric is None and monitor is None:
            raise ConfigurationError("improved() needs a metric: give it one, or give the manager a monitor")

    def decide(self, history: SaveHistory, moment: Moment) -> Decision:
        goal = moment.goal
        self.check(None if goal is None else goal.metric)
        if self.metric is None and goal is not None and goal.selector is not None:
            return self._by_criterion(goal.selector, history, moment)
        metric = self.metric or ("" if goal is None else goal.metric)
        mode = self.mode or ("min" if goal is None or self.metric not in (None, goal.metric) else goal.mode)
        value = moment.metrics.get(metric, math.nan)
        if math.isnan(value):
            return Decision(False, (f"{self}: there is no number for {metric}",))
        best = (history.lowest if mode == "min" else history.highest).get(metric)
        if best is None:
            return Decision(True, (f"{self}: {metric} {value:.6g} is the first",))
        is_better = value < best - self.min_delta if mode == "min" else value > best + self.min_delta
        return Decision(is_better, (f"{self}: {metric} {value:.6g}, the best so far {best:.6g}",))

    def _by_criterion(self, selector: BestModelSelector, history: SaveHistory, moment: Moment) -> Decision:
        from model_checkpoint.analytics.candidates import Candidates

        if self.min_delta:
            raise ConfigurationError(f"{self}: min_delta is for one metric, not for {selector}")
        names = selector.metrics
        missing = [name for name in names if math.isnan(moment.metrics.get(name, math.nan))]
        if missing:
            return Decision(False, (f"{self}: there is no number for {', '.join(missing)}",))
        known = (*history.metrics, moment.metrics)
        rows = [("", 0, seq, *(metrics.get(name) for name in names)) for seq, metrics in enumerate(known)]
        first = selector.rank(Candidates.of_rows(rows, names), limit=1)
        if first and first[0].seq == len(known) - 1:
            return Decision(True, (f"{self}: {first[0].why}",))
        return Decision(False, (f"{self}: not the best by {selector}",))


@dataclass(frozen=True, slots=True)
class _Budget(SaveWhen):
    share: float

    def __str__(self) -> str:
        return f"budget({short_number(self.share)})"

    def decide(self, history: SaveHistory, moment: Moment) -> Decision:
        if not history.waits:
            return Decision(True, (f"{self}: what a save costs is not known yet",))
        elapsed = moment.at - (history.begun_at or history.last_at)
        found = within_budget(self.share, elapsed=elapsed, waited=history.waited, next_wait=history.dearest_wait)
        return Decision(found.answer, tuple(f"{self}: {reason}" for reason in found.reasons))


@dataclass(frozen=True, slots=True)
class _YoungDaly(SaveWhen):
    mtbf_hours: float | None

    def __str__(self) -> str:
        return "young_daly()" if self.mtbf_hours is None else f"young_daly(mtbf_hours={short_number(self.mtbf_hours)})"

    def decide(self, history: SaveHistory, moment: Moment) -> Decision:
        if not history.waits:
            return Decision(True, (f"{self}: what a save costs is not known yet",))
        stated = None if self.mtbf_hours is None else timedelta(hours=self.mtbf_hours)
        between = stated or history.failed.mean_time_between(now=moment.at) or timedelta(days=1)
        return _after(self, history, moment, daly_interval(history.next_wait, between))


@dataclass(frozen=True, slots=True)
class _Notified(SaveWhen):
    def __str__(self) -> str:
        return "notified()"

    def decide(self, history: SaveHistory, moment: Moment) -> Decision:
        if moment.notice_at is None:
            return Decision(False, (f"{self}: nothing says that the process is going to be ended",))
        if history.saved_at is not None and history.saved_at >= moment.notice_at:
            return Decision(False, (f"{self}: saved since notice came",))
        return Decision(True, (f"{self}: the process is going to be ended",))


@dataclass(frozen=True, slots=True)
class _Any(SaveWhen):
    members: tuple[SaveWhen, ...]

    def __str__(self) -> str:
        return " | ".join(map(str, self.members))

    @property
    def parts(self) -> tuple[SaveWhen, ...]:
        return self.members

    def decide(self, history: SaveHistory, moment: Moment) -> Decision:
        """Yes with the reasons of those that say so; no with those of all."""
        found = [member.decide(history, moment) for member in self.members]
        answer = any(found)
        reasons = tuple(reason for one in found if one.answer is answer for reason in one.reasons)
        return Decision(answer, reasons)


def _after(policy: SaveWhen, history: SaveHistory, moment: Moment, interval: timedelta) -> Decision:
    """Whether the last save, or the beginning of the run, is so long ago."""
    ago, wanted = (moment.at - history.last_at).total_seconds(), interval.total_seconds()
    return Decision(ago >= wanted, (f"{policy}: {format_duration(max(ago, 0.0))} of {format_duration(wanted)}",))


_POLICIES: dict[str, Callable[..., SaveWhen]] = {
    "every": SaveWhen.every, "improved": SaveWhen.improved, "budget": SaveWhen.budget,
    "young_daly": SaveWhen.young_daly, "notified": SaveWhen.notified,
}  # fmt: skip
