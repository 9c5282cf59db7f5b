"""torch.distributed.checkpoint, of one process."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tests.proof.field.peers.peer import Peer
from tests.proof.field.state import STEP, State, state_at

__all__ = ["Dcp", "DcpInPlace"]

_KEPT = 2


class Dcp(Peer):
    name = "DCP"
    distribution = "torch"
    modules = ("torch.distributed.checkpoint",)
    how = (
        "`torch.distributed.checkpoint.save`, one process, with its defaults (`sync_files=True`), to a new directory "
        "for each step, of which the newest two are kept; the newest one that has a `.metadata`."
    )
    claims = (
        'Its files are "synced to permanent storage", without which "there\'s no guarantee that the checkpoint will be '
        'consistent in the case of a failure". Nothing on damage; its `.metadata` is a pickle.'
    )

    @contextmanager
    def saving(self, root: Path) -> Iterator[Callable[[int, State], None]]:
        import torch
        from torch.distributed.checkpoint import save

        def save_step(step: int, state: State) -> None:
            tensors = {name: torch.from_numpy(array) for name, array in state.items()}
            with _quiet():
                save(tensors, checkpoint_id=self._directory(root, step), no_dist=True)
            self._rotate(root)

        yield save_step

    def _directory(self, root: Path, step: int) -> Path:
        return root / f"step-{step:08}"

    def _rotate(self, root: Path) -> None:
        for name in self.candidates(root)[_KEPT:]:
            shutil.rmtree(root / name)

    def candidates(self, root: Path) -> Sequence[str]:
        return sorted((path.parent.name for path in root.glob("*/.metadata")), reverse=True)

    def load(self, root: Path, candidate: str) -> State:
        import torch
        from torch.distributed.checkpoint import load

        state = {name: torch.from_numpy(np.empty_like(array)) for name, array in state_at(0).items()}
        state[STEP].fill_(-1)
        with _quiet():
            load(state, checkpoint_id=root / candidate, no_dist=True)
        return {name: tensor.numpy() for name, tensor in state.items()}


class DcpInPlace(Dcp):
    name = "DCP, one directory"
    how = "The same to one directory, over the checkpoint before, as the tutorial does."

    def _directory(self, root: Path, step: int) -> Path:
        return root / "checkpoint"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning that there is one process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        yield
