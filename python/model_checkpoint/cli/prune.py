"""`mckpt prune`: carry out the retention policy, after showing what it would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from model_checkpoint.cli.checkpoints import checkpoint_json, metric_names
from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.render import Cell, Column, age, count, escape, number, print_json, print_line, print_table
from model_checkpoint.errors import CheckpointInUseError, CheckpointNotFoundError, ConfigurationError
from model_checkpoint.types import CheckpointState, ExperimentInfo
from model_checkpoint.utils.clock import utc_now
from model_checkpoint.utils.sizes import format_size
from model_checkpoint.utils.strict_json import JsonValue

if TYPE_CHECKING:
    from datetime import datetime

    from model_checkpoint.checkpoint.cleaning import Janitor
    from model_checkpoint.checkpoint.retention import RetentionDecision, RetentionPlan
    from model_checkpoint.checkpoint.workspace import Workspace
    from model_checkpoint.storage.trash import TrashEntry
    from model_checkpoint.types import CheckpointInfo

__all__ = ["prune_command"]


@dataclass(frozen=True, slots=True)
class _Cleanup:
    """What is planned for one experiment, and what became of it.

    Attributes:
        experiment: Its settings.
        plan: The plan.
        removed: What went to the trash; nothing in a dry run.
    """

    experiment: ExperimentInfo
    plan: RetentionPlan
    removed: tuple[CheckpointInfo, ...] = ()


@command("prune")
@click.argument("experiment", required=False)
@click.option("-k", "--keep", metavar="POLICY", help="Instead of the experiment's own policy: 'last(3)|best(2)'.")
@click.option("-y", "--yes", is_flag=True, help="Do it.")
@click.option("--force", is_flag=True, help="Even if it removes very many at once.")
@click.option("--empty-trash", is_flag=True, help="Instead, delete for good what is in the trash.")
def prune_command(
    session: Session, *, experiment: str | None, keep: str | None, yes: bool, force: bool, empty_trash: bool
) -> ExitCode:
    """Move what the policy does not keep to the trash.

    Without --yes nothing is changed: the plan is shown, and the exit code is 5 if it would remove something. What is in
    the trash can be restored for 7 days.
    """
    from model_checkpoint.checkpoint.workspace import Workspace

    if empty_trash and (keep is not None or force):
        raise ConfigurationError("--empty-trash takes neither --keep nor --force")
    with Workspace.open(session.store_root, create=False) as workspace:
        if empty_trash:
            return _empty_trash(session, workspace, experiment, yes=yes)
        return _prune(session, workspace, experiment, keep, yes=yes, force=force)


# --- the policy -------------------------------------------------------------------------------------------------------


def _prune(
    session: Session, workspace: Workspace, experiment: str | None, keep: str | None, *, yes: bool, force: bool
) -> ExitCode:
    from model_checkpoint.checkpoint.cleaning import Janitor
    from model_checkpoint.storage.store import TRASH_DAYS

    janitor = Janitor(workspace, emit=lambda _: None, trash_for=timedelta(days=TRASH_DAYS))
    cleanups = [_plan(janitor, info, keep) for info in _experiments(workspace, experiment)]
    if yes:
        cleanups = [_carry_out(janitor, workspace, cleanup, force=force) for cleanup in cleanups]
    if session.as_json:
        print_json({"done": yes, "experiments": [_as_json(cleanup) for cleanup in cleanups]})
    else:
        _print(cleanups, done=yes)
    return ExitCode.WOULD_CHANGE if not yes and any(c.plan.removed for c in cleanups) else ExitCode.OK


def _experiments(workspace: Workspace, name: str | None) -> Sequence[ExperimentInfo]:
    known = tuple(map(workspace.settings, workspace.catalog.experiments()))
    if name is None:
        return known
    found = [info for info in known if info.name == name]
    if not found:
        candidates = [info.name for info in known][:3]
        raise CheckpointNotFoundError(f"there is no experiment {name!r}", ref=name, candidates=candidates)
    return found


def _plan(janitor: Janitor, info: ExperimentInfo, keep: str | None) -> _Cleanup:
    from model_checkpoint.checkpoint.keep import Keep

    text = keep if keep is not None else info.keep
    return _Cleanup(info, janitor.plan(info, Keep.all() if text is None else Keep.parse(text)))


def _carry_out(janitor: Janitor, workspace: Workspace, cleanup: _Cleanup, *, force: bool) -> _Cleanup:
    """What somebody has begun to read since the plan was made stays, and is not counted."""
    janitor.carry_out(cleanup.plan, cleanup.experiment.name, force=force)
    still_there = {info.id for info in workspace.catalog.list(cleanup.experiment.name)}
    removed = tuple(info for info in cleanup.plan.removed if info.id not in still_there)
    return _Cleanup(cleanup.experiment, cleanup.plan, removed)


def _print(cleanups: Sequence[_Cleanup], *, done: bool) -> None:
    now = utc_now()
    for cleanup in cleanups:
        if cleanup.plan.decisions:
            print_line(escape(f"{cleanup.experiment.name} · keep {cleanup.plan.policy}"), style="bold")
            _print_plan(cleanup, now)
            print_line()
    removed = [info for cleanup in cleanups for info in (cleanup.removed if done else cleanup.plan.removed)]
    what = f"{count(len(removed), 'checkpoint')}, {format_size(sum(info.nbytes for info in removed))}"
    if not removed:
        print_line("nothing to remove")
    elif done:
        print_line(f"moved to the trash: {what}. Undo for 7 days with: mckpt restore")
    else:
        print_line(f"would move to the trash: {what}. Nothing was changed: do it with --yes")


def _print_plan(cleanup: _Cleanup, now: datetime) -> None:
    decisions = tuple(reversed(cleanup.plan.decisions))
    metrics = metric_names([decision.checkpoint for decision in decisions], cleanup.experiment.monitor)
    columns = [
        Column("PLAN"),
        Column("STEP", right=True),
        Column("ID"),
        Column("AGE", right=True),
        *(Column(name, right=True, clips=True) for name in metrics),
        Column("SIZE", right=True),
        Column("BECAUSE", wraps=True),
    ]
    print_table(columns, [_row(decision, cleanup.plan.policy, metrics, now) for decision in decisions])


def _row(decision: RetentionDecision, policy: str, metrics: Sequence[str], now: datetime) -> Sequence[str | Cell]:
    info = decision.checkpoint
    return [
        Cell("keep", "green") if decision.reasons else Cell("remove", "yellow"),
        str(info.step),
        Cell(info.id[:8], "dim"),
        age(info.created_at, now),
        *(number(info.metrics.get(name)) for name in metrics),
        format_size(info.nbytes),
        ", ".join(decision.reasons or (f"not {part}" for part in policy.split(" | "))),
    ]


def _as_json(cleanup: _Cleanup) -> JsonValue:
    plan = cleanup.plan
    return {
        "name": cleanup.experiment.name,
        "keep": plan.policy,
        "remove": [checkpoint_json(info) for info in reversed(plan.removed)],
        "remove_bytes": plan.freed_bytes,
        "kept": [checkpoint_json(d.checkpoint, d.reasons) for d in reversed(plan.decisions) if d.reasons],
        "removed": [info.ref for info in cleanup.removed],
    }


# --- the trash --------------------------------------------------------------------------------------------------------


def _empty_trash(session: Session, workspace: Workspace, experiment: str | None, *, yes: bool) -> ExitCode:
    sizes = {info.id: info.nbytes for info in workspace.catalog.list(states=(CheckpointState.TRASHED,))}
    entries = [e for e in workspace.store.trash.entries() if experiment in (None, e.path.partition("/")[0])]
    if yes:
        entries = [entry for entry in entries if _purge(workspace, entry)]
    nbytes = sum(sizes.get(entry.id, 0) for entry in entries)
    if session.as_json:
        print_json({"done": yes, "delete": [entry.path for entry in entries], "delete_bytes": nbytes})
    else:
        for entry in entries:
            print_line(escape(f"{'deleted' if yes else 'would delete'} {entry.path}"))
        what = f"{count(len(entries), 'checkpoint')}, {format_size(nbytes)}"
        print_line(f"deleted for good: {what}" if yes else f"would delete for good: {what}. Do it with --yes")
    return ExitCode.WOULD_CHANGE if entries and not yes else ExitCode.OK


def _purge(workspace: Workspace, entry: TrashEntry) -> bool:
    """Delete one for good; whether this did it. What somebody still reads stays; others may have been faster."""
    try:
        workspace.store.trash.purge(entry)
    except (CheckpointInUseError, CheckpointNotFoundError):
        return False
    workspace.catalog.remove(entry.id)
    return True
