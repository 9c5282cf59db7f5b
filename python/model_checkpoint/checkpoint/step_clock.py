"""How much a save in the background slows down the steps that training does meanwhile."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta

from model_checkpoint.analytics.save_interval import interference

__all__ = ["StepClock"]

_KNOWN = 64  # steps without a save: enough for a median, few enough to follow a run that changes


class StepClock:
    """Times the steps of a loop from one `tick` to the next, apart from what they wait for saves.

    Args:
        clock: Gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._last: float | None = None
        self._was_saving = False
        self._waited_s = 0.0
        self._apart: deque[float] = deque(maxlen=_KNOWN)
        self._beside: list[float] = []

    def tick(self, *, is_saving: bool) -> timedelta:
        """Note that a step is done, and whether a save is being written right now.

        Returns:
            What the save that has ended since the last tick has cost the steps beside it; zero if none has.
        """
        now = self._clock()
        if self._last is not None:
            seconds = max(now - self._last - self._waited_s, 0.0)
            (self._beside if is_saving or self._was_saving else self._apart).append(seconds)
        self._last, self._was_saving, self._waited_s = now, is_saving, 0.0
        return timedelta() if is_saving else self._cost()

    def waited(self, seconds: float) -> None:
        """Note that training has waited for a save since the last tick, which is now being written."""
        self._waited_s += seconds
        self._was_saving = True

    def _cost(self) -> timedelta:
        found = interference(self._beside, self._apart)
        self._beside = []
        return timedelta(seconds=found)
