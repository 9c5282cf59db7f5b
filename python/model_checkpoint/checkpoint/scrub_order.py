"""Which checkpoints a scrub looks at, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from model_checkpoint.types import CheckpointInfo

__all__ = ["scrub_order"]

_NEVER = datetime.min.replace(tzinfo=UTC)


def scrub_order(
    checkpoints: Iterable[CheckpointInfo],
    *,
    now: datetime,
    older_than: timedelta | None = None,
    damaged: Mapping[str, datetime],
    under_way: str | None = None,
) -> tuple[CheckpointInfo, ...]:
    """Those that are due, the one longest not looked at first.

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

    due = [
        checkpoint
        for checkpoint in checkpoints
        if older_than is None or checkpoint.verified_at is None or checkpoint.verified_at <= now - older_than
    ]
    return tuple(sorted(due, key=lambda item: (item.id != under_way, looked_at(item), item.seq)))
