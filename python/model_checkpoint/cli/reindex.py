"""`mckpt reindex`: the catalog anew, from the manifests."""

from __future__ import annotations

from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.render import count, escape, print_json, print_line
from model_checkpoint.types import CheckpointState

__all__ = ["reindex_command"]


@command("reindex")
def reindex_command(session: Session) -> ExitCode:
    """Rebuild the catalog from the manifests in the store.

    Nothing but the catalog is changed. A damaged one is kept aside; logged metrics and the audit log survive in a sound
    one. What cannot be trusted is named and left alone.
    """
    from model_checkpoint.checkpoint.reindex import reindex

    found = reindex(session.store_root)
    trashed = sum(info.state is CheckpointState.TRASHED for info in found.checkpoints)
    present = len(found.checkpoints) - trashed
    if session.as_json:
        left_alone = [{"path": item.path, "reason": item.reason} for item in found.quarantined]
        names = [experiment.name for experiment in found.experiments]
        print_json({"checkpoints": present, "in_trash": trashed, "experiments": names, "left_alone": left_alone})
        return ExitCode.OK
    in_trash = f" and {trashed:,} in the trash" if trashed else ""
    experiments = count(len({info.experiment for info in found.checkpoints}), "experiment")
    print_line(f"indexed {count(present, 'checkpoint')}{in_trash} of {experiments}")
    for item in found.quarantined:
        print_line(escape(f"left alone {item.path}: {item.reason}"), style="yellow")
    return ExitCode.OK
