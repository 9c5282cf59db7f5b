"""What a command was pointed at: a reference, a checkpoint's directory, or a plain file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_checkpoint.analytics.finding import find
from model_checkpoint.cli.command import Session
from model_checkpoint.database.listing import Listing
from model_checkpoint.errors import CheckpointNotFoundError
from model_checkpoint.storage.names import MANIFEST_NAME
from model_checkpoint.types import CheckpointInfo

if TYPE_CHECKING:
    from model_checkpoint.storage.contents import Contents

__all__ = ["Target", "find_target", "store_target"]


@dataclass(frozen=True, slots=True)
class Target:
    """Something on disk.

    Attributes:
        path: A directory with a manifest, or a file.
        info: What the catalog knows of it, where it was named by a reference; None for a path.
        root: The store that the catalog is of; empty for a path.
    """

    path: str
    info: CheckpointInfo | None = None
    root: str = ""

    @property
    def is_file(self) -> bool:
        return not os.path.isdir(self.path)

    @property
    def nbytes(self) -> int:
        """How many bytes there are to read."""
        if self.info is not None:
            return self.info.nbytes
        if self.is_file:
            return os.path.getsize(self.path)
        return sum(entry.stat(follow_symlinks=False).st_size for entry in os.scandir(self.path))

    def open(self) -> Contents:
        """Open a checkpoint. What the catalog names must be what belongs in that place of the store, and no link.

        Raises:
            CheckpointNotFoundError: It is not there.
            IntegrityError: Its manifest is damaged, or is that of another checkpoint.
            StorageError: It cannot be read.
        """
        from model_checkpoint.storage.contents import open_contents
        from model_checkpoint.storage.scan import open_at

        return open_contents(self.path) if self.info is None else open_at(self.root, self.info.path)

    @property
    def name(self) -> str:
        """What to call it."""
        return self.path if self.info is None else self.info.ref


def find_target(session: Session, text: str) -> Target:
    """Find a path that exists, else what the reference names.

    Raises:
        CheckpointNotFoundError: It is neither, or there is no store to look in.
    """
    if os.path.isfile(text) or os.path.isfile(os.path.join(text, MANIFEST_NAME)):
        return Target(text)
    if _looks_like_path(text):
        what = "is not a checkpoint: it has no manifest" if os.path.isdir(text) else "does not exist"
        raise CheckpointNotFoundError(f"{text} {what}", ref=text)
    root = session.store_root
    with Listing.open(root) as listing:
        return store_target(root, find(listing, text))


def store_target(root: str | os.PathLike[str], info: CheckpointInfo) -> Target:
    """A checkpoint of a store."""
    real = os.path.realpath(root)
    return Target(os.path.join(real, info.path), info, real)


def _looks_like_path(text: str) -> bool:
    """A slash makes a path, except in the name of a metric: ``best@eval/accuracy``."""
    return (os.sep in text and "best@" not in text) or text.endswith(".safetensors") or text in (".", "..")
