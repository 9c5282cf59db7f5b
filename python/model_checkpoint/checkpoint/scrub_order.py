"""Which checkpoints a scrub looks at, in which order, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from model_checkpoint.analytics.decision import Decision
from model_checkpoint.types import CheckpointInfo
from model_checkpoint.utils.duration import format_duration

__all__ = ["ScrubDecision", "plan_scrub"]

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ScrubDecision:
    """What a scrub does about one checkpoint.

    Attributes:
        checkpoint: Which.
        due: Whether it is read, and why.
    """

    checkpoint: CheckpointInfo
    due: Decision


def plan_scrub(
    checkpoints: Iterable[CheckpointInfo],
    *,
    now: datetime,
    older_than: timedelta | None = None,
    damaged: Mapping[str, datetime],
    under_way: str | None = None,
) -> tuple[ScrubDecision, ...]:
    """Decide for every checkpoint, the one longest not looked at first; so are those that are due read.

    A scrub that is interrupted, or has no time left, goes on where it was by this order alone.

    Args:
        checkpoints: What there is.
        now: The present time.
        older_than: Leave out what was verified since that long; None for nothing. What is damaged was not verified.
        damaged: When those that are damaged were last looked at, by id. They do not come first again each time, or
            whoever has little time would never see another one.
        under_way: The id of the one that an interruption has left half read.
    """

    def looked_at(checkpoint: CheckpointInfo) -> datetime:
        return max(checkpoint.verified_at or _NEVER, damaged.get(checkpoint.id, _NEVER))

    def decide(checkpoint: CheckpointInfo) -> Decision:
        verified_at = checkpoint.verified_at
        if older_than is not None and verified_at is not None and verified_at > now - older_than:
            return Decision(False, (_ago("verified", verified_at, now),))
        return Decision(True, tuple(_reasons(checkpoint, now, damaged.get(checkpoint.id), under_way)))

    ordered = sorted(checkpoints, key=lambda item: (item.id != under_way, looked_at(item), item.seq))
    return tuple(ScrubDecision(checkpoint, decide(checkpoint)) for checkpoint in ordered)


def _reasons(
    checkpoint: CheckpointInfo, now: datetime, found_damaged_at: datetime | None, under_way: str | None
) -> Iterable[str]:
    if checkpoint.id == under_way:
        yield "half read by a scrub that ended"
    if found_damaged_at is not None and found_damaged_at > (checkpoint.verified_at or _NEVER):
        yield _ago("found damaged", found_damaged_at, now)
    elif checkpoint.verified_at is None:
        yield "never verified"
    else:
        yield _ago("verified", checkpoint.verified_at, now)


def _ago(what: str, then: datetime, now: datetime) -> str:
    seconds = (now - then).total_seconds()
    return f"{what} {format_duration(seconds)} ago" if seconds > 0 else f"{what} just now"
