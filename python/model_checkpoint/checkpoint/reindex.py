"""Rebuilding the catalog of a store from its files alone."""

from __future__ import annotations

import os

from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.storage.scan import StoreScan

__all__ = ["reindex"]


def reindex(root: str | os.PathLike[str]) -> StoreScan:
    """Make the catalog of a store anew from manifests, annotations and settings; files of tensors are not read.

    Logged metrics and the audit log stay, unless the catalog is damaged: then it is kept aside, and a new one begins.

    Args:
        root: The store's directory.

    Returns:
        What was found: checkpoints, experiments, and what cannot be trusted and was left alone.

    Raises:
        CheckpointNotFoundError: There is no store.
        StorageError: The file system failed.
        CatalogError: The catalog is busy, or of a later version.
    """
    with Workspace.open(root, create=False) as workspace:
        return workspace.rebuild()
