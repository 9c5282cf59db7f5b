"""What to keep: small policies that combine by ``|`` and say why.

    Keep.last(3) | Keep.best(2) | Keep.every(10_000)
    Keep.last(3) | Keep.best(2, by=BestModelSelector.by("val_loss", where=["latency_ms < 50"]))
    Keep.pareto(Goal("val_loss"), Goal("latency_ms")) | Keep.where("accuracy > 0.9")

A union keeps what any of its parts keeps, with the reasons of all. What is protected whatever the policy says is in
`model_checkpoint.checkpoint.retention`. The text of a policy, as ``str`` gives it, is what ``experiment.json`` holds
and what a command line takes; `Keep.parse` reads it back.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from model_checkpoint.analytics.objective import Objective
from model_checkpoint.analytics.selection import check_mode
from model_checkpoint.checkpoint.policy_text import parse_policies
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.types import CheckpointInfo, Mode

if TYPE_CHECKING:  # numpy: policies that need it import it when they are made
    from model_checkpoint.analytics.best_model_selector import BestModelSelector
    from model_checkpoint.analytics.constraint import Constraint
    from model_checkpoint.analytics.criteria import Goal

__all__ = ["Keep"]


class Keep(ABC):
    """A retention policy: a frozen value, combined by ``|``.

    Subclass it for a rule of your own: `select` decides, ``str`` names the reason. Such a policy works in a manager; it
    is not read back from ``experiment.json``, so commands outside the program refuse to prune by it.
    """

    __slots__ = ()

    @staticmethod
    def last(count: int) -> Keep:
        """The newest ``count``, by commit order."""
        return _Last(_positive("last", count))

    @staticmethod
    def best(
        count: int, metric: str | None = None, mode: Mode | None = None, *, by: BestModelSelector | None = None
    ) -> Keep:
        """The best ``count`` by a metric, or by a selector; without either, by what the experiment monitors.

        Values that are attached to a checkpoint after its save count from then on.
        """
        count = _positive("best", count)
        if by is None:
            return _Best(count, _metric(metric), None if mode is None else check_mode(mode))
        if metric is not None or mode is not None:
            raise ConfigurationError("best() takes a metric and its mode, or by=")
        return _BestBy(count, Objective.by(by))

    @staticmethod
    def pareto(*goals: Goal) -> Keep:
        """The front: those that no other checkpoint beats in one of the metrics without losing in another."""
        from model_checkpoint.analytics.best_model_selector import BestModelSelector

        return _Front(Objective.by(BestModelSelector.pareto(*goals)))

    @staticmethod
    def where(*constraints: str | Constraint) -> Keep:
        """All that satisfy ``"latency_ms < 50"``; of several constraints, all of them."""
        from model_checkpoint.analytics.constraint import Constraint

        if not constraints:
            raise ConfigurationError("where() takes constraints such as 'latency_ms < 50'")
        return _Where(tuple(Constraint.parse(one) if isinstance(one, str) else one for one in constraints))

    @staticmethod
    def every(
        steps: int | None = None, *, hours: float | None = None, minutes: float | None = None, days: float | None = None
    ) -> Keep:
        """One for each ``steps`` steps, or for each span of time.

        Of steps: the first checkpoint at or after each multiple, and of equal steps the later one. Of time: the first
        one of each span, with spans counted from midnight UTC.
        """
        spans = {"hours": hours, "minutes": minutes, "days": days}
        given = [(unit, value) for unit, value in spans.items() if value is not None]
        if len(given) + (steps is not None) != 1:
            raise ConfigurationError("every() takes one of steps, hours, minutes, days")
        if steps is not None:
            return _EverySteps(_positive("every", steps))
        unit, value = given[0]
        return _EverySpan(_span(unit, value), unit)

    @staticmethod
    def all() -> Keep:
        """Everything."""
        return _All()

    @staticmethod
    def none() -> Keep:
        """Nothing but what is always protected."""
        return _Union(())

    @staticmethod
    def parse(text: str) -> Keep:
        """Read ``"last(3) | best(2, 'accuracy', 'max') | every(hours=6)"``.

        Raises:
            ConfigurationError: The text is not a policy.
        """
        policies = parse_policies(text, _POLICIES, example="last(3) | best(2)")
        return functools.reduce(Keep.__or__, policies)

    def __or__(self, other: Keep) -> Keep:
        if not isinstance(other, Keep):
            return NotImplemented
        parts = dict.fromkeys((*self.parts, *other.parts))
        return next(iter(parts)) if len(parts) == 1 else _Union(tuple(parts))

    @property
    def parts(self) -> tuple[Keep, ...]:
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
    def select(self, checkpoints: Sequence[CheckpointInfo], goal: Objective | None, /) -> Iterable[CheckpointInfo]:
        """The checkpoints to keep, of those given in commit order.

        Args:
            checkpoints: All committed ones of the experiment.
            goal: What makes one of them the best, if the experiment says so.
        """

    def reasons(
        self,
        checkpoints: Iterable[CheckpointInfo],
        *,
        monitor: str | None = None,
        mode: Mode = "min",
        selector: BestModelSelector | None = None,
    ) -> dict[str, tuple[str, ...]]:
        """For each id that is kept, the parts that keep it: ``{"1f3a…": ("last(3)", "best(2)")}``.

        Args:
            checkpoints: All committed ones of the experiment, in any order.
            monitor: The experiment's metric.
            mode: Whether less or more of it is better.
            selector: What says instead of them which is the best.
        """
        ordered = sorted(checkpoints, key=lambda checkpoint: checkpoint.seq)
        goal = None if monitor is None else Objective(monitor, mode, selector)
        found: dict[str, tuple[str, ...]] = {}
        for part in self.parts:
            for checkpoint in part.select(ordered, goal):
                found[checkpoint.id] = (*found.get(checkpoint.id, ()), str(part))
        return found


@dataclass(frozen=True, slots=True)
class _Last(Keep):
    count: int

    def __str__(self) -> str:
        return f"last({self.count})"

    def select(self, checkpoints: Sequence[CheckpointInfo], _goal: Objective | None, /) -> Iterable[CheckpointInfo]:
        return checkpoints[-self.count :]


@dataclass(frozen=True, slots=True)
class _Best(Keep):
    count: int
    metric: str | None
    mode: Mode | None

    def __str__(self) -> str:
        given = [repr(value) for value in (self.metric,) if value is not None]
        given += [f"mode={self.mode!r}"] if self.mode else []
        return f"best({', '.join([str(self.count), *given])})"

    def check(self, monitor: str | None) -> None:
        if self.metric is None and monitor is None:
            raise ConfigurationError(f"{self} needs a metric: give it one, or give the manager a monitor")

    def select(self, checkpoints: Sequence[CheckpointInfo], goal: Objective | None, /) -> Iterable[CheckpointInfo]:
        self.check(goal.metric if goal else None)
        if goal is not None and self.metric is None and self.mode is None:
            return goal.rank(checkpoints, limit=self.count)
        target = goal or Objective("")
        return Objective(self.metric or target.metric, self.mode or target.mode).rank(checkpoints, limit=self.count)


@dataclass(frozen=True, slots=True)
class _BestBy(Keep):
    count: int
    goal: Objective

    def __str__(self) -> str:
        return f"best({self.count}, by={self.goal.as_selector()})"

    def select(self, checkpoints: Sequence[CheckpointInfo], _goal: Objective | None, /) -> Iterable[CheckpointInfo]:
        return self.goal.rank(checkpoints, limit=self.count)


@dataclass(frozen=True, slots=True)
class _Front(Keep):
    goal: Objective

    def __str__(self) -> str:
        return str(self.goal.as_selector())

    def select(self, checkpoints: Sequence[CheckpointInfo], _goal: Objective | None, /) -> Iterable[CheckpointInfo]:
        return self.goal.rank(checkpoints)


@dataclass(frozen=True, slots=True)
class _Where(Keep):
    constraints: tuple[Constraint, ...]

    def __str__(self) -> str:
        return f"where({', '.join(repr(str(one)) for one in self.constraints)})"

    def select(self, checkpoints: Sequence[CheckpointInfo], _goal: Objective | None, /) -> Iterable[CheckpointInfo]:
        return [one for one in checkpoints if all(constraint.allows(one.metrics) for constraint in self.constraints)]


@dataclass(frozen=True, slots=True)
class _EverySteps(Keep):
    steps: int

    def __str__(self) -> str:
        return f"every({self.steps})"

    def select(self, checkpoints: Sequence[CheckpointInfo], _goal: Objective | None, /) -> Iterable[CheckpointInfo]:
        # Not `step % steps == 0`: a loop that saves at 499, 999, … would keep nothing. Because the first of a bucket
        # stays the first when others go, repeated pruning keeps the same ones.
        reached = [c for c in checkpoints if c.step >= self.steps or c.step == 0]
        return _firsts(reached, bucket=lambda c: c.step // self.steps, order=lambda c: (c.step, -c.seq))


@dataclass(frozen=True, slots=True)
class _EverySpan(Keep):
    length: float
    unit: str

    _SECONDS: ClassVar[dict[str, int]] = {"days": 86400, "hours": 3600, "minutes": 60}

    def __str__(self) -> str:
        return f"every({self.unit}={self.length})"

    def select(self, checkpoints: Sequence[CheckpointInfo], _goal: Objective | None, /) -> Iterable[CheckpointInfo]:
        seconds = self.length * self._SECONDS[self.unit]
        return _firsts(
            checkpoints,
            bucket=lambda c: c.created_at.timestamp() // seconds,
            order=lambda c: (c.created_at.timestamp(), c.seq),
        )


@dataclass(frozen=True, slots=True)
class _All(Keep):
    def __str__(self) -> str:
        return "all()"

    def select(self, checkpoints: Sequence[CheckpointInfo], _goal: Objective | None, /) -> Iterable[CheckpointInfo]:
        return checkpoints


@dataclass(frozen=True, slots=True)
class _Union(Keep):
    members: tuple[Keep, ...]

    def __str__(self) -> str:
        return " | ".join(map(str, self.members)) or "none()"

    @property
    def parts(self) -> tuple[Keep, ...]:
        return self.members

    def select(self, checkpoints: Sequence[CheckpointInfo], goal: Objective | None, /) -> Iterable[CheckpointInfo]:
        kept = {checkpoint.id for member in self.members for checkpoint in member.select(checkpoints, goal)}
        return [checkpoint for checkpoint in checkpoints if checkpoint.id in kept]


def _firsts(
    checkpoints: Iterable[CheckpointInfo],
    *,
    bucket: Callable[[CheckpointInfo], float],
    order: Callable[[CheckpointInfo], tuple[float, int]],
) -> list[CheckpointInfo]:
    """The first checkpoint of each bucket."""
    found: dict[float, CheckpointInfo] = {}
    for checkpoint in sorted(checkpoints, key=order):
        found.setdefault(bucket(checkpoint), checkpoint)
    return list(found.values())


def _positive(name: str, count: object) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ConfigurationError(f"{name}({count!r}): must be a whole number above 0")
    return count


def _metric(name: object) -> str | None:
    if name is None or (isinstance(name, str) and name):
        return name
    raise ConfigurationError(f"best(…, {name!r}): a metric is a name")


def _span(unit: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise ConfigurationError(f"every({unit}={value!r}): must be a number above 0")
    return value


_POLICIES: dict[str, Callable[..., Keep]] = {
    "last": Keep.last, "best": Keep.best, "every": Keep.every, "pareto": Keep.pareto, "where": Keep.where,
    "all": Keep.all, "none": Keep.none,
}  # fmt: skip
