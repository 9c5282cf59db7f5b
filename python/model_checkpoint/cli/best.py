"""`mckpt best`: the winners by a metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import click

from model_checkpoint.analytics.selection import rank
from model_checkpoint.cli.checkpoints import checkpoint_json, columns, row
from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.direction import better, mode_of
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.render import escape, print_json, print_line, print_table
from model_checkpoint.cli.view import ExperimentView, read_views
from model_checkpoint.database.listing import Listing
from model_checkpoint.errors import CheckpointNotFoundError, ConfigurationError
from model_checkpoint.types import CheckpointInfo, CheckpointState, Mode
from model_checkpoint.utils.clock import utc_now
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["best_command"]


@dataclass(frozen=True, slots=True)
class _Ranking:
    """The best checkpoints of one experiment, best first."""

    view: ExperimentView
    metric: str
    mode: Mode
    checkpoints: tuple[CheckpointInfo, ...]


@command("best")
@click.argument("experiment", required=False)
@click.option("-m", "--metric", help="By which metric. Default: the one that the experiment monitors.")
@click.option("--mode", type=click.Choice(["min", "max"]), help="Whether less or more is better. Default: as known.")
@click.option("-n", "--count", type=click.IntRange(min=1), default=1, show_default=True, help="How many.")
def best_command(
    session: Session, *, experiment: str | None, metric: str | None, mode: str | None, count: int
) -> ExitCode:
    """Show the best checkpoints. NaN and missing values never win."""
    with Listing.open(session.store_root) as listing:
        views = read_views(listing, experiment)
    if experiment is None and metric is None:
        views = [view for view in views if view.info.monitor is not None] or views
    rankings = [_rank(view, metric, cast("Mode | None", mode), count) for view in views]
    found = [ranking for ranking in rankings if ranking.checkpoints]
    if not found:
        names = ", ".join(sorted({repr(ranking.metric) for ranking in rankings}))
        raise CheckpointNotFoundError(f"no checkpoint has a number for {names or 'any metric'}", ref="best")
    if session.as_json:
        print_json({"experiments": [_as_json(ranking) for ranking in found]})
    else:
        _print(found)
    return ExitCode.OK


def _rank(view: ExperimentView, metric: str | None, mode: Mode | None, count: int) -> _Ranking:
    """Raises:
    ConfigurationError: There is no metric to go by, or no telling which of its values is better.
    """
    metric = metric or view.info.monitor
    if metric is None:
        raise ConfigurationError(f"experiment {view.info.name!r} monitors no metric; name one with --metric")
    mode = mode_of(metric, mode, [view.info])
    committed = [info for info in view.checkpoints if info.state is CheckpointState.COMMITTED]
    return _Ranking(view, metric, mode, tuple(rank(committed, metric, mode)[:count]))


def _print(rankings: list[_Ranking]) -> None:
    now = utc_now()
    for index, ranking in enumerate(rankings):
        if index:
            print_line()
        print_line(escape(f"{ranking.view.info.name} · {ranking.metric}, {better(ranking.mode)}"), style="bold")
        view, metrics = ranking.view, (ranking.metric,)
        rows = [row(info, view.reasons_of(info), metrics, now) for info in ranking.checkpoints]
        print_table(columns(metrics), rows)


def _as_json(ranking: _Ranking) -> JsonValue:
    return {
        "name": ranking.view.info.name,
        "metric": ranking.metric,
        "mode": ranking.mode,
        "checkpoints": [checkpoint_json(info, ranking.view.reasons_of(info)) for info in ranking.checkpoints],
    }
