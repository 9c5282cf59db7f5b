"""`mckpt best`: the winners by one metric, or by several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import click

from model_checkpoint.cli.checkpoints import checkpoint_json, columns, row
from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.ranking import Ranking, Request, rank_view
from model_checkpoint.cli.render import Cell, Column, age, count, escape, number, print_json, print_line, print_table
from model_checkpoint.cli.view import ExperimentView, read_views
from model_checkpoint.cli.wish import Wish
from model_checkpoint.database.listing import Listing
from model_checkpoint.errors import CheckpointError, CheckpointNotFoundError, ConfigurationError, MetricNotFoundError
from model_checkpoint.types import Mode
from model_checkpoint.utils.clock import utc_now
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["best_command"]


@command("best")
@click.argument("experiment", required=False)
@click.option("-m", "--metric", help="By one metric. Default: the one that the experiment monitors.")
@click.option("--mode", type=click.Choice(["min", "max"]), help="Whether less or more of it is better.")
@click.option("--smooth", metavar="N", type=click.IntRange(min=2), help="By its median over N saves: no lucky ones.")
@click.option(
    "--by", metavar="TERM", multiple=True, help="By one metric, then by the next; may be given several times."
)
@click.option("--weight", metavar="TERM=W", multiple=True, help="By a weighted sum; given once for each metric.")
@click.option("--pareto", metavar="TERM,TERM", multiple=True, help="Those that no other beats in every metric.")
@click.option("--where", metavar="'METRIC < X'", multiple=True, help="Only among these; may be given several times.")
@click.option("--why", is_flag=True, help="Say why each has its place.")
@click.option("--history", is_flag=True, help="Show which one was the best after which save.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="How many. Default: 1; all of a front or a history.")
def best_command(
    session: Session, *, experiment: str | None, metric: str | None, mode: str | None, smooth: int | None,
    by: tuple[str, ...], weight: tuple[str, ...], pareto: tuple[str, ...], where: tuple[str, ...], why: bool,
    history: bool, count: int | None,
) -> ExitCode:  # fmt: skip
    """Show the best checkpoints. NaN and missing values never win.

    A TERM is a metric, with its direction where the name does not tell it: `val_loss`, `quality:max`. In --by it may
    have a tolerance, within which values are as good as the best: `val_loss:min:0.01`.

    \b
    mckpt best digits --by val_loss:min:0.01 --by latency_ms --where 'size_mb < 50' --why
    mckpt best digits --weight val_loss=0.7 --weight latency_ms=0.3
    mckpt best digits --pareto val_loss,latency_ms
    """  # noqa: D301 - click's mark of lines that stay as they are
    wish = _wish(metric, cast("Mode | None", mode), smooth, by, weight, pareto)
    request = Request(wish, where, explains=why, is_history=history, count=count)
    with Listing.open(session.store_root) as listing:
        views = read_views(listing, experiment)
    if experiment is None and not wish.terms:
        views = [view for view in views if view.info.monitor is not None] or views
    rankings = _rankings(views, request)
    if session.as_json:
        print_json({"experiments": [_as_json(ranking) for ranking in rankings]})
    else:
        _print(rankings)
    return ExitCode.OK


def _wish(
    metric: str | None, mode: Mode | None, smooth: int | None,
    by: Sequence[str], weight: Sequence[str], pareto: Sequence[str],
) -> Wish:  # fmt: skip
    """What the options say.

    Raises:
        ConfigurationError: They contradict each other, or one cannot be read.
    """
    several = {"--by": by, "--weight": weight, "--pareto": pareto}
    given = [option for option, value in {"--metric": metric, "--smooth": smooth, **several}.items() if value]
    if (len(given) > 1 or mode) and any(several.values()):
        contradicting = " and ".join([*given, *(["--mode"] if mode else [])])
        raise ConfigurationError(f"{contradicting} contradict each other; directions are said as in 'val_loss:min'")
    if by:
        return Wish.lexicographic(by)
    if weight:
        return Wish.weighted(weight)
    return Wish.pareto(pareto) if pareto else Wish.single(metric, mode, smooth)


def _rankings(views: Sequence[ExperimentView], request: Request) -> list[Ranking]:
    """The experiments that have somebody to choose, if one of several does.

    Raises:
        CheckpointNotFoundError: None has.
        MetricNotFoundError: None knows the metrics.
    """
    problems: list[CheckpointError] = []
    found = []
    for view in views:
        try:
            found.append(rank_view(view, request))
        except (CheckpointNotFoundError, MetricNotFoundError) as problem:
            problems.append(problem)
    if found:
        return found
    raise problems[0] if problems else CheckpointNotFoundError("there is no experiment", ref="best")


# --- text -------------------------------------------------------------------------------------------------------------


def _print(rankings: Sequence[Ranking]) -> None:
    for index, ranking in enumerate(rankings):
        if index:
            print_line()
        print_line(escape(ranking.title), style="bold")
        _print_table(ranking)
        if ranking.is_front:
            print_line(
                f"{len(ranking.found)} of {count(ranking.candidates, 'checkpoint')} are on the front", style="dim"
            )


def _print_table(ranking: Ranking) -> None:
    now, metrics = utc_now(), ranking.metrics
    if not ranking.request.explains:
        infos = [found.info for found in ranking.found]
        print_table(columns(metrics), [row(info, ranking.view.reasons_of(info), metrics, now) for info in infos])
        return
    numbers = [Column(name, right=True, clips=True) for name in metrics]
    headings = [
        Column("STEP", right=True),
        Column("ID"),
        Column("AGE", right=True),
        *numbers,
        Column("WHY", wraps=True),
    ]
    print_table(
        headings,
        [
            [
                str(found.info.step),
                Cell(found.info.id[:8], "dim"),
                age(found.info.created_at, now),
                *(number(found.info.metrics.get(name)) for name in metrics),
                found.why,
            ]
            for found in ranking.found
        ],
    )


# --- JSON -------------------------------------------------------------------------------------------------------------


def _as_json(ranking: Ranking) -> JsonValue:
    found: list[JsonValue] = [
        {**checkpoint_json(one.info, ranking.view.reasons_of(one.info)), **({"why": one.why} if one.why else {})}
        for one in ranking.found
    ]
    (metric, mode), *others = ranking.goals
    return {
        "name": ranking.view.info.name,
        "metric": None if others else metric,
        "mode": None if others else mode,
        "criterion": ranking.words,
        "where": list(ranking.request.where),
        "checkpoints": found,
    }
