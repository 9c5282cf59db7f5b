"""`mckpt pin` and `mckpt unpin`: protect a checkpoint from every cleanup, or not any more."""

from __future__ import annotations

import click

from model_checkpoint.analytics.finding import find
from model_checkpoint.cli.checkpoints import checkpoint_json
from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.render import print_json, print_line

__all__ = ["pin_command", "unpin_command"]


@command("pin")
@click.argument("ref")
def pin_command(session: Session, *, ref: str) -> ExitCode:
    """Keep a checkpoint, whatever the policy says."""
    return _set_pinned(session, ref, pinned=True)


@command("unpin")
@click.argument("ref")
def unpin_command(session: Session, *, ref: str) -> ExitCode:
    """Leave a checkpoint to the policy again."""
    return _set_pinned(session, ref, pinned=False)


def _set_pinned(session: Session, ref: str, *, pinned: bool) -> ExitCode:
    from model_checkpoint.checkpoint.remarks import Remarks
    from model_checkpoint.checkpoint.workspace import Workspace

    with Workspace.open(session.store_root, create=False) as workspace:
        info = Remarks(workspace).pin(find(workspace.catalog, ref), pinned=pinned)
    if session.as_json:
        print_json(checkpoint_json(info))
    else:
        print_line(f"{info.ref} is {'pinned' if pinned else 'not pinned'}")
    return ExitCode.OK
