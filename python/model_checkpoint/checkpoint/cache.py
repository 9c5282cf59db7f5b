"""Recently loaded or saved checkpoints in memory.

An entry is never changed and never handed out: what goes in is copied, and what comes out is a copy of it, so that no
caller can change what another one gets. Tensors that share memory in the state share it in each copy too.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from model_checkpoint.errors import ConfigurationError

__all__ = ["CacheStats", "CheckpointCache"]


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Counts since the cache was made.

    Attributes:
        hits: Look-ups that found a living entry.
        misses: Look-ups that did not.
        evictions: Entries dropped to make room.
        expirations: Entries dropped because of their age.
    """

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    expirations: int = 0


@dataclass(frozen=True, slots=True)
class _Entry:
    state: Any
    nbytes: int
    expires_at: float


class CheckpointCache:
    """Keeps the most recently used states, up to a number of bytes and an age. Safe across threads.

    Args:
        max_bytes: The sum of all entries stays below or at this; a larger state is not kept.
        ttl_s: Seconds after which an entry is forgotten; None for never.
        clock: Seconds that only go forward; for tests.

    Raises:
        ConfigurationError: A bound is not above 0.
    """

    def __init__(
        self, max_bytes: int, ttl_s: float | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if max_bytes <= 0 or (ttl_s is not None and not ttl_s > 0):
            raise ConfigurationError(f"a cache of {max_bytes!r} bytes for {ttl_s!r} seconds holds nothing")
        self.max_bytes = max_bytes
        self.ttl_s = ttl_s
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # least recently used first
        self._nbytes = 0
        self._stats = CacheStats()

    def get(self, key: str) -> Any | None:
        """A copy of the state under ``key``, or None if it is not, or no longer, there."""
        with self._lock:
            self._expire()
            entry = self._entries.get(key)
            self._count(hits=entry is not None, misses=entry is None)
            if entry is None:
                return None
            self._entries.move_to_end(key)
        return copy.deepcopy(entry.state)  # outside of the lock: entries never change

    def put(self, key: str, state: Any, nbytes: int) -> bool:
        """Keep a copy of ``state``, which takes ``nbytes``; whether it has room at all."""
        if nbytes > self.max_bytes:
            return False
        entry = _Entry(copy.deepcopy(state), nbytes, self._clock() + (self.ttl_s or float("inf")))
        with self._lock:
            self._expire()
            self._drop(key)
            while self._nbytes + nbytes > self.max_bytes:
                self._drop(next(iter(self._entries)))
                self._count(evictions=1)
            self._entries[key] = entry
            self._nbytes += nbytes
        return True

    def discard(self, key: str) -> None:
        """Forget one entry, if it is there."""
        with self._lock:
            self._drop(key)

    def clear(self) -> None:
        """Forget everything but the counts."""
        with self._lock:
            self._entries.clear()
            self._nbytes = 0

    @property
    def nbytes(self) -> int:
        """Sum of all entries, in bytes."""
        return self._nbytes

    @property
    def stats(self) -> CacheStats:
        return self._stats

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        with self._lock:
            self._expire()
            return key in self._entries

    def _expire(self) -> None:
        now = self._clock()
        for key in [key for key, entry in self._entries.items() if entry.expires_at <= now]:
            self._drop(key)
            self._count(expirations=1)

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        self._nbytes -= entry.nbytes if entry else 0

    def _count(self, *, hits: int = 0, misses: int = 0, evictions: int = 0, expirations: int = 0) -> None:
        old = self._stats
        self._stats = CacheStats(
            old.hits + hits, old.misses + misses, old.evictions + evictions, old.expirations + expirations
        )
