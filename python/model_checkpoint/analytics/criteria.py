"""Ways to say which checkpoint is the best. Each is a frozen value that orders candidates and says why.

A candidate that lacks one of the metrics, or has NaN for it, is never chosen. Of equals the later commit comes first.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model_checkpoint.analytics.candidates import Candidates, Indices
from model_checkpoint.analytics.curve import Floats, reduced
from model_checkpoint.analytics.selection import check_mode
from model_checkpoint.analytics.trend import smooth
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.types import Mode
from model_checkpoint.utils.short_number import short_number

__all__ = ["Chosen", "Criterion", "Custom", "Goal", "Lexicographic", "Pareto", "Reasons", "Single", "Weighted"]

_BLOCK = 300
"""So many dicts at a time: they stay in the CPU's cache, and the next ones take the memory of these."""

Chosen = NDArray[np.bool_]
Reasons = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Goal:
    """A metric, and which of its values are better.

    Attributes:
        metric: Its name.
        mode: Whether less (``"min"``) or more (``"max"``) is better.
        weight: How much it counts, in `Weighted`.
        tolerance: Which differences do not count, in `Lexicographic`.
    """

    metric: str
    mode: Mode = "min"
    weight: float = 1.0
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        check_mode(self.mode)
        if type(self.metric) is not str or not self.metric:
            raise ConfigurationError(f"a goal is about a metric by name, not {self.metric!r}")
        numbers = all(isinstance(number, int | float) for number in (self.weight, self.tolerance))
        if not (numbers and 0 < self.weight < math.inf and 0 <= self.tolerance < math.inf):
            raise ConfigurationError(f"{self!r}: weights are above 0, tolerances not below")

    def __str__(self) -> str:
        """As `model_checkpoint.analytics.selector_text` reads it."""
        mode = [] if self.mode == "min" else [repr(self.mode)]
        weight = [] if self.weight == 1 else [f"weight={short_number(self.weight)}"]
        tolerance = [] if self.tolerance == 0 else [f"tolerance={short_number(self.tolerance)}"]
        return f"Goal({', '.join([repr(self.metric), *mode, *weight, *tolerance])})"

    def losses(self, candidates: Candidates) -> Floats:
        """The values so that less is better."""
        values = candidates.column(self.metric)
        return -values if self.mode == "max" else values

    @property
    def superlative(self) -> str:
        return "least" if self.mode == "min" else "most"


class Criterion(ABC):
    """Orders candidates. Subclass it for a rule of your own."""

    __slots__ = ()

    @property
    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that it looks at."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """What it was made with, as text that is stored; a rule of your own cannot be read back from it."""
        return ()

    @property
    def leading(self) -> Goal:
        """The metric that it looks at first, for what shows or understands only one."""
        return Goal(self.metrics[0])

    @property
    def maker(self) -> str:
        """What makes it, of `BestModelSelector`."""
        return type(self).__name__.lower()

    def text(self, *more: str) -> str:
        """What it is, as a call of its maker with further arguments."""
        return f"{self.maker}({', '.join((*self.arguments, *more))})"

    @abstractmethod
    def order(self, candidates: Candidates, allowed: Chosen) -> Indices:
        """The places of those that can be chosen, best first.

        Args:
            candidates: All of them.
            allowed: Which of them satisfy the constraints.
        """

    @abstractmethod
    def reasons(self, candidates: Candidates, order: Indices) -> Reasons:
        """Tells why the one at ``order[place]`` has its place, for people."""


@dataclass(frozen=True, slots=True)
class Single(Criterion):
    """By one metric.

    Attributes:
        goal: The metric.
        smoothing: Over how many candidates a median is taken: its own value and those before it, by commit. A single
            lucky evaluation then does not win.
    """

    goal: Goal
    smoothing: int = 1

    def __post_init__(self) -> None:
        if type(self.smoothing) is not int or self.smoothing < 1:
            raise ConfigurationError(f"smoothing is over a whole number of candidates above 0, not {self.smoothing!r}")

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.goal.metric,)

    @property
    def leading(self) -> Goal:
        return self.goal

    @property
    def maker(self) -> str:
        return "by"

    @property
    def arguments(self) -> tuple[str, ...]:
        smoothing = [f"smoothing={self.smoothing}"] if self.smoothing > 1 else []
        return (repr(self.goal.metric), repr(self.goal.mode), *smoothing)

    def order(self, candidates: Candidates, allowed: Chosen) -> Indices:
        losses = self.losses(candidates)
        return _sorted(candidates, allowed & ~np.isnan(losses), losses)

    def reasons(self, candidates: Candidates, order: Indices) -> Reasons:
        values = (self.losses(candidates) * (-1 if self.goal.mode == "max" else 1))[order].tolist()

        def why(place: int) -> str:
            own, best = f"{self.name} {values[place]:.6g}", values[0]
            if place:
                behind = abs(values[place] - best)
                return f"{own}, {behind:.3g} behind the best" if values[place] != best else f"{own}, as the best"
            runner_up = f"; the next is {values[1]:.6g}" if len(order) > 1 else ""
            return f"{own} is the {self.goal.superlative} of {len(order)}{runner_up}"

        return why

    @property
    def name(self) -> str:
        """What is compared, for people."""
        return self.goal.metric if self.smoothing == 1 else f"median of {self.smoothing} of {self.goal.metric}"

    def losses(self, candidates: Candidates) -> Floats:
        """The values, smoothed, so that less is better; NaN where there is none."""
        losses = self.goal.losses(candidates)
        if self.smoothing == 1:
            return losses
        return np.where(np.isnan(losses), math.nan, smooth(losses, method="median", window=self.smoothing))


@dataclass(frozen=True, slots=True)
class _OfGoals(Criterion):
    """By several metrics.

    Attributes:
        goals: Different ones, at least one.
    """

    goals: tuple[Goal, ...]

    def __post_init__(self) -> None:
        if not all(isinstance(goal, Goal) for goal in self.goals):
            raise ConfigurationError(f"{self.goals} are not all of the form Goal('val_loss', 'min')")
        if not self.goals or len(set(self.metrics)) < len(self.goals):
            raise ConfigurationError(f"goals are different metrics, at least one, not {self.metrics}")

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(goal.metric for goal in self.goals)

    @property
    def arguments(self) -> tuple[str, ...]:
        return tuple(map(str, self.goals))

    @property
    def leading(self) -> Goal:
        return self.goals[0]

    def _values(self, candidates: Candidates, index: np.int64) -> str:
        return ", ".join(f"{name} {candidates.column(name)[index]:.6g}" for name in self.metrics)


@dataclass(frozen=True, slots=True)
class Weighted(_OfGoals):
    """By the weighted sum of several metrics, each brought to a common scale first.

    Attributes:
        goals: The metrics, with their weights.
        scale: ``"range"``: 0 for the best candidate and 1 for the worst. ``"rank"``: the same of its place among them,
            so that outliers do not squeeze the others together. ``"deviation"``: in standard deviations from the mean.
    """

    scale: Literal["range", "rank", "deviation"] = "range"

    def __post_init__(self) -> None:
        _OfGoals.__post_init__(self)
        if self.scale not in _SCALES:
            raise ConfigurationError(f"scale is {self.scale!r}; it must be one of {', '.join(_SCALES)}")

    @property
    def arguments(self) -> tuple[str, ...]:
        scale = [f"scale={self.scale!r}"] if self.scale != "range" else []
        return (*map(str, self.goals), *scale)

    def order(self, candidates: Candidates, allowed: Chosen) -> Indices:
        scores = self._parts(candidates, allowed).sum(axis=0)
        return _sorted(candidates, allowed & ~np.isnan(scores), scores)

    def reasons(self, candidates: Candidates, order: Indices) -> Reasons:
        allowed = np.zeros(len(candidates), dtype=bool)
        allowed[order] = True
        scores = self._parts(candidates, allowed)

        def why(place: int) -> str:
            parts = scores[:, order[place]]
            terms = " + ".join(f"{part:.3g} of {goal.metric}" for goal, part in zip(self.goals, parts, strict=True))
            return f"score {parts.sum():.3g} (less is better) = {terms}"

        return why

    def _parts(self, candidates: Candidates, allowed: Chosen) -> Floats:
        """What each goal adds to the score of each candidate; NaN for those that cannot be chosen."""
        losses = np.array([goal.losses(candidates) for goal in self.goals])
        usable = allowed & np.isfinite(losses).all(axis=0)
        parts = np.full(losses.shape, math.nan)
        weights = np.array([goal.weight for goal in self.goals])
        for row, weight in enumerate(weights / weights.sum()):
            if usable.any():
                parts[row, usable] = weight * _SCALES[self.scale](losses[row, usable])
        return parts


@dataclass(frozen=True, slots=True)
class Lexicographic(_OfGoals):
    """By the first metric; among those that are as good, by the second one; and so on.

    Values within a goal's tolerance of the best are as good as it; the next group begins with the best of the rest.
    """

    def order(self, candidates: Candidates, allowed: Chosen) -> Indices:
        losses = np.array([goal.losses(candidates) for goal in self.goals])
        return self._grouped(np.flatnonzero(allowed & ~np.isnan(losses).any(axis=0)), losses, 0)

    def _grouped(self, places: Indices, losses: Floats, goal: int) -> Indices:
        """Places in order by the goals from ``goal`` on; of equals the later one: candidates are in commit order."""
        if not any(one.tolerance for one in self.goals[goal:]):
            return places[np.lexsort((-places, *losses[goal:, places][::-1]))]
        places = places[np.argsort(losses[goal, places])]
        parts: list[Indices] = [places[:0]]
        while len(places):
            with np.errstate(over="ignore"):
                good = losses[goal, places[0]] + self.goals[goal].tolerance
            count = int(np.searchsorted(losses[goal, places], good, side="right"))
            parts.append(self._grouped(places[:count], losses, goal + 1))
            places = places[count:]
        return np.concatenate(parts)

    def reasons(self, candidates: Candidates, order: Indices) -> Reasons:
        ranks = ", then ".join(
            f"{goal.superlative} {goal.metric}" + (f" within {goal.tolerance:g}" if goal.tolerance else "")
            for goal in self.goals
        )
        return lambda place: f"{self._values(candidates, order[place])}: by {ranks}, of {len(order)}"


@dataclass(frozen=True, slots=True)
class Pareto(_OfGoals):
    """Those that no other candidate beats: at least as good in every metric, and better in one.

    The front is ordered by the distance to the ideal point, which has the best value of every metric, where the front's
    range of each metric counts as 1.
    """

    def order(self, candidates: Candidates, allowed: Chosen) -> Indices:
        losses = np.array([goal.losses(candidates) for goal in self.goals]).T
        front = _front(losses, np.flatnonzero(allowed & np.isfinite(losses).all(axis=1)))
        distances = np.full(len(candidates), math.nan)
        distances[front] = self._distances(losses[front])
        return _sorted(candidates, ~np.isnan(distances), distances)

    def reasons(self, candidates: Candidates, order: Indices) -> Reasons:
        def why(place: int) -> str:
            own, rank = self._values(candidates, order[place]), f"place {place + 1} of {len(order)}"
            return f"{own}: beaten by none; {rank} on the front by distance to the ideal"

        return why

    @staticmethod
    def _distances(losses: Floats) -> Floats:
        if not losses.size:
            return np.empty(0)
        distances: Floats = np.linalg.norm([_by_range(column) for column in losses.T], axis=0)
        return distances


@dataclass(frozen=True, slots=True)
class Custom(Criterion):
    """By a function of the user's.

    Attributes:
        score: Is given the metrics of one candidate by name, and returns a number, more being better; NaN leaves it
            out. It is not asked about candidates that lack one of the metrics.
        names: The metrics that it is given.
    """

    score: Callable[[Mapping[str, float]], float]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.names:
            raise ConfigurationError("a function of no metrics tells no checkpoints apart")

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.names

    @property
    def arguments(self) -> tuple[str, ...]:
        return (getattr(self.score, "__name__", "?"), *map(repr, self.names))

    def order(self, candidates: Candidates, allowed: Chosen) -> Indices:
        losses = np.full(len(candidates), math.nan)
        places = np.flatnonzero(allowed & ~np.isnan([candidates.column(name) for name in self.names]).any(axis=0))
        for some in np.array_split(places, places.size // _BLOCK + 1):
            losses[some] = [-score for score in self._scores(candidates, some)]
        return _sorted(candidates, ~np.isnan(losses), losses)

    def reasons(self, candidates: Candidates, order: Indices) -> Reasons:
        def why(place: int) -> str:
            (score,) = self._scores(candidates, order[place : place + 1])
            return f"score {score:.6g}, place {place + 1} of {len(order)}"

        return why

    def _scores(self, candidates: Candidates, places: Indices) -> list[float]:
        """What the function says of each of these places; column by column is the fastest way to so many dicts."""
        metrics: list[dict[str, float]] = [{} for _ in places]
        for name in self.names:
            for own, value in zip(metrics, candidates.column(name)[places].tolist(), strict=True):
                own[name] = value
        scores = []
        for own in metrics:
            score = self.score(own)
            try:
                scores.append(float(score))
            except (TypeError, ValueError):
                name = self.arguments[0]
                raise ConfigurationError(f"{name} gave {score!r:.40} for a score, which is no number") from None
        return scores


def _sorted(candidates: Candidates, chosen: Chosen, losses: Floats) -> Indices:
    places = np.flatnonzero(chosen)
    return places[np.lexsort((-candidates.seqs[places], losses[places]))]


def _by_range(losses: Floats) -> Floats:
    losses, _ = reduced(losses)
    spread = float(np.ptp(losses))
    scaled: Floats = (losses - losses.min()) / (spread or 1.0)
    return scaled


def _by_rank(losses: Floats) -> Floats:
    """Equal values have equal ranks, from 0 to 1."""
    distinct, ranks = np.unique(losses, return_inverse=True)
    scaled: Floats = ranks / max(len(distinct) - 1, 1)
    return scaled


def _by_deviation(losses: Floats) -> Floats:
    losses, _ = reduced(losses)
    deviation = float(losses.std())
    scaled: Floats = (losses - losses.mean()) / (deviation or 1.0)
    return scaled


_SCALES: dict[str, Callable[[Floats], Floats]] = {"range": _by_range, "rank": _by_rank, "deviation": _by_deviation}


def _front(losses: Floats, places: Indices) -> Indices:
    """The places that are not dominated: going by the sum of ranks, each one that is left strikes what it beats.

    Who beats another has the smaller sum, and comes first. Sums of the values themselves would be rounded.
    """
    ranks = [np.unique(column, return_inverse=True)[1] for column in losses[places].T]
    left = places[np.argsort(np.sum(ranks, axis=0), kind="stable")]
    front: list[int] = []
    while left.size:
        head = losses[left[0]]
        front.append(int(left[0]))
        beaten = (losses[left] >= head).all(axis=1) & (losses[left] > head).any(axis=1)
        left = left[1:][~beaten[1:]]
    return np.array(front, dtype=np.int64)
