"""Where the time of one operation went, as a frozen value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from model_checkpoint.errors import ConfigurationError
from model_checkpoint.utils.clock import format_rfc3339
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["OperationTiming", "timing_json"]


@dataclass(frozen=True, slots=True)
class OperationTiming:
    """One save, load or verification, and its stages.

    Stages are named and ordered as in `monitoring.stages`, and hold wall seconds. They do not overlap: time in a
    stage that is entered inside of another one counts for the inner one alone, so that together they are at most
    ``seconds``; the rest belongs to no stage. Where several threads do several things at once (the core reads, hashes
    and writes in one pass), the wall time of the call is divided among its stages in proportion to the thread-seconds
    that each took.

    Attributes:
        kind: ``"save"``, ``"load"`` or ``"verify"``.
        experiment: Whose checkpoint; None outside of a store.
        checkpoint: Its ref (``"gpt2:500-1f3a9c2e"``); None outside of a store.
        step: Its step, or None.
        at: When it began, in UTC.
        seconds: How long all of it took, as wall time.
        stall_s: How long training waited for it, in seconds; None where that has no meaning.
        nbytes: How many bytes of state it was about.
        stages: Wall seconds by name of a stage; see above.

    Raises:
        ConfigurationError: A time or size is negative or not a number, or ``at`` has no time zone.
    """

    kind: str
    experiment: str | None
    checkpoint: str | None
    step: int | None
    at: datetime
    seconds: float
    stall_s: float | None
    nbytes: int
    stages: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise ConfigurationError(f"an operation began at {self.at.isoformat()}, which has no time zone")
        durations = {"seconds": self.seconds, "stall_s": self.stall_s, **self.stages}
        for name, value in durations.items():
            if value is not None and not (value >= 0.0 and math.isfinite(value)):
                raise ConfigurationError(f"{name} of an operation is {value}; it must be at least 0 and finite")
        if self.nbytes < 0:
            raise ConfigurationError(f"an operation was about {self.nbytes} bytes; they must be at least 0")

    @property
    def bytes_per_s(self) -> float | None:
        """Throughput; None if it took no time."""
        return self.nbytes / self.seconds if self.seconds > 0.0 else None

    @property
    def unaccounted_s(self) -> float:
        """Seconds that belong to no stage."""
        return max(0.0, self.seconds - math.fsum(self.stages.values()))


def timing_json(timing: OperationTiming) -> dict[str, JsonValue]:
    """An operation as JSON; timing logs hold the same (docs/format.md, section 4)."""
    return {
        "kind": timing.kind,
        "experiment": timing.experiment,
        "checkpoint": timing.checkpoint,
        "step": timing.step,
        "at": format_rfc3339(timing.at),
        "seconds": timing.seconds,
        "stall_s": timing.stall_s,
        "bytes": timing.nbytes,
        "stages": {stage: round(seconds, 7) for stage, seconds in timing.stages.items()},
    }
