"""What happens to checkpoints, as frozen values, and who may listen.

A listener is any object with `EventSink.emit`. Events are sent after the fact they report, from the thread in which it
happened (a background save reports from its own thread). A listener that raises is logged and changes nothing: no
save depends on who hears of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from model_checkpoint.types import CheckpointInfo

__all__ = [
    "CheckpointDamaged",
    "CheckpointLoaded",
    "CheckpointRestored",
    "CheckpointSaved",
    "CheckpointTrashed",
    "CheckpointVerified",
    "Event",
    "EventSink",
    "PerformanceThresholdExceeded",
    "RetentionFailed",
    "RetentionPlanned",
    "RunResumed",
    "SaveFailed",
    "SaveSkipped",
    "SaveStarted",
]


@dataclass(frozen=True, slots=True)
class SaveStarted:
    """A save has taken its copy, or begins to write from the tensors themselves."""

    experiment: str
    step: int
    nbytes: int
    background: bool


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    """A checkpoint is durable and in the catalog.

    Attributes:
        checkpoint: Which.
        stall_s: How long the caller of ``save`` waited, in seconds.
        seconds: How long the whole save took, in seconds.
        background: Whether it was written behind the training.
        best: Whether it is the best so far by the experiment's monitor.
        monitor: That metric, or None.
    """

    checkpoint: CheckpointInfo
    stall_s: float
    seconds: float
    background: bool
    best: bool
    monitor: str | None


@dataclass(frozen=True, slots=True)
class SaveFailed:
    """A save failed; nothing of it is visible."""

    experiment: str
    step: int
    error: BaseException


@dataclass(frozen=True, slots=True)
class SaveSkipped:
    """A save did not begin, because the one before it was still being written."""

    experiment: str
    step: int


@dataclass(frozen=True, slots=True)
class CheckpointLoaded:
    """A checkpoint was read, or came from the cache."""

    checkpoint: CheckpointInfo
    seconds: float
    cached: bool


@dataclass(frozen=True, slots=True)
class RunResumed:
    """The tracked objects hold the state of a checkpoint again.

    Attributes:
        checkpoint: Which.
        incomplete: What was not restored, in words; empty if all was.
    """

    checkpoint: CheckpointInfo
    incomplete: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckpointVerified:
    """All bytes of a checkpoint were read and are what was saved."""

    checkpoint: CheckpointInfo
    seconds: float


@dataclass(frozen=True, slots=True)
class CheckpointDamaged:
    """A scrub has found damage.

    Attributes:
        ref: The checkpoint; its path in the store, where not even its manifest tells which it is.
        damage: What is damaged and what became of it, in words.
        repaired: Whether it is sound again.
    """

    ref: str
    damage: str
    repaired: bool


@dataclass(frozen=True, slots=True)
class RetentionPlanned:
    """A cleanup begins.

    Attributes:
        experiment: Whose.
        removed: What goes to the trash, in commit order.
        freed_bytes: Sum of its sizes.
    """

    experiment: str
    removed: tuple[CheckpointInfo, ...]
    freed_bytes: int


@dataclass(frozen=True, slots=True)
class RetentionFailed:
    """A cleanup was refused or failed; what it would have removed is still there."""

    experiment: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class CheckpointTrashed:
    """A checkpoint was moved to the trash."""

    checkpoint: CheckpointInfo
    reason: str


@dataclass(frozen=True, slots=True)
class CheckpointRestored:
    """A checkpoint came back from the trash."""

    checkpoint: CheckpointInfo


@dataclass(frozen=True, slots=True)
class PerformanceThresholdExceeded:
    """Something was slower than the manager's `PerformanceMonitor` was told to accept.

    Attributes:
        kind: Of which operation: ``"save"``, ``"load"``, ``"verify"``.
        experiment: Whose, or None.
        step: Of which checkpoint, or None.
        threshold: What was demanded, in words.
        measured: What was measured.
        limit: What it was compared with.
        unit: What both count.
    """

    kind: str
    experiment: str | None
    step: int | None
    threshold: str
    measured: float
    limit: float
    unit: str


Event: TypeAlias = (
    SaveStarted
    | CheckpointSaved
    | SaveFailed
    | SaveSkipped
    | CheckpointLoaded
    | RunResumed
    | CheckpointVerified
    | CheckpointDamaged
    | RetentionPlanned
    | RetentionFailed
    | CheckpointTrashed
    | CheckpointRestored
    | PerformanceThresholdExceeded
)


class EventSink(Protocol):
    """Something that listens."""

    def emit(self, event: Event) -> None:
        """Take note of an event. Must not block: a save waits for it."""
