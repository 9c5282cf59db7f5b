"""`mckpt compare`: one metric of several experiments, and what they were made with."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import click
import numpy as np
from numpy.typing import NDArray

from model_checkpoint.analytics.comparison import Effect, align, config_differences, config_effects
from model_checkpoint.analytics.curve import Floats
from model_checkpoint.analytics.reader import MetricsReader
from model_checkpoint.analytics.repetition import Group, groups_of, settings_of
from model_checkpoint.analytics.saved_curve import saved_curve
from model_checkpoint.analytics.trend import trend
from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.direction import better, mode_of
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.metric_options import skip_damaged
from model_checkpoint.cli.render import Column, escape, number, print_json, print_line, print_table
from model_checkpoint.cli.sparkline import sparkline
from model_checkpoint.cli.view import ExperimentView, read_views
from model_checkpoint.database.listing import Listing
from model_checkpoint.errors import ConfigurationError, MetricNotFoundError
from model_checkpoint.types import ExperimentInfo, Mode
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["compare_command"]

_WIDTH = 32
_LEAST_RUNS = 5
"""Of fewer, no rank correlation is significant at 5 %."""
_COLUMNS = (
    Column("EXPERIMENT", clips=True), Column("BEST", right=True), Column("AT STEP", right=True, drops=True),
    Column("LAST", right=True, drops=True),
    Column("STEPS", right=True, drops=True), Column("LATELY", drops=True), Column("COURSE"),
)  # fmt: skip
_EFFECT_COLUMNS = (
    Column("SETTING", clips=True),
    Column("STRENGTH", right=True),
    Column("AS"),
    Column("P", right=True),
    Column("RUNS", right=True),
)


_GROUP_COLUMNS = (
    Column("SETTINGS", clips=True),
    Column("RUNS", right=True),
    Column("MEDIAN", right=True),
    Column("DIFFERENCE", right=True),
    Column("P", right=True),
)


@dataclass(frozen=True, slots=True)
class _Run:
    """The metric in one experiment, by step and by place on the common axis; empty where it was not logged."""

    info: ExperimentInfo
    steps: Floats
    values: Floats
    mode: Mode
    places: Floats

    @property
    def best(self) -> int | None:
        """The place of the best value."""
        if not np.isfinite(self.values).any():
            return None
        return int(np.nanargmin(self.values) if self.mode == "min" else np.nanargmax(self.values))

    @property
    def sort_key(self) -> float:
        if self.best is None:
            return math.inf
        return float(self.values[self.best]) * (1 if self.mode == "min" else -1)

    @property
    def direction(self) -> str:
        """Where the last quarter goes."""
        start = len(self.steps) - max(len(self.steps) // 4, 8)
        try:
            return trend(self.steps[max(start, 0) :], self.values[max(start, 0) :], mode=self.mode).direction
        except ConfigurationError:
            return ""


@command("compare")
@click.argument("experiments", nargs=-1)
@click.option("-m", "--metric", help="Which metric. Default: the one that the first experiment monitors.")
@click.option("--split", default="", help="Of which split.")
@click.option("--mode", type=click.Choice(["min", "max"]), help="Whether less or more is better. Default: as known.")
@click.option(
    "--by",
    default="step",
    show_default=True,
    help="On which axis courses are set side by side: step, time, or another metric, as tokens.",
)
@skip_damaged
def compare_command(
    session: Session, *, experiments: tuple[str, ...], metric: str | None, split: str, mode: str | None, by: str,
    leave_out: bool,
) -> ExitCode:  # fmt: skip
    """Compare a metric over experiments (all, if none is named), and show what they were made with."""
    with Listing.open(session.store_root) as listing:
        views = [view for name in experiments or [None] for view in read_views(listing, name)]
    infos = [view.info for view in views]
    name = metric or next((info.monitor for info in infos if info.monitor), None)
    if name is None:
        raise ConfigurationError("no experiment monitors a metric; name one with --metric")
    chosen = mode_of(name, cast("Mode | None", mode), infos)
    with MetricsReader.open(session.store_root, damaged="skip" if leave_out else "raise") as reader:
        runs = sorted((_run(reader, view, name, split, chosen, by) for view in views), key=lambda run: run.sort_key)
        if not any(len(run.steps) for run in runs):
            raise MetricNotFoundError(f"{name}[{split}]" if split else name, _known(reader, views, name))
        if not any(np.isfinite(run.places).any() for run in runs):
            raise MetricNotFoundError(by, _known(reader, views, by))
    if session.as_json:
        heading = {"metric": name, "split": split, "mode": chosen, "by": by}
        effects = [cast("JsonValue", dataclasses.asdict(effect)) for effect in _effects(runs)]
        groups = [_group_as_json(group, runs) for group in _groups(runs)]
        print_json({**heading, "experiments": [_as_json(run) for run in runs], "groups": groups, "effects": effects})
        return ExitCode.OK
    axis = "" if by == "step" else f", by {by}"
    _print(runs, f"{name}{f' of {split}' if split else ''}, {better(chosen)}{axis}")
    return ExitCode.OK


def _run(reader: MetricsReader, view: ExperimentView, metric: str, split: str, mode: Mode, by: str) -> _Run:
    """What was logged; if nothing was, the values that checkpoints were saved with, which have steps alone."""
    try:
        steps, values = reader.curve(view.info.name, metric, split=split)
        places = _places(reader, view.info.name, metric, split, by, steps)
    except MetricNotFoundError:
        saved = saved_curve(metric, () if split else view.checkpoints)
        steps, values = saved.steps, saved.values
        places = steps.astype(np.float64) if by == "step" else np.full(len(steps), np.nan)
    return _Run(view.info, steps.astype(np.float64), values, mode, places)


def _places(
    reader: MetricsReader, experiment: str, metric: str, split: str, by: str, steps: NDArray[np.int64]
) -> Floats:
    """Where the steps of a series are; NaN in an experiment that did not log what to go by."""
    if by == "step":
        return steps.astype(np.float64)
    try:
        return reader.course(experiment, metric, by=by, split=split)[0]
    except MetricNotFoundError:
        return np.full(len(steps), np.nan)


def _effects(runs: Sequence[_Run]) -> tuple[Effect, ...]:
    """How settings go with the best values, where there are enough runs for that to mean anything."""
    outcomes = {run.info.name: float(run.values[run.best]) for run in runs if run.best is not None}
    if len(outcomes) < _LEAST_RUNS:
        return ()
    return config_effects({run.info.name: run.info.config for run in runs}, outcomes)


def _groups(runs: Sequence[_Run]) -> tuple[Group, ...]:
    """Runs that differ in their seed alone, and how the groups differ."""
    outcomes = [math.nan if run.best is None else float(run.values[run.best]) for run in runs]
    return groups_of(outcomes, settings_of([run.info.config for run in runs]), runs[0].mode)


def _known(reader: MetricsReader, views: Sequence[ExperimentView], name: str) -> list[str]:
    """What could have been asked for, the nearest first."""
    keys = {key for view in views for key in reader.series(view.info.name)}
    names = {f"{key.name}[{key.split}]" if key.split else key.name for key in keys}
    names |= {metric for view in views for info in view.checkpoints for metric in info.metrics}
    return list(dict.fromkeys([*difflib.get_close_matches(name, sorted(names)), *sorted(names)]))


def _print(runs: Sequence[_Run], title: str) -> None:
    _, courses = align({run.info.name: _known_places(run) for run in runs}, points=_WIDTH)
    finite = np.concatenate([values[np.isfinite(values)] for values in courses.values()] or [np.empty(0)])
    bounds = (float(finite.min()), float(finite.max())) if finite.size else None
    print_line(escape(title), style="bold")
    print_table(
        _COLUMNS,
        [[*_figures(run), sparkline(courses[run.info.name].tolist(), _WIDTH, bounds=bounds).rstrip()] for run in runs],
    )
    settings = config_differences({run.info.name: run.info.config for run in runs})
    if settings:
        print_line()
        print_line("what they were made with", style="bold")
        names = [run.info.name for run in runs]
        print_table(
            [Column("EXPERIMENT", clips=True), *(Column(key, clips=True) for key in settings)],
            [[name, *(_setting(values.get(name)) for values in settings.values())] for name in names],
        )
    groups = _groups(runs)
    if groups:
        print_line()
        print_line("over seeds", style="bold")
        print_table(_GROUP_COLUMNS, list(map(_group_row, groups)))
    effects = _effects(runs)
    if effects:
        print_line()
        print_line("what goes with the best value", style="bold")
        print_table(_EFFECT_COLUMNS, list(map(_effect_row, effects)))


def _known_places(run: _Run) -> tuple[Floats, Floats]:
    """A clock may have gone back: places in order, as an axis needs them."""
    known = np.flatnonzero(np.isfinite(run.places))
    order = known[np.argsort(run.places[known], kind="stable")]
    return run.places[order], run.values[order]


def _group_row(group: Group) -> list[str]:
    """The best group is what the others differ from."""
    row = [group.settings, str(len(group.experiments)), number(group.median)]
    if group.difference is None or group.p_value is None:
        return [*row, "", ""]
    return [*row, f"{group.difference:+.3g}", f"{group.p_value:.2g}" if group.is_decidable else "too few"]


def _effect_row(effect: Effect) -> list[str]:
    kind = "rank correlation" if effect.kind == "number" else "share of the ranks' variance"
    return [effect.setting, f"{effect.strength:.2f}", kind, f"{effect.p_value:.2g}", str(effect.runs)]


def _figures(run: _Run) -> list[str]:
    best = run.best
    if best is None:
        return [run.info.name, "-", "", "-", f"{len(run.steps)}", ""]
    value, step = float(run.values[best]), f"{run.steps[best]:.0f}"
    return [run.info.name, number(value), step, number(float(run.values[-1])), f"{run.steps[-1]:.0f}", run.direction]


def _setting(value: object) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)


def _group_as_json(group: Group, runs: Sequence[_Run]) -> JsonValue:
    return {
        "settings": group.settings,
        "experiments": [runs[place].info.name for place in group.experiments],
        "median": group.median,
        "difference": group.difference,
        "p_value": group.p_value,
        "is_decidable": group.is_decidable,
    }


def _as_json(run: _Run) -> JsonValue:
    best = run.best
    return {
        "name": run.info.name,
        "points": len(run.steps),
        "best": None if best is None else float(run.values[best]),
        "best_step": None if best is None else int(run.steps[best]),
        "last": float(run.values[-1]) if len(run.values) else None,
        "last_step": int(run.steps[-1]) if len(run.steps) else None,
        "direction": run.direction or None,
        "settings": cast("JsonValue", dict(run.info.config)),
    }
