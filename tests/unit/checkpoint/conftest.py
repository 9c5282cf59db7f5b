"""Checkpoints as values, for decisions that need no disk."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from model_checkpoint.types import CheckpointInfo

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def _info(seq: int, *, step: int | None = None, metrics: Mapping[str, float] | None = None, **fields) -> CheckpointInfo:
    checkpoint_id = f"{seq:08x}" + "0" * 24
    step = seq * 100 if step is None else step
    return CheckpointInfo(
        **{
            "id": checkpoint_id,
            "experiment": "exp",
            "step": step,
            "seq": seq,
            "created_at": EPOCH + timedelta(minutes=seq),
            "path": f"exp/step-{step:08d}-{checkpoint_id[:8]}",
            "nbytes": 1000 + seq,
            "digest": "d" * 64,
            "content": "c" * 64,
            "metrics": metrics or {},
        }
        | fields
    )


@pytest.fixture
def info() -> Callable[..., CheckpointInfo]:
    """Builds the checkpoint of a commit number: step 100 times that, saved that many minutes after EPOCH."""
    return _info
