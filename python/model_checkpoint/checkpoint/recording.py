"""A run as it was recorded: how long its steps took, and what was measured."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_checkpoint.errors import ConfigurationError

__all__ = ["Recording", "Stall"]

_PAUSE = 50  # medians: a step that took longer, and a minute at least, is a program that was not running


@dataclass(frozen=True, slots=True)
class Stall:
    """A time in which training waited for a save.

    Attributes:
        at: Its begin (UTC).
        seconds: How long.
    """

    at: datetime
    seconds: float


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
        steps: ArrayLike,
        *,
        save_s: float,
        restart_s: float = 0.0,
        stalls: Iterable[Stall] = (),
        most: int | None = None,
    ) -> Self:
        """From when each step was logged: the ``time`` column of `MetricsReader.metrics`.

        What the recorded run has waited for its own saves is taken off. Where the program was not running, between two
        runs, the step counts as one of median length. That is taken to be so where a step took fifty times as long as
        the median, and a minute at least.

        Args:
            times: One moment for each step, as ``datetime64``, in UTC.
            steps: The number of each step.
            save_s: See the attributes.
            restart_s: The same.
            stalls: When the recorded run has waited for saves.
            most: How many steps there shall be at most: of more, several become one, which has the last one's number.
        """
        moments = np.asarray(times, dtype="datetime64[us]")
        if len(moments) < 2:
            return cls((), save_s, restart_s=restart_s)
        seconds = _without_pauses(_seconds_between(moments, stalls))
        numbers = np.asarray(steps, dtype=np.int64)[1:]
        size = 1 if most is None else -(-len(seconds) // most)
        firsts = np.arange(0, len(seconds), size)
        lasts = np.append(firsts[1:], len(seconds)) - 1
        step_s: list[float] = np.add.reduceat(seconds, firsts).tolist()
        return cls(tuple(step_s), save_s, restart_s=restart_s, numbers=tuple(numbers[lasts].tolist()))

    @property
    def work_s(self) -> float:
        """How long all steps take."""
        return sum(self.step_s)

    def measuring(self, name: str, steps: NDArray[np.int64], values: NDArray[np.float64]) -> Self:
        """The same with a series of values; of those that belong to one step the last one counts.

        Args:
            name: Which metric. One that the recording has already keeps its values where it has any.
            steps: The numbers of the steps at which it was measured, ascending.
            values: What was measured.
        """
        numbers = self.numbers or range(len(self.step_s))
        places = np.searchsorted(np.asarray(numbers, dtype=np.int64), steps)
        lasts = np.flatnonzero(np.diff(places, append=len(numbers)))
        found = {number: dict(metrics) for number, metrics in self.metrics.items()}
        for place, value in zip(places[lasts].tolist(), values[lasts].tolist(), strict=True):
            if place < len(numbers):
                found.setdefault(numbers[place], {}).setdefault(name, value)
        return replace(self, metrics=MappingProxyType(found))


def _seconds_between(moments: NDArray[np.datetime64], stalls: Iterable[Stall]) -> NDArray[np.float64]:
    """From each moment to the next, without what the run has waited for saves meanwhile."""
    since_first = (moments - moments[0]).astype(np.int64) / 1e6
    waited = _waited_until(
        since_first, sorted((_seconds_from(moments[0], stall.at), stall.seconds) for stall in stalls)
    )
    found: NDArray[np.float64] = np.maximum(np.diff(since_first) - np.diff(waited), 0.0)
    return found


def _seconds_from(first: np.datetime64, at: datetime) -> float:
    return float((np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "us") - first) / np.timedelta64(1, "s"))


def _waited_until(moments: NDArray[np.float64], waits: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """How long the run had waited until each moment; ``waits`` are begins and seconds, in order."""
    if not waits:
        return np.zeros(len(moments))
    begins, seconds = (np.array(column) for column in zip(*waits, strict=True))
    ends = np.maximum.accumulate(begins + seconds)
    begins = np.maximum(begins, np.append(-np.inf, ends[:-1]))  # two processes that wait at once wait once
    waited = np.cumsum(ends - begins)
    places, totals = np.ravel([begins, ends], "F"), np.ravel([waited - (ends - begins), waited], "F")
    found: NDArray[np.float64] = np.interp(moments, places, totals)
    return found


def _without_pauses(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where nothing ran, a step of median length."""
    median = float(np.median(seconds))
    return np.where(seconds > max(_PAUSE * median, 60.0), median, seconds)
