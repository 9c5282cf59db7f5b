"""From experiments, their curves and their timings to a page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import numpy as np

from model_checkpoint.analytics.reader import MetricsReader
from model_checkpoint.analytics.repetition import groups_of, settings_of
from model_checkpoint.analytics.report.charts import charts_of, columns_for, mode_in
from model_checkpoint.analytics.report.lines import Curve
from model_checkpoint.analytics.report.page import Best, Chart, Checkpoint, Experiment, Line, Page, Run, Subject
from model_checkpoint.analytics.report.trade_offs import trade_offs_of
from model_checkpoint.analytics.saved_curve import saved_curve
from model_checkpoint.analytics.trend import trend
from model_checkpoint.database.metric_table import SeriesKey
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.monitoring.timing import OperationTiming
from model_checkpoint.types import CheckpointState, Mode

__all__ = ["collect"]

_PRESENT = frozenset({CheckpointState.COMMITTED, CheckpointState.QUARANTINED})


def collect(
    title: str,
    subjects: Sequence[Subject],
    reader: MetricsReader,
    *,
    operations: Iterable[OperationTiming] = (),
    now: datetime,
) -> Page:
    """Everything that a report shows.

    Args:
        title: What it is about.
        subjects: The experiments, in any order.
        reader: The metrics of the store.
        operations: Saves, loads and verifications, newest last.
        now: The time (UTC).

    Raises:
        CorruptionError: A segment of metrics is damaged.
    """
    infos = [subject.info for subject in subjects]
    columns = columns_for(sum(len(reader.series(info.name)) for info in infos))
    charts = charts_of(_curves(subjects, reader), infos, columns)
    experiments = tuple(_experiment(place, subject, charts) for place, subject in enumerate(subjects))
    settings = settings_of([info.config for info in infos])
    checkpoints = tuple(
        Checkpoint(place, info, subject.reasons.get(info.id))
        for place, subject in enumerate(subjects)
        for info in subject.checkpoints
    )
    modes = {one.mode for one in experiments if one.mode}
    return Page(
        title=title,
        made_at=now,
        experiments=experiments,
        settings=settings,
        groups=groups_of(list(map(_outcome, experiments)), settings, next(iter(modes))) if len(modes) == 1 else (),
        charts=charts,
        checkpoints=checkpoints,
        trade_offs=trade_offs_of(checkpoints, infos),
        runs=tuple(_runs(checkpoints)),
        operations=tuple(operations),
    )


def _curves(subjects: Sequence[Subject], reader: MetricsReader) -> Iterator[Curve]:
    """What was logged, and of metrics that were not logged in an experiment what its checkpoints have."""
    for place, subject in enumerate(subjects):
        logged = set()
        for key, steps, values in reader.curves(subject.info.name):
            logged.add(key.name)
            yield Curve(place, key, "logged", steps, values)
        for metric in sorted({name for info in subject.checkpoints for name in info.metrics} - logged):
            yield Curve(place, SeriesKey(metric), "saved", *saved_curve(metric, subject.checkpoints))


# --- experiments ------------------------------------------------------------------------------------------------------


def _experiment(place: int, subject: Subject, charts: Sequence[Chart]) -> Experiment:
    info = subject.info
    mode = mode_in(info.monitor, [info]) if info.monitor is not None else None
    line = _monitored_line(place, info.monitor, charts)
    steps = [
        int(one.steps[-1]) for chart in charts for one in chart.lines if one.experiment == place and len(one.steps)
    ]
    steps += [checkpoint.step for checkpoint in subject.checkpoints]
    sizes = {one.id: one.nbytes for one in subject.checkpoints if one.state in _PRESENT}
    return Experiment(
        info=info,
        mode=mode,
        best=_best(line, mode),
        last=float(line.values[-1]) if line is not None and len(line.values) else None,
        last_step=max(steps, default=None),
        lately=_lately(line, mode),
        checkpoints=len(subject.checkpoints),
        nbytes=sum(sizes.values()),
        freed_bytes=sum(sizes.get(name, 0) for name, reasons in subject.reasons.items() if not reasons),
    )


def _outcome(experiment: Experiment) -> float:
    return experiment.best.value if experiment.best is not None else math.nan


def _monitored_line(place: int, monitor: str | None, charts: Sequence[Chart]) -> Line | None:
    """The line of the monitored metric; where it was logged for several splits, the first one by name."""
    lines = [line for chart in charts if chart.metric == monitor for line in chart.lines if line.experiment == place]
    return next(iter(lines), None)


def _best(line: Line | None, mode: Mode | None) -> Best | None:
    if line is None or mode is None or not np.isfinite(line.values).any():
        return None
    losses = line.values if mode == "min" else -line.values
    at = int(np.nanargmin(np.where(np.isfinite(losses), losses, math.nan)))
    return Best(float(line.values[at]), int(line.steps[at]))


def _lately(line: Line | None, mode: Mode | None) -> str:
    """Where the last quarter goes."""
    if line is None or mode is None:
        return ""
    start = max(0, len(line.means) - max(len(line.means) // 4, 8))
    try:
        return trend(line.mean_steps[start:], line.means[start:], mode=mode).direction
    except ConfigurationError:  # too few
        return ""


# --- runs -------------------------------------------------------------------------------------------------------------


def _runs(checkpoints: Sequence[Checkpoint]) -> Iterator[Run]:
    """Checkpoints of an experiment that have the same parent, the one that their run resumed from."""
    places: Mapping[str, int] = {one.info.id: place for place, one in enumerate(checkpoints)}
    members: dict[tuple[int, str | None], list[int]] = {}
    for place, one in enumerate(checkpoints):
        members.setdefault((one.experiment, one.info.parent), []).append(place)
    for (experiment, parent), found in members.items():
        yield Run(experiment, None if parent is None else places.get(parent), tuple(found))
