"""`mckpt alias`: names for checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from model_checkpoint.analytics.finding import find
from model_checkpoint.cli.checkpoints import checkpoint_json
from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.render import print_json, print_line
from model_checkpoint.errors import CheckpointNotFoundError, ConfigurationError

if TYPE_CHECKING:
    from model_checkpoint.checkpoint.remarks import Remarks
    from model_checkpoint.types import CheckpointInfo

__all__ = ["alias_command"]


@command("alias")
@click.argument("ref")
@click.argument("name", required=False)
@click.option("--remove", is_flag=True, help="Take the name away.")
def alias_command(session: Session, *, ref: str, name: str | None, remove: bool) -> ExitCode:
    """Name a checkpoint, or show its names.

    A name is unique in its experiment: naming another checkpoint moves it. A named checkpoint is kept by every cleanup.
    """
    from model_checkpoint.checkpoint.remarks import Remarks
    from model_checkpoint.checkpoint.workspace import Workspace

    if remove and name is None:
        raise ConfigurationError("--remove needs the name to remove")
    with Workspace.open(session.store_root, create=False) as workspace:
        info = find(workspace.catalog, ref)
        if name is not None:
            remarks = Remarks(workspace)
            info = _remove(remarks, info, name) if remove else remarks.set_alias(info, name)
    if session.as_json:
        print_json(checkpoint_json(info))
    else:
        print_line(f"{info.ref} is {', '.join(f'@{alias}' for alias in info.aliases) or 'without a name'}")
    return ExitCode.OK


def _remove(remarks: Remarks, info: CheckpointInfo, name: str) -> CheckpointInfo:
    """Raises:
    CheckpointNotFoundError: The checkpoint does not have the name; another one may.
    """
    if name not in info.aliases:
        raise CheckpointNotFoundError(f"{info.ref} is not named {name!r}", ref=name, candidates=info.aliases)
    return remarks.remove_alias(info.experiment, name)
