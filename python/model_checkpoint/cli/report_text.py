"""A report on the terminal: for each experiment its best, its curves, and what is to be seen in them."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from model_checkpoint.analytics.report.page import Experiment, Line, Page
from model_checkpoint.cli.direction import better
from model_checkpoint.cli.render import (
    Cell,
    Column,
    count,
    escape,
    number,
    print_facts,
    print_line,
    print_table,
)
from model_checkpoint.cli.sparkline import sparkline
from model_checkpoint.monitoring.timing import OperationTiming
from model_checkpoint.utils.duration import format_duration
from model_checkpoint.utils.sizes import format_size

__all__ = ["print_report"]

_COLUMNS = (
    Column("METRIC", clips=True), Column("SPLIT"), Column("TAGS", clips=True), Column("COURSE"),
    Column("LAST", right=True), Column("MIN", right=True, drops=True), Column("MAX", right=True, drops=True),
    Column("REMARKS", wraps=True),
)  # fmt: skip


def print_report(page: Page) -> None:
    """Print a page."""
    nbytes = format_size(sum(one.nbytes for one in page.experiments))
    whole = [page.title, count(len(page.experiments), "experiment"), count(len(page.checkpoints), "checkpoint"), nbytes]
    print_line(escape(" · ".join(whole)), style="bold")
    for place, experiment in enumerate(page.experiments):
        print_line()
        _print_experiment(page, place, experiment)
    if page.operations:
        print_line()
        _print_times(page.operations)


def _print_experiment(page: Page, place: int, one: Experiment) -> None:
    aim = f" · {one.info.monitor}{f', {better(one.mode)}' if one.mode else ''}" if one.info.monitor else ""
    print_line(escape(f"{one.info.name}{aim}"), style="bold")
    print_facts([("best", _best(one)), ("checkpoints", _checkpoints(page, place, one))])
    lines = [(chart.metric, line) for chart in page.charts for line in chart.lines if line.experiment == place]
    if lines:
        print_table(_COLUMNS, [_row(metric, line) for metric, line in lines])
    else:
        print_line("nothing was logged", style="dim")


def _best(one: Experiment) -> str:
    if one.best is None:
        return ""
    lately = f" · {one.lately}" if one.lately else ""
    return f"{number(one.best.value)} at step {one.best.step} · last {number(one.last)}{lately}"


def _checkpoints(page: Page, place: int, one: Experiment) -> str:
    if not one.checkpoints:
        return ""
    mine = [checkpoint for checkpoint in page.checkpoints if checkpoint.experiment == place]
    parts = [f"{one.checkpoints:,}", format_size(one.nbytes)]
    parts += [f"best at step {checkpoint.info.step}" for checkpoint in mine if checkpoint.is_best]
    states = Counter(str(checkpoint.info.state) for checkpoint in mine if checkpoint.info.state != "committed")
    parts += [f"{number:,} {state}" for state, number in sorted(states.items())]
    if one.freed_bytes:
        parts.append(f"the next prune frees {format_size(one.freed_bytes)}")
    return " · ".join(parts)


def _row(metric: str, line: Line) -> list[str | Cell]:
    known = line.values[~np.isnan(line.values)]
    least, most = (number(float(known.min())), number(float(known.max()))) if known.size else ("-", "-")
    last = number(float(line.values[-1])) if line.values.size else "-"
    saved = ["at saves"] if line.source == "saved" else []
    remarks = "; ".join([*saved, *_remarks(line)])
    return [
        metric,
        line.split,
        line.tags,
        sparkline(line.means.tolist()),
        last,
        least,
        most,
        Cell(remarks, _style(line)),
    ]


def _remarks(line: Line) -> Iterable[str]:
    """Of several spikes, the largest."""
    seen = set()
    for mark in line.marks:
        if mark.kind not in seen:
            seen.add(mark.kind)
            yield mark.text


def _style(line: Line) -> str:
    return "yellow" if any(mark.kind in {"divergence", "not finite"} for mark in line.marks) else "dim"


def _print_times(operations: Sequence[OperationTiming]) -> None:
    print_line("where the time went", style="bold")
    by_kind = defaultdict(list)
    for one in operations:
        by_kind[one.kind].append(one)
    print_table(
        [Column("WHAT"), Column("TIMES", right=True), Column("MEDIAN", right=True), Column("WAITING", right=True),
         Column("STAGES", wraps=True)],
        [_times_row(kind, found) for kind, found in by_kind.items()],
    )  # fmt: skip


def _times_row(kind: str, found: Sequence[OperationTiming]) -> list[str | Cell]:
    stalls = [one.stall_s for one in found if one.stall_s is not None]
    waiting = format_duration(statistics.median(stalls)) if stalls else ""
    median = format_duration(statistics.median(one.seconds for one in found))
    return [kind, f"{len(found):,}", median, waiting, Cell(_shares(found), "dim")]


def _shares(found: Sequence[OperationTiming]) -> str:
    """Stages by their share of all the time, the longest first: ``write 61%, fsync 22%``."""
    total = sum(one.seconds for one in found) or 1.0
    shares: dict[str, float] = defaultdict(float)
    for one in found:
        for stage, seconds in one.stages.items():
            shares[stage] += seconds / total
    ordered = sorted(shares.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{stage} {share:.0%}" for stage, share in ordered if share >= 0.005)
