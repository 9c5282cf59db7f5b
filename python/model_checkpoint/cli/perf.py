"""`mckpt perf`: where the time of the last saves and loads went."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

from model_checkpoint.cli.bar import bar
from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.render import Cell, Column, age, count, escape, print_json, print_line, print_table
from model_checkpoint.cli.view import read_views
from model_checkpoint.database.listing import Listing
from model_checkpoint.monitoring.figures import exact_percentiles, figures_of
from model_checkpoint.monitoring.histogram import Percentiles
from model_checkpoint.monitoring.report import OperationFigures
from model_checkpoint.monitoring.timing import OperationTiming, timing_json
from model_checkpoint.monitoring.timing_log import TimingLog
from model_checkpoint.utils.duration import format_duration
from model_checkpoint.utils.sizes import format_size
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["perf_command"]

_KINDS = {"save": "save", "load": "load", "verify": "verification"}
_BAR_WIDTH = 20
_SHOWN = 5
_REST = "other"

_STAGES = (
    Column("STAGE"), Column("TIME", right=True), Column("SHARE", right=True), Column("P50", right=True),
    Column("P90", right=True), Column("P99", right=True), Column(""),
)  # fmt: skip
_OPERATIONS = (
    Column("CHECKPOINT", clips=True), Column("WHEN", right=True), Column("BYTES", right=True),
    Column("TIME", right=True), Column("BYTES/S", right=True), Column("WAITED", right=True), Column("MOSTLY"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Kind:
    """The last operations of a kind."""

    figures: OperationFigures
    timings: Sequence[OperationTiming]

    def stages(self) -> Iterator[tuple[str, float, Percentiles]]:
        """Name, seconds and percentiles of each stage, and of what is in none."""
        for stage, seconds in self.figures.stages.items():
            yield stage, seconds, exact_percentiles(timing.stages.get(stage, 0.0) for timing in self.timings)
        rest = [timing.unaccounted_s for timing in self.timings]
        yield _REST, sum(rest), exact_percentiles(rest)


@command("perf")
@click.argument("experiment", required=False)
@click.option("--last", default=20, show_default=True, type=click.IntRange(1), help="How many of each kind.")
@click.option("--kind", type=click.Choice(list(_KINDS)), help="Only saves, loads or verifications.")
def perf_command(session: Session, *, experiment: str | None, last: int, kind: str | None) -> ExitCode:
    """Show where the time of the last saves, loads and verifications went.

    These are the ones that programs made through a manager; commands are not among them.
    """
    kinds = list(_read(session, experiment, last, list(_KINDS) if kind is None else [kind]))
    if session.as_json:
        print_json({"operations": [_as_json(one) for one in kinds]})
    elif not kinds:
        print_line("nothing was measured", style="dim")
    for index, one in enumerate(() if session.as_json else kinds):
        if index:
            print_line()
        _print(one)
    return ExitCode.OK


def _read(session: Session, experiment: str | None, last: int, kinds: Sequence[str]) -> Iterator[_Kind]:
    log = TimingLog(session.store_root)
    found = [log.read(experiment=experiment, kind=kind, limit=last) for kind in kinds]
    if experiment is not None and not any(found):
        with Listing.open(session.store_root) as listing:
            read_views(listing, experiment)  # raises if there is no such experiment
    for timings in found:
        if timings:
            yield _Kind(figures_of(timings), timings)


def _print(kind: _Kind) -> None:
    figures = kind.figures
    experiments = sorted({timing.experiment for timing in kind.timings if timing.experiment is not None})
    where = f" of {experiments[0]}" if len(experiments) == 1 else ""
    print_line(f"{count(figures.count, _KINDS[figures.kind])}{escape(where)}: {_totals(figures)}", style="bold")
    if figures.count > 1:
        print_line(_latency(figures))
    print_line()
    print_table(_STAGES, [_stage_row(figures, *stage) for stage in kind.stages()])
    print_line()
    print_table(_OPERATIONS, [_operation_row(timing) for timing in reversed(kind.timings[-_SHOWN:])])


def _totals(figures: OperationFigures) -> str:
    parts = [f"{format_size(figures.nbytes)} in {format_duration(figures.seconds)}", _speed(figures.bytes_per_s)]
    if figures.kind == "save":
        parts.append(f"training waited {format_duration(figures.stall_s)}")
    return ", ".join(part for part in parts if part)


def _latency(figures: OperationFigures) -> str:
    found = figures.latency
    if found is None:
        return ""
    named = (("p50", found.p50), ("p90", found.p90), ("p95", found.p95), ("p99", found.p99), ("p99.9", found.p999))
    return "  ".join(f"{name} {format_duration(seconds)}" for name, seconds in named)


def _stage_row(figures: OperationFigures, stage: str, seconds: float, found: Percentiles) -> list[str | Cell]:
    share = seconds / figures.seconds if figures.seconds > 0.0 else 0.0
    style = "dim" if stage == _REST else "cyan"
    several = (found.p50, found.p90, found.p99) if figures.count > 1 else ()  # of one, they are that one
    times = [format_duration(value) for value in several] or [""] * 3
    return [stage, format_duration(seconds), f"{share:.1%}", *times, Cell(bar(share, _BAR_WIDTH), style)]


def _operation_row(timing: OperationTiming) -> list[str | Cell]:
    stage, seconds = max([*timing.stages.items(), (_REST, timing.unaccounted_s)], key=lambda item: item[1])
    mostly = f"{stage} {seconds / timing.seconds:.0%}" if timing.seconds > 0.0 else ""
    waited = "" if timing.stall_s is None else format_duration(timing.stall_s)
    return [
        timing.checkpoint or "-",
        age(timing.at),
        format_size(timing.nbytes),
        format_duration(timing.seconds),
        _speed(timing.bytes_per_s),
        waited,
        mostly,
    ]


def _speed(bytes_per_s: float | None) -> str:
    return "" if bytes_per_s is None else f"{format_size(bytes_per_s)}/s"


def _as_json(kind: _Kind) -> JsonValue:
    figures = kind.figures
    return {
        "kind": figures.kind,
        "count": figures.count,
        "bytes": figures.nbytes,
        "seconds": figures.seconds,
        "stall_s": figures.stall_s,
        "bytes_per_s": figures.bytes_per_s,
        "latency": None if figures.latency is None else dataclasses.asdict(figures.latency),
        "stages": [
            {"stage": stage, "seconds": seconds, **dataclasses.asdict(found)} for stage, seconds, found in kind.stages()
        ],
        "operations": [timing_json(timing) for timing in kind.timings],
    }
