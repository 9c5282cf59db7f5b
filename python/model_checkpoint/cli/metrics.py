"""`mckpt metrics`: the logged series of an experiment, with their course."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import click

from model_checkpoint.analytics.reader import MetricsReader
from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.metric_options import skip_damaged
from model_checkpoint.cli.render import Column, number, print_json, print_line, print_table
from model_checkpoint.cli.sparkline import sparkline
from model_checkpoint.cli.view import read_views
from model_checkpoint.database.listing import Listing
from model_checkpoint.database.metric_table import NO_TAGS

__all__ = ["metrics_command"]

_COLUMNS = (
    Column("METRIC", clips=True), Column("SPLIT"), Column("TAGS", clips=True), Column("POINTS", right=True, drops=True),
    Column("STEPS", right=True, drops=True), Column("LAST", right=True), Column("MIN", right=True, drops=True),
    Column("MAX", right=True, drops=True), Column("MEAN", right=True, drops=True), Column("NOT FINITE", right=True),
    Column("COURSE"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Series:
    """A row of `MetricsReader.summary`, and the values by step as a line."""

    totals: dict[str, Any]
    course: str


@command("metrics")
@click.argument("experiment", required=False)
@click.option("-m", "--metric", "names", multiple=True, help="Only this one; may be given several times.")
@skip_damaged
def metrics_command(session: Session, *, experiment: str | None, names: tuple[str, ...], leave_out: bool) -> ExitCode:
    """Show what was logged for experiments, one line a series."""
    with Listing.open(session.store_root) as listing:
        experiments = [view.info.name for view in read_views(listing, experiment)]
    with MetricsReader.open(session.store_root, damaged="skip" if leave_out else "raise") as reader:
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
    """One series after the other: all together may be more than fits into memory."""
    if not reader.series(experiment):
        return
    reader.check_known(experiment, names)
    for totals in reader.summary(experiment).to_pylist():
        if not names or totals["name"] in names:
            tags = json.loads(totals["tags"])
            _, values = reader.curve(experiment, totals["name"], split=totals["split"], tags=tags)
            yield _Series(totals, sparkline(values.tolist()))


def _row(series: _Series) -> list[str]:
    totals = series.totals
    tags = "" if totals["tags"] == NO_TAGS else totals["tags"]
    figures = [number(totals[name]) for name in ("last", "min", "max", "mean")]
    steps = f"{totals['first_step']}-{totals['last_step']}"
    strange = f"{totals['nonfinite']:,}" if totals["nonfinite"] else ""
    names = [totals["name"], totals["split"], tags]
    return [*names, f"{totals['count']:,}", steps, *figures, strange, series.course]
