"""Keeping work below a rate."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Throttle"]


class Throttle:
    """Waits so that, from the first call on, no more bytes pass than the rate allows. Idle time is not saved up.

    Args:
        bytes_per_s: The rate; None for no limit.
        clock: Tells the time in seconds.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        bytes_per_s: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()

    def passed(self, nbytes: int) -> None:
        """Wait until the bytes that have just passed have taken their time."""
        if self._bytes_per_s is None:
            return
        now = self._clock()
        started_at = max(self._free_at, now - nbytes / self._bytes_per_s)
        self._free_at = started_at + nbytes / self._bytes_per_s
        if self._free_at > now:
            self._sleep(self._free_at - now)
