"""What a peer is: a package, and the way in which its users save again and again and find the newest checkpoint."""

from __future__ import annotations

import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

from tests.proof.field.state import State

__all__ = ["Peer"]


class Peer(ABC):
    """One way to save. Its package is imported when it is used, and only then.

    Attributes:
        name: What the tables call it.
        distribution: What pip calls it.
        modules: What is imported of it.
        how: How it saves and finds the newest checkpoint, in a sentence.
        claims: What its documentation promises of that which is measured here, in a sentence.
    """

    name: ClassVar[str]
    distribution: ClassVar[str]
    modules: ClassVar[tuple[str, ...]]
    how: ClassVar[str]
    claims: ClassVar[str]
    own_files: ClassVar[str] = "**/*"
    """The files of a checkpoint itself, as a pattern below the root: those that are damaged."""

    @abstractmethod
    def saving(self, root: Path) -> AbstractContextManager[Callable[[int, State], None]]:
        """A function that saves the state of a step; when it returns, the save counts as acknowledged."""

    @abstractmethod
    def candidates(self, root: Path) -> Sequence[str]:
        """The checkpoints that there seem to be, the newest first."""

    @abstractmethod
    def load(self, root: Path, candidate: str) -> State:
        """The state in one of them, as the defaults of the package load it."""

    def version(self) -> str | None:
        """The installed version; None if the package is missing."""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return None
