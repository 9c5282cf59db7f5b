"""The run of an experiment, as a store has recorded it, for `mckpt replay`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from model_checkpoint.analytics.arrow_columns import numbers
from model_checkpoint.analytics.reader import MetricsReader
from model_checkpoint.analytics.saved_curve import saved_curve
from model_checkpoint.checkpoint.recording import Recording, Stall
from model_checkpoint.cli.view import ExperimentView
from model_checkpoint.errors import CheckpointNotFoundError
from model_checkpoint.monitoring.timing import OperationTiming

__all__ = ["RecordedRun", "recorded_run"]

_TIMES = "SELECT step, epoch_us(max(time)) AS at FROM metrics WHERE experiment = ? GROUP BY step ORDER BY step"


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """Attributes:
    recording: What is replayed.
    ended_at: When the last thing was recorded (UTC).
    """

    recording: Recording
    ended_at: datetime


def recorded_run(
    reader: MetricsReader,
    view: ExperimentView,
    saves: Sequence[OperationTiming],
    *,
    save_s: float,
    restart_s: float,
    most: int,
) -> RecordedRun:
    """All steps at which something was logged; of a run that logged nothing, those that it saved.

    Args:
        reader: The metrics of the store.
        view: The experiment.
        saves: Its saves; what training has waited for them is no part of its steps.
        save_s: What a save costs in the replay, in seconds.
        restart_s: What a restart takes, in seconds.
        most: How many steps there shall be at most.

    Raises:
        CheckpointNotFoundError: There are no two steps.
        CorruptionError: A segment of metrics is damaged.
    """
    name = view.info.name
    has_series = bool(reader.series(name))
    steps, times = _logged(reader, name) if has_series else _saved(view)
    if len(steps) < 2:
        raise CheckpointNotFoundError(f"{name!r} has no two steps to replay", ref=name)
    stalls = [Stall(timing.at, timing.stall_s) for timing in saves if timing.stall_s is not None]
    found = Recording.of_times(times, steps, save_s=save_s, restart_s=restart_s, stalls=stalls, most=most)
    for metric, at, values in _series(reader, name) if has_series else _saved_series(view):
        found = found.measuring(metric, at, values)
    return RecordedRun(found, _as_datetime(times.max()))


def _logged(reader: MetricsReader, experiment: str) -> tuple[NDArray[np.int64], NDArray[np.datetime64]]:
    found = reader.query(_TIMES, [experiment])
    return numbers(found["step"]), numbers(found["at"]).astype("datetime64[us]")


def _series(reader: MetricsReader, experiment: str) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.float64]]]:
    """Those without split and tags first: these are what the program's own decisions went by."""
    for key, steps, values in reader.curves(experiment):
        yield key.name, steps, values


def _saved(view: ExperimentView) -> tuple[NDArray[np.int64], NDArray[np.datetime64]]:
    at = {info.step: info.created_at for info in reversed(view.checkpoints)}  # oldest first: the last save counts
    steps = sorted(at)
    moments = [at[step].astimezone(UTC).replace(tzinfo=None) for step in steps]
    return np.array(steps, dtype=np.int64), np.array(moments, dtype="datetime64[us]")


def _saved_series(view: ExperimentView) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.float64]]]:
    for metric in sorted({name for info in view.checkpoints for name in info.metrics}):
        yield metric, *saved_curve(metric, view.checkpoints)


def _as_datetime(moment: np.datetime64) -> datetime:
    return datetime.fromtimestamp(int(moment.astype("datetime64[us]").astype(np.int64)) / 1e6, UTC)
