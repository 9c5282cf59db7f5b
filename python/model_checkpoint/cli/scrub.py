"""`mckpt scrub`: read the store from its device, note what is sound, find and repair what is damaged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.progress import byte_progress
from model_checkpoint.cli.render import Cell, Column, age, count, escape, print_json, print_line, print_table
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.utils.clock import utc_now
from model_checkpoint.utils.duration import format_duration, parse_duration
from model_checkpoint.utils.sizes import format_size, parse_size
from model_checkpoint.utils.strict_json import JsonValue

if TYPE_CHECKING:
    from datetime import datetime

    from model_checkpoint.checkpoint.scrub_due import Due
    from model_checkpoint.checkpoint.scrub_order import ScrubDecision
    from model_checkpoint.checkpoint.scrub_report import ScrubDamage, ScrubReport
    from model_checkpoint.events import Event

__all__ = ["scrub_command"]

_PLAN = (
    Column("ORDER", right=True), Column("CHECKPOINT", clips=True), Column("AGE", right=True),
    Column("SIZE", right=True), Column("BECAUSE", wraps=True),
)  # fmt: skip


@command("scrub")
@click.argument("refs", metavar="[REF]...", nargs=-1)
@click.option("--repair", is_flag=True, help="Repair what has a good copy.")
@click.option(
    "--from",
    "copies",
    metavar="DIR",
    multiple=True,
    help="Look for good copies there too: another store, a directory of exports, a file. May be given again.",
)
@click.option("--rate", metavar="SIZE", help="Read at most so much in a second: '200MB/s'.")
@click.option("--for", "within", metavar="TIME", help="Stop after that long: '10m'. The next scrub goes on from there.")
@click.option("--older-than", metavar="TIME", help="Only what was not verified since that long: '7d'.")
@click.option("--plan", "only_plan", is_flag=True, help="Only show what would be read, in which order, and why.")
def scrub_command(
    session: Session,
    *,
    refs: tuple[str, ...],
    repair: bool,
    copies: tuple[str, ...],
    rate: str | None,
    within: str | None,
    older_than: str | None,
    only_plan: bool,
) -> ExitCode:
    """Read checkpoints from the device, note what is sound, and find, or repair, what is damaged.

    Without a REF, the whole store is read, the checkpoint longest not verified first, segments of metrics last. However
    a scrub ends, the next one goes on where it was. Damage is named by file, tensor and chunk, with the file that has a
    good copy; --repair puts that in its place. The exit code is 4 if damage is left.
    """
    from model_checkpoint.checkpoint.scrub import Scrubber
    from model_checkpoint.checkpoint.scrub_due import due
    from model_checkpoint.checkpoint.workspace import Workspace

    bytes_per_s = None if rate is None else _parse_rate(rate)
    within_s = None if within is None else parse_duration(within)
    older_than_s = None if older_than is None else parse_duration(older_than)
    if only_plan and (repair or copies or rate or within):
        raise ConfigurationError("--plan reads nothing: it takes neither --repair nor --from, --rate or --for")
    with Workspace.open(session.store_root, create=False) as workspace:
        todo = due(workspace, refs, older_than_s=older_than_s)
        if only_plan:
            return _print_due(session, todo)
        with byte_progress("scrubbing", todo.nbytes) as advance:
            scrubber = Scrubber(
                workspace,
                emit=(lambda _: None) if session.as_json else _print_event,
                copies=copies,
                repair=repair,
                bytes_per_s=bytes_per_s,
                within_s=within_s,
                advance=advance,
            )
            with _interruptible() as interruption:
                scrubber.run(todo)
        report = scrubber.report
    if session.as_json:
        print_json(_as_json(report, interrupted=bool(interruption)))
    else:
        _print(report, interrupted=bool(interruption))
    if interruption:
        return ExitCode.INTERRUPTED
    return ExitCode.INTEGRITY if report.left else ExitCode.OK


def _parse_rate(text: str) -> int:
    try:
        return parse_size(text.removesuffix("/s"))
    except ConfigurationError:
        raise ConfigurationError(f"{text!r} is not a rate; write '200MB/s' or '1.5GB/s'") from None


@contextlib.contextmanager
def _interruptible() -> Iterator[list[KeyboardInterrupt]]:
    """Let Ctrl-C end the block; what was found until then is still reported."""
    interruptions: list[KeyboardInterrupt] = []
    try:
        yield interruptions
    except KeyboardInterrupt as interruption:
        interruptions.append(interruption)


# --- output -----------------------------------------------------------------------------------------------------------


def _print_due(session: Session, todo: Due) -> ExitCode:
    """What would be read, and why; what is left out comes last."""
    decisions = sorted(todo.decisions, key=lambda decision: not decision.due)
    if session.as_json:
        print_json({"plan": [_decision_json(decision) for decision in decisions], "bytes": todo.nbytes})
        return ExitCode.OK
    now = utc_now()
    print_table(_PLAN, [_decision_row(place, decision, now) for place, decision in enumerate(decisions, 1)])
    for path in todo.strays:
        print_line(escape(f"{path}: its manifest is gone or damaged"))
    metrics = f" and {count(len(todo.segments), 'segment')} of metrics" if todo.segments else ""
    print_line(f"{count(len(todo), 'checkpoint')}{metrics} would be read, {format_size(todo.nbytes)}")
    return ExitCode.OK


def _decision_row(place: int, decision: ScrubDecision, now: datetime) -> list[str | Cell]:
    info, due = decision.checkpoint, decision.due
    return [
        Cell(str(place), "green") if due else Cell("-", "dim"),
        info.ref,
        age(info.created_at, now),
        format_size(info.nbytes),
        ", ".join(due.reasons),
    ]


def _decision_json(decision: ScrubDecision) -> JsonValue:
    info = decision.checkpoint
    return {
        "checkpoint": info.ref,
        "bytes": info.nbytes,
        "due": decision.due.answer,
        "because": list(decision.due.reasons),
    }


def _print_event(event: Event) -> None:
    """Damage is told when it is found: a scrub may take a night."""
    from model_checkpoint.events import CheckpointDamaged

    if isinstance(event, CheckpointDamaged):
        word, style = ("repaired", "yellow") if event.repaired else ("DAMAGED", "bold red")
        print_line(f"{word:8}  {escape(event.ref)}  {escape(event.damage)}", style)


def _print(report: ScrubReport, *, interrupted: bool) -> None:
    speed = format_size(report.nbytes / max(report.seconds, 1e-9))
    size, time = format_size(report.nbytes), format_duration(report.seconds)
    segments = f", {count(report.segments, 'segment')} of metrics" if report.segments else ""
    print_line(f"{count(report.checked, 'checkpoint')}{segments}, {size} in {time} ({speed}/s): {_verdict(report)}")
    if report.skipped:
        print_line(escape(f"removed meanwhile: {', '.join(report.skipped)}"))
    if report.remaining:
        why = "interrupted" if interrupted else "out of time"
        print_line(f"{why}: {count(report.remaining, 'checkpoint')} left; the next scrub goes on from here")


def _verdict(report: ScrubReport) -> str:
    if not report.damaged:
        return "all sound"
    repaired, left = len(report.repaired), len(report.left)
    with_copy = sum(damage.copy is not None and not damage.problem for damage in report.left)
    parts = [f"{repaired:,} repaired"] if repaired else []
    if left:
        parts.append(f"{left:,} damaged" + (f", {with_copy:,} of them repairable with --repair" if with_copy else ""))
    return ", ".join(parts)


def _as_json(report: ScrubReport, *, interrupted: bool) -> JsonValue:
    return {
        "checked": report.checked,
        "segments": report.segments,
        "bytes": report.nbytes,
        "seconds": report.seconds,
        "damage": [_damage_json(damage) for damage in report.damaged],
        "skipped": list(report.skipped),
        "remaining": report.remaining,
        "interrupted": interrupted,
    }


def _damage_json(damage: ScrubDamage) -> JsonValue:
    return {
        "checkpoint": damage.ref,
        "file": damage.file,
        "tensor": damage.tensor,
        "chunk": damage.chunk,
        "offset": damage.offset,
        "bytes": damage.nbytes,
        "message": damage.message,
        "copy": damage.copy,
        "repaired": damage.repaired,
        "problem": damage.problem,
    }
