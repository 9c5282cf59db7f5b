"""Noting in store and catalog what a verification has found."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from model_checkpoint.checkpoint.remarks import Remarks
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.cli.verdict import Verdict
from model_checkpoint.types import CheckpointState
from model_checkpoint.utils.clock import utc_now

__all__ = ["record"]


def record(root: Path, verdicts: Iterable[Verdict]) -> None:
    """Note when each sound checkpoint was verified; a damaged one does not count as verified any more.

    Raises:
        StorageError: The store cannot be written.
        CatalogError: The catalog cannot be written.
    """
    with Workspace.open(root, create=False) as workspace:
        remarks = Remarks(workspace)
        for verdict in verdicts:
            info = verdict.target.info
            if info is None or info.state is not CheckpointState.COMMITTED:
                continue
            if not verdict.flaws:
                remarks.set_verified(info, utc_now())
            elif info.verified_at is not None:
                remarks.set_damaged(info)
