"""Places where a peer has saved once."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.harness.nursery import isolated
from tests.proof.field.found import look
from tests.proof.field.peers.peer import Peer
from tests.proof.field.state import state_at

__all__ = ["FIRST", "Saved", "nbytes", "one_save", "save", "saved_once"]

FIRST = 1
"""The step that is saved before anything happens."""

_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@dataclass(frozen=True, slots=True)
class Saved:
    """A directory in memory in which step `FIRST` is saved, and room for copies of it."""

    place: Path

    @property
    def root(self) -> Path:
        return self.place / "saved"

    @contextlib.contextmanager
    def copy(self) -> Iterator[Path]:
        """What is saved, for one trial."""
        root = self.place / "trial"
        shutil.rmtree(root, ignore_errors=True)  # of a process that died in its trial
        shutil.copytree(self.root, root)
        yield root
        shutil.rmtree(root)


@contextlib.contextmanager
def saved_once(peer: Peer) -> Iterator[Saved]:
    with tempfile.TemporaryDirectory(dir=_MEMORY, prefix="mckpt-field-") as place:
        saved = Saved(Path(place))
        saved.root.mkdir()
        save(peer, saved.root, FIRST)
        found = look(peer, saved.root)
        assert found.step == FIRST, f"{peer.name} does not load what it saved: {found}"
        yield saved


def save(peer: Peer, root: Path, step: int) -> None:
    """Save a step, in a process of its own, which ends.

    Raises:
        RuntimeError: It could not be saved.
    """
    isolated(_save, peer, root, step)


def _save(peer: Peer, root: Path, step: int) -> None:
    with peer.saving(root) as save_step:
        save_step(step, state_at(step))


def one_save(peer: Peer, root: Path) -> Callable[[], Callable[[], object]]:
    """For `strace.follow`: opens what has to be open, and then saves the step after the first."""

    def prepare() -> Callable[[], object]:
        step = FIRST + 1
        saving = peer.saving(root)
        save_step, state = saving.__enter__(), state_at(step)
        return lambda: (save_step(step, state), saving)  # the session stays open until the process ends

    return prepare


def nbytes(root: Path) -> int:
    """What the files below a directory occupy."""
    return sum(path.stat().st_blocks * 512 for path in root.rglob("*") if path.is_file())
