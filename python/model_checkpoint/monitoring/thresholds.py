"""When somebody wants to hear that something is slow: small frozen values, each a limit and how it is measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from model_checkpoint.errors import ConfigurationError
from model_checkpoint.monitoring.timing import OperationTiming

__all__ = ["Past", "PercentileAbove", "SlowerThan", "StallAbove", "Threshold", "ThroughputBelow"]


@dataclass(frozen=True, slots=True)
class Past:
    """What a threshold may know besides the operation that has just ended.

    Attributes:
        previous: The operation of the same kind before it; None for the first.
        count: How many of its kind there were, it included.
        percentile: The duration that so many percent of its kind do not exceed, in seconds; None without percentiles.
    """

    previous: OperationTiming | None
    count: int
    percentile: Callable[[float], float] | None


class Threshold(Protocol):
    """A limit for operations of one kind."""

    @property
    def kind(self) -> str:
        """Of which kind: ``"save"``, ``"load"``, ``"verify"``."""

    @property
    def limit(self) -> float:
        """What must not be exceeded, or, for a throughput, not be fallen short of."""

    @property
    def unit(self) -> str:
        """What the limit counts."""

    @property
    def is_lasting(self) -> bool:
        """Whether it measures more than one operation, so that it stays exceeded for a while and is told of once."""

    def exceeded_by(self, timing: OperationTiming, past: Past) -> float | None:
        """What was measured, if that is beyond the limit; else None."""

    def __str__(self) -> str:
        """What it demands, in words."""


@dataclass(frozen=True, slots=True)
class SlowerThan:
    """An operation takes longer than some seconds.

    Args:
        kind: Of which kind.
        limit: Seconds.

    Raises:
        ConfigurationError: The limit is no positive number.
    """

    kind: str
    limit: float

    @property
    def unit(self) -> str:
        return "s"

    @property
    def is_lasting(self) -> bool:
        return False

    def __post_init__(self) -> None:
        _check_limit(self)

    def exceeded_by(self, timing: OperationTiming, past: Past) -> float | None:  # noqa: ARG002 - of the protocol
        return timing.seconds if timing.seconds > self.limit else None

    def __str__(self) -> str:
        return f"a {self.kind} takes at most {self.limit:g} s"


@dataclass(frozen=True, slots=True)
class PercentileAbove:
    """A percentile of all operations of a kind is above some seconds. It is told of when it gets there.

    Args:
        kind: Of which kind.
        percent: Which percentile, between 0 and 100.
        limit: Seconds.
        least: From how many operations on; of a few, high percentiles say nothing.

    Raises:
        ConfigurationError: The limit is no positive number, or there is no such percentile.
    """

    kind: str
    percent: float
    limit: float
    least: int = 20

    @property
    def unit(self) -> str:
        return "s"

    @property
    def is_lasting(self) -> bool:
        return True

    def __post_init__(self) -> None:
        _check_limit(self)
        if not 0 < self.percent <= 100:
            raise ConfigurationError(f"{self.percent} is no percentile; it must be above 0 and at most 100")

    def exceeded_by(self, timing: OperationTiming, past: Past) -> float | None:  # noqa: ARG002 - of the protocol
        if past.percentile is None or past.count < self.least:
            return None
        measured = past.percentile(self.percent)
        return measured if measured > self.limit else None

    def __str__(self) -> str:
        return f"{self.percent:g}% of all {self.kind}s take at most {self.limit:g} s"


@dataclass(frozen=True, slots=True)
class ThroughputBelow:
    """An operation moves fewer bytes in a second than it should.

    Args:
        kind: Of which kind.
        limit: Bytes per second.
        least_bytes: From which size on; small states are all overhead.

    Raises:
        ConfigurationError: The limit is no positive number.
    """

    kind: str
    limit: float
    least_bytes: int = 64 * 1024 * 1024

    @property
    def unit(self) -> str:
        return "B/s"

    @property
    def is_lasting(self) -> bool:
        return False

    def __post_init__(self) -> None:
        _check_limit(self)

    def exceeded_by(self, timing: OperationTiming, past: Past) -> float | None:  # noqa: ARG002 - of the protocol
        measured = timing.bytes_per_s
        if measured is None or timing.nbytes < self.least_bytes:
            return None
        return measured if measured < self.limit else None

    def __str__(self) -> str:
        return f"a {self.kind} moves at least {self.limit:g} B/s"


@dataclass(frozen=True, slots=True)
class StallAbove:
    """Training waits for saves for more than a share of its time, counted from the begin of one save to the next.

    Args:
        limit: The share: 0.02 is 2%.

    Raises:
        ConfigurationError: The limit is no positive number.
    """

    limit: float

    @property
    def kind(self) -> str:
        return "save"

    @property
    def unit(self) -> str:
        return "of the time"

    @property
    def is_lasting(self) -> bool:
        return False

    def __post_init__(self) -> None:
        _check_limit(self)

    def exceeded_by(self, timing: OperationTiming, past: Past) -> float | None:
        if past.previous is None or timing.stall_s is None:
            return None
        between_s = (timing.at - past.previous.at).total_seconds()
        if between_s <= 0.0:  # the clock went back
            return None
        share = min(1.0, timing.stall_s / between_s)
        return share if share > self.limit else None

    def __str__(self) -> str:
        return f"training waits for saves for at most {self.limit:.3g} of its time"


def _check_limit(threshold: Threshold) -> None:
    limit = threshold.limit
    if not 0.0 < limit < math.inf:
        raise ConfigurationError(f"the limit of {type(threshold).__name__} is {limit!r}; it must be a positive number")
