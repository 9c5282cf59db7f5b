"""The values that checkpoints were saved with, as a curve."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_checkpoint.analytics.curve import Floats, last_of_each_step
from model_checkpoint.types import CheckpointInfo

__all__ = ["SavedCurve", "saved_curve"]


class SavedCurve(NamedTuple):
    """Steps in order, and the value at each."""

    steps: NDArray[np.int64]
    values: Floats


def saved_curve(metric: str, checkpoints: Iterable[CheckpointInfo]) -> SavedCurve:
    """Of checkpoints that have the metric; of equal steps, the value of the later commit."""
    rows = [(info.step, info.metrics[metric], info.seq) for info in checkpoints if metric in info.metrics]
    steps, values, seqs = zip(*rows, strict=True) if rows else ((), (), ())
    return SavedCurve(
        *last_of_each_step(np.array(steps, np.int64), np.array(values, np.float64), np.array(seqs, np.int64))
    )
