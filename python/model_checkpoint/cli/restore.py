"""`mckpt restore`: what is in the trash, and back from there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from model_checkpoint.cli.checkpoints import checkpoint_json
from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.render import Column, ago, print_json, print_line, print_table
from model_checkpoint.types import CheckpointState
from model_checkpoint.utils.clock import format_rfc3339, utc_now
from model_checkpoint.utils.sizes import format_size
from model_checkpoint.utils.strict_json import JsonValue

if TYPE_CHECKING:
    from datetime import datetime

    from model_checkpoint.checkpoint.workspace import Workspace
    from model_checkpoint.storage.trash import TrashEntry
    from model_checkpoint.types import CheckpointInfo

__all__ = ["restore_command"]

_TRASHED = (CheckpointState.TRASHED,)
_COLUMNS = [
    Column("CHECKPOINT"),
    Column("SIZE", right=True),
    Column("DELETED", right=True),
    Column("KEPT UNTIL"),
    Column("BECAUSE", wraps=True),
]


@command("restore")
@click.argument("ref", required=False)
def restore_command(session: Session, *, ref: str | None) -> ExitCode:
    """Bring a checkpoint back from the trash, or list what is there."""
    from model_checkpoint.checkpoint.workspace import Workspace

    with Workspace.open(session.store_root, create=False) as workspace:
        if ref is None:
            _list(session, workspace)
        else:
            _restore(session, workspace, ref)
    return ExitCode.OK


def _restore(session: Session, workspace: Workspace, ref: str) -> None:
    from model_checkpoint.analytics.finding import find
    from model_checkpoint.checkpoint.cleaning import Janitor

    trashed = find(workspace.catalog, ref, states=_TRASHED)
    info = Janitor(workspace, emit=lambda _: None).restore(trashed.id)
    if session.as_json:
        print_json(checkpoint_json(info))
    else:
        print_line(f"restored {info.ref}")


def _list(session: Session, workspace: Workspace) -> None:
    entries = workspace.store.trash.entries()
    known = {info.id: info for info in workspace.catalog.list(states=_TRASHED)}
    if session.as_json:
        print_json({"trash": [_as_json(entry, known.get(entry.id)) for entry in entries]})
    elif not entries:
        print_line("the trash is empty")
    else:
        now = utc_now()
        print_table(_COLUMNS, [_row(entry, known.get(entry.id), now) for entry in entries])
        print_line("bring one back with: mckpt restore CHECKPOINT")


def _row(entry: TrashEntry, info: CheckpointInfo | None, now: datetime) -> list[str]:
    return [
        entry.path if info is None else info.ref,
        "" if info is None else format_size(info.nbytes),
        ago(entry.trashed_at, now),
        f"{entry.expires_at:%Y-%m-%d}",
        ", ".join(entry.reasons),
    ]


def _as_json(entry: TrashEntry, info: CheckpointInfo | None) -> dict[str, JsonValue]:
    return {
        "id": entry.id,
        "ref": None if info is None else info.ref,
        "path": entry.path,
        "bytes": None if info is None else info.nbytes,
        "trashed_at": format_rfc3339(entry.trashed_at),
        "expires_at": format_rfc3339(entry.expires_at),
        "reasons": list(entry.reasons),
    }
