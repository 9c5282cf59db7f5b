"""When to save: small policies that combine by ``|`` and say why.

    SaveWhen.every(steps=500) | SaveWhen.every(minutes=10) | SaveWhen.improved()
    SaveWhen.budget(0.02) | SaveWhen.improved()

They are asked (`model_checkpoint.CheckpointManager.should_save`), never act by themselves.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from model_checkpoint.analytics.save_interval import daly_interval, mean_time_between_failures, within_budget
from model_checkpoint.analytics.selection import check_mode
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.types import CheckpointInfo, Mode

__all__ = ["Moment", "SaveHistory", "SaveWhen"]

_RECENT = 5
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
        waited: How long training has waited for saves in this run.
        waits: How long for each of the last five.
        between_failures: The mean time between two failures of the experiment so far; None before the first one.
    """

    last_at: datetime
    last_step: int | None = None
    lowest: Mapping[str, float] = field(default_factory=lambda: _NO_METRICS)
    highest: Mapping[str, float] = field(default_factory=lambda: _NO_METRICS)
    begun_at: datetime | None = None
    waited: timedelta = timedelta()
    waits: tuple[timedelta, ...] = ()
    between_failures: timedelta | None = None

    @property
    def next_wait(self) -> timedelta:
        """How long training is going to wait for the next save: the median of the last ones, nothing if unknown."""
        return sorted(self.waits)[len(self.waits) // 2] if self.waits else timedelta()

    @classmethod
    def of(cls, checkpoints: Iterable[CheckpointInfo], *, begun_at: datetime) -> SaveHistory:
        """The history of a run that begins now in an experiment that has these checkpoints."""
        known = tuple(checkpoints)
        between_failures = mean_time_between_failures(known)
        history = cls(last_at=begun_at, begun_at=begun_at, between_failures=between_failures)
        for checkpoint in known:
            history = history._with_metrics(checkpoint.metrics)
        return history

    def after(
        self, step: int, metrics: Mapping[str, float], at: datetime, *, wait: timedelta | None = None
    ) -> SaveHistory:
        """The history once a save of ``step`` has begun, for which training waited so long; None: it did not save."""
        saved = replace(self._with_metrics(metrics), last_step=step, last_at=at)
        if wait is None:
            return saved
        return replace(saved, waited=self.waited + wait, waits=(*self.waits, wait)[-_RECENT:])

    def _with_metrics(self, metrics: Mapping[str, float]) -> SaveHistory:
        numbers = {name: value for name, value in metrics.items() if not math.isnan(value)}
        lowest = {name: min(value, self.lowest.get(name, value)) for name, value in numbers.items()}
        highest = {name: max(value, self.highest.get(name, value)) for name, value in numbers.items()}
        return replace(self, lowest={**self.lowest, **lowest}, highest={**self.highest, **highest})


@dataclass(frozen=True, slots=True)
class Moment:
    """What a policy is asked about.

    Attributes:
        step: The step that training has reached.
        metrics: What is known of it.
        at: The time (UTC).
        monitor: The experiment's metric.
        mode: Whether less or more of it is better.
    """

    step: int
    metrics: Mapping[str, float]
    at: datetime
    monitor: str | None = None
    mode: Mode = "min"


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

        Without a metric: the manager's ``monitor`` and ``mode``. NaN and missing values are no improvement.
        """
        if not (math.isfinite(min_delta) and min_delta >= 0):
            raise ConfigurationError(f"improved(min_delta={min_delta!r}): must be a number of at least 0")
        return _Improved(metric, None if mode is None else check_mode(mode), min_delta)

    @staticmethod
    def budget(share: float) -> SaveWhen:
        """As often as possible while training waits for saves no more than a share of its time: 0.02 is 2 %.

        What the next save takes is expected from the last ones; the first one, which measures it, is due at once.
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
    def is_due(self, history: SaveHistory, moment: Moment) -> bool:
        """Whether this step is to be saved."""

    def should_save(
        self,
        history: SaveHistory,
        step: int,
        metrics: Mapping[str, float],
        now: datetime,
        *,
        monitor: str | None = None,
        mode: Mode = "min",
    ) -> tuple[str, ...]:
        """The parts by which this step is to be saved; empty if by none."""
        moment = Moment(step, metrics, now, monitor, mode)
        return tuple(str(part) for part in self.parts if part.is_due(history, moment))


@dataclass(frozen=True, slots=True)
class _EverySteps(SaveWhen):
    steps: int

    def __str__(self) -> str:
        return f"every(steps={self.steps})"

    def is_due(self, history: SaveHistory, moment: Moment) -> bool:
        last = history.last_step or 0
        # A step before the last one means that the loop started again: only its own multiples count.
        return moment.step // self.steps > (last // self.steps if last <= moment.step else 0)


@dataclass(frozen=True, slots=True)
class _EveryMinutes(SaveWhen):
    minutes: float

    def __str__(self) -> str:
        return f"every(minutes={self.minutes:g})"

    def is_due(self, history: SaveHistory, moment: Moment) -> bool:
        return (moment.at - history.last_at).total_seconds() >= 60 * self.minutes


@dataclass(frozen=True, slots=True)
class _Improved(SaveWhen):
    metric: str | None
    mode: Mode | None
    min_delta: float

    def __str__(self) -> str:
        return f"improved({self.metric or ''})"

    def check(self, monitor: str | None) -> None:
        if self.metric is None and monitor is None:
            raise ConfigurationError("improved() needs a metric: give it one, or give the manager a monitor")

    def is_due(self, history: SaveHistory, moment: Moment) -> bool:
        self.check(moment.monitor)
        metric = self.metric or str(moment.monitor)
        value = moment.metrics.get(metric, math.nan)
        if math.isnan(value):
            return False
        if (self.mode or moment.mode) == "min":
            return metric not in history.lowest or value < history.lowest[metric] - self.min_delta
        return metric not in history.highest or value > history.highest[metric] + self.min_delta


@dataclass(frozen=True, slots=True)
class _Budget(SaveWhen):
    share: float

    def __str__(self) -> str:
        return f"budget({self.share:g})"

    def is_due(self, history: SaveHistory, moment: Moment) -> bool:
        elapsed = moment.at - (history.begun_at or history.last_at)
        return within_budget(self.share, elapsed=elapsed, waited=history.waited, next_wait=history.next_wait).answer


@dataclass(frozen=True, slots=True)
class _YoungDaly(SaveWhen):
    mtbf_hours: float | None

    def __str__(self) -> str:
        return "young_daly()" if self.mtbf_hours is None else f"young_daly(mtbf_hours={self.mtbf_hours:g})"

    def is_due(self, history: SaveHistory, moment: Moment) -> bool:
        if not history.waits:
            return True
        stated = None if self.mtbf_hours is None else timedelta(hours=self.mtbf_hours)
        between = stated or history.between_failures or timedelta(days=1)
        return moment.at - history.last_at >= daly_interval(history.next_wait, between)


@dataclass(frozen=True, slots=True)
class _Any(SaveWhen):
    members: tuple[SaveWhen, ...]

    def __str__(self) -> str:
        return " | ".join(map(str, self.members))

    @property
    def parts(self) -> tuple[SaveWhen, ...]:
        return self.members

    def is_due(self, history: SaveHistory, moment: Moment) -> bool:
        return any(member.is_due(history, moment) for member in self.members)
