"""The charts of a report: one for each metric, with the lines of all experiments."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from model_checkpoint.analytics.report.lines import Curve, draw
from model_checkpoint.analytics.report.page import Chart
from model_checkpoint.database.metric_mode import usual_mode
from model_checkpoint.types import ExperimentInfo, Mode

__all__ = ["charts_of", "columns_for", "mode_in"]

_POINTS = 240_000
"""How many points all lines of a report have together: some megabytes of text, which a browser draws in a second."""


def columns_for(series: int) -> int:
    """How many columns of pixels each of so many series gets: up to a wide screen's."""
    return max(100, min(1200, _POINTS // (4 * max(series, 1))))


def mode_in(metric: str, experiments: Iterable[ExperimentInfo]) -> Mode | None:
    """Which values of a metric are better: as an experiment that monitors it says, else as its name tells."""
    said = next((info.mode for info in experiments if info.monitor == metric and info.mode), None)
    return said or usual_mode(metric)


def charts_of(curves: Iterable[Curve], experiments: Sequence[ExperimentInfo], columns: int) -> tuple[Chart, ...]:
    """Charts of all curves, those of monitored metrics first. Curves are drawn one by one and then let go."""
    lines = defaultdict(list)
    modes: dict[str, Mode | None] = {}
    for curve in curves:
        metric = curve.key.name
        modes.setdefault(metric, mode_in(metric, experiments))
        lines[metric].append(draw(curve, columns, modes[metric]))
    monitored = {info.monitor for info in experiments}
    return tuple(
        Chart(metric, modes[metric], metric in monitored, tuple(sorted(found, key=lambda line: line.experiment)))
        for metric, found in sorted(lines.items(), key=lambda entry: (entry[0] not in monitored, entry[0]))
    )
