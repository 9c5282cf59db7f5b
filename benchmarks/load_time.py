"""How long a verified load takes: a model of it with as few numbers as possible.

    seconds = max(bytes / storage, bytes / (cores * rate of a core), bytes / bus) + fixed

The rate of a core is that of hashing. Where it also copies the bytes, or makes the pages that hold them, the times add
up: 1 / rate = 1 / hashing + 1 / copying + 1 / making pages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

INFINITE = math.inf


@dataclass(frozen=True, slots=True)
class LoadTime:
    """Rates in GB/s.

    Attributes:
        core: What one core hashes (and copies).
        storage: What storage delivers; infinite for the page cache, whose reads are the cores' copies.
        bus: What the bus to the device carries; infinite for loads that stay on the host.
        fixed: Seconds that a load of no bytes takes.
    """

    core: float
    storage: float = INFINITE
    bus: float = INFINITE
    fixed: float = 0.0

    def seconds(self, nbytes: int, cores: int) -> float:
        """Predicted seconds."""
        return max(nbytes / 1e9 / rate for rate in (self.storage, cores * self.core, self.bus)) + self.fixed

    def bound(self, cores: int) -> str:
        """What the load waits for."""
        rates = {"storage": self.storage, "cores": cores * self.core, "bus": self.bus}
        return min(rates, key=lambda name: rates[name])

    def cores_for(self, nbytes: int, seconds: float) -> int | None:
        """The fewest cores that load within ``seconds``; None if storage, bus or fixed cost forbid it."""
        left = seconds - self.fixed
        if left <= 0 or nbytes / 1e9 / min(self.storage, self.bus) > left:
            return None
        return math.ceil(nbytes / 1e9 / self.core / left)

    def rate_for(self, nbytes: int, seconds: float) -> float:
        """The GB/s that storage, the cores together and the bus must each reach."""
        left = seconds - self.fixed
        return nbytes / 1e9 / left if left > 0 else INFINITE


def in_turn(*rates: float) -> float:
    """The rate of a core that does several things to each byte, one after the other."""
    return 1 / sum(1 / rate for rate in rates)
