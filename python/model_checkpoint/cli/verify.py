"""`mckpt verify`: read every byte and say what is damaged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.metrics_verdict import examine_metrics
from model_checkpoint.cli.progress import byte_progress
from model_checkpoint.cli.render import Cell, Column, count, escape, print_json, print_line, print_table
from model_checkpoint.cli.target import Target, find_target, store_target
from model_checkpoint.cli.verdict import Verdict, examine, flaw_json
from model_checkpoint.cli.view import PRESENT
from model_checkpoint.database.listing import Listing
from model_checkpoint.errors import CatalogError, ConfigurationError, StorageError
from model_checkpoint.utils.duration import format_duration
from model_checkpoint.utils.sizes import format_size
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["verify_command"]

_COLUMNS = [
    Column("RESULT"),
    Column("CHECKPOINT", clips=True),
    Column("FILES", right=True),
    Column("SIZE", right=True),
    Column("TIME", right=True),
    Column("SPEED", right=True),
]


@command("verify")
@click.argument("targets", metavar="[REF|PATH]...", nargs=-1)
@click.option("-a", "--all", "everything", is_flag=True, help="Every checkpoint of the store, and all of its metrics.")
def verify_command(session: Session, *, targets: tuple[str, ...], everything: bool) -> ExitCode:
    """Read every byte and name what is damaged.

    Every chunk is compared with its SHA-256. Damaged files, tensors and chunks are named, and the exit code is 4 if
    there are any. The catalog remembers when a checkpoint was verified.
    """
    if everything == bool(targets):
        raise ConfigurationError("name what to verify, or say --all")
    chosen = _all_of(session) if everything else [find_target(session, target) for target in targets]
    verdicts = _examine(chosen)
    metrics = examine_metrics(session.store_root) if everything else None
    unrecorded = _record(session, verdicts)
    if session.as_json:
        of_metrics = {} if metrics is None else {"metrics": metrics.as_json()}
        checkpoints = [_as_json(verdict) for verdict in verdicts]
        print_json({"checkpoints": checkpoints, "recorded": unrecorded is None, **of_metrics})
    else:
        _print(verdicts)
        if metrics is not None and metrics.segments:
            metrics.print()
    if unrecorded is not None:
        click.echo(f"mckpt: verified, but the catalog could not note it: {escape(str(unrecorded))}", err=True)
    is_damaged = any(verdict.flaws for verdict in verdicts) or (metrics is not None and bool(metrics.damaged))
    return ExitCode.INTEGRITY if is_damaged else ExitCode.OK


def _all_of(session: Session) -> list[Target]:
    root = session.store_root
    with Listing.open(root) as listing:
        return [store_target(root, info) for info in listing.list(states=PRESENT)]


def _examine(targets: Sequence[Target]) -> list[Verdict]:
    with byte_progress("verifying", sum(target.nbytes for target in targets)) as advance:
        return [examine(target, advance) for target in targets]


def _record(session: Session, verdicts: Iterable[Verdict]) -> Exception | None:
    """Note the outcome for what the catalog knows; the reason, where the store cannot be written."""
    of_catalog = [verdict for verdict in verdicts if verdict.target.info is not None]
    if not of_catalog:
        return None
    from model_checkpoint.cli.recording import record

    try:
        record(session.root, of_catalog)
    except (StorageError, CatalogError) as error:
        return error
    return None


# --- output -----------------------------------------------------------------------------------------------------------


def _print(verdicts: Sequence[Verdict]) -> None:
    print_table(_COLUMNS, map(_row, verdicts))
    damaged = [verdict for verdict in verdicts if verdict.flaws]
    for verdict in damaged:
        print_line()
        print_line(escape(verdict.target.name), style="bold")
        for flaw in verdict.flaws:
            print_line("  " + escape(str(flaw)))
    if len(verdicts) > 1:
        nbytes, seconds = sum(v.nbytes for v in verdicts), sum(v.seconds for v in verdicts)
        found = f"{len(damaged)} damaged" if damaged else "all sound"
        noun = "path" if any(verdict.target.is_file for verdict in verdicts) else "checkpoint"
        print_line(f"{count(len(verdicts), noun)}, {_speed(nbytes, seconds)}: {found}")


def _row(verdict: Verdict) -> Sequence[str | Cell]:
    result = Cell("DAMAGED", "bold red") if verdict.flaws else Cell("verified", "green")
    name, seconds = verdict.target.name, verdict.seconds
    if not verdict.nbytes:
        return [result, name, "", "", "", ""]
    size, time = format_size(verdict.nbytes), format_duration(seconds)
    return [result, name, str(verdict.files), size, time, f"{format_size(verdict.nbytes / max(seconds, 1e-9))}/s"]


def _speed(nbytes: int, seconds: float) -> str:
    """``1.4 GB in 0.6 s (2.3 GB/s)``."""
    return f"{format_size(nbytes)} in {format_duration(seconds)} ({format_size(nbytes / max(seconds, 1e-9))}/s)"


def _as_json(verdict: Verdict) -> JsonValue:
    return {
        "name": verdict.target.name,
        "path": verdict.target.path,
        "verified": not verdict.flaws,
        "files": verdict.files,
        "bytes": verdict.nbytes,
        "seconds": verdict.seconds,
        "damage": [flaw_json(flaw) for flaw in verdict.flaws],
    }
