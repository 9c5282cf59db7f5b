"""`mckpt metrics`: the logged series of an experiment, with their course."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import click

from model_checkpoint.analytics.reader import MetricsReader
from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.render import Column, number, print_json, print_line, print_table
from model_checkpoint.cli.sparkline import sparkline
from model_checkpoint.cli.view import read_views
from model_checkpoint.database.listing import Listing

__all__ = ["metrics_command"]

_COLUMNS = (
    Column("METRIC"), Column("SPLIT"), Column("TAGS"), Column("POINTS", right=True), Column("STEPS", right=True),
    Column("LAST", right=True), Column("MIN", right=True), Column("MAX", right=True), Column("MEAN", right=True),
    Column("NOT FINITE", right=True), Column("COURSE"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Series:
    """A row of `MetricsReader.summary`, and the values by step."""

    totals: dict[str, Any]
    values: list[float]


@command("metrics")
@click.argument("experiment", required=False)
@click.option("-m", "--metric", "names", multiple=True, help="Only this one; may be given several times.")
def metrics_command(session: Session, *, experiment: str | None, names: tuple[str, ...]) -> ExitCode:
    """Show what was logged for experiments, one line a series."""
    with Listing.open(session.store_root) as listing:
        experiments = [view.info.name for view in read_views(listing, experiment)]
    with MetricsReader.open(session.store_root) as reader:
        found = {name: list(_series(reader, name, names)) for name in experiments}
    if session.as_json:
        totals = {name: [dict(one.totals) for one in series] for name, series in found.items()}
        print_json({"experiments": [{"name": name, "series": series} for name, series in totals.items()]})
        return ExitCode.OK
    for index, (name, series) in enumerate((name, series) for name, series in found.items() if series):
        if index:
            print_line()
        print_line(name, style="bold")
        print_table(_COLUMNS, [_row(one) for one in series])
    if not any(found.values()):
        print_line("nothing was logged", style="dim")
    return ExitCode.OK


def _series(reader: MetricsReader, experiment: str, names: tuple[str, ...]) -> Iterable[_Series]:
    if not reader.series(experiment):
        return
    points = reader.metrics(experiment, *names).to_numpy()
    for totals in reader.summary(experiment).to_pylist():
        if names and totals["name"] not in names:
            continue
        own = points["name"] == totals["name"]
        own &= (points["split"] == totals["split"]) & (points["tags"] == totals["tags"])
        yield _Series(totals, points["value"][own].tolist())


def _row(series: _Series) -> list[str]:
    totals = series.totals
    tags = "" if totals["tags"] == "{}" else totals["tags"]
    figures = [number(totals[name]) for name in ("last", "min", "max", "mean")]
    steps = f"{totals['first_step']}-{totals['last_step']}"
    strange = f"{totals['nonfinite']:,}" if totals["nonfinite"] else ""
    names = [totals["name"], totals["split"], tags]
    return [*names, f"{totals['count']:,}", steps, *figures, strange, sparkline(series.values)]
