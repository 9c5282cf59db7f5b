"""Which checkpoint is the best by a metric."""

from __future__ import annotations

import math
from collections.abc import Iterable

from model_checkpoint.errors import ConfigurationError
from model_checkpoint.types import CheckpointInfo, Mode

__all__ = ["best", "check_mode", "rank"]


def rank(checkpoints: Iterable[CheckpointInfo], metric: str, mode: Mode = "min") -> list[CheckpointInfo]:
    """Order checkpoints by a metric, best first; of equal ones the later commit comes first.

    A checkpoint that lacks the metric, or whose value is NaN, is left out: it is never the best. Infinities are the
    numbers that they are.

    Raises:
        ConfigurationError: ``mode`` is neither ``"min"`` nor ``"max"``.
    """
    sign = -1.0 if check_mode(mode) == "max" else 1.0
    scored = [
        (sign * checkpoint.metrics[metric], -checkpoint.seq, checkpoint)
        for checkpoint in checkpoints
        if not math.isnan(checkpoint.metrics.get(metric, math.nan))
    ]
    return [checkpoint for _, _, checkpoint in sorted(scored, key=lambda entry: entry[:2])]


def best(checkpoints: Iterable[CheckpointInfo], metric: str, mode: Mode = "min") -> CheckpointInfo | None:
    """The first of `rank`, or None where no checkpoint has a usable value."""
    return next(iter(rank(checkpoints, metric, mode)), None)


def check_mode(mode: str) -> Mode:
    """Return ``mode``.

    Raises:
        ConfigurationError: It is neither ``"min"`` nor ``"max"``.
    """
    if mode == "min":
        return "min"
    if mode == "max":
        return "max"
    raise ConfigurationError(f"mode is {mode!r}; it must be 'min' or 'max'")
