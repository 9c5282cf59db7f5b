"""orbax-checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tests.proof.field.peers.peer import Peer
from tests.proof.field.state import State, state_at

__all__ = ["Orbax"]


class Orbax(Peer):
    name = "orbax"
    distribution = "orbax-checkpoint"
    modules = ("orbax.checkpoint",)
    how = "`CheckpointManager` with `max_to_keep=2`, each save waited for; the newest of `all_steps()`."
    claims = "A checkpoint appears whole or not at all, by a rename. Nothing on power cuts or damage."

    @contextmanager
    def saving(self, root: Path) -> Iterator[Callable[[int, State], None]]:
        import orbax.checkpoint as ocp

        options = ocp.CheckpointManagerOptions(max_to_keep=2)
        with ocp.CheckpointManager(root, options=options) as manager:

            def save(step: int, state: State) -> None:
                manager.save(step, args=ocp.args.StandardSave(state))
                manager.wait_until_finished()

            yield save

    def candidates(self, root: Path) -> Sequence[str]:
        import orbax.checkpoint as ocp

        with ocp.CheckpointManager(root) as manager:
            return [str(step) for step in sorted(manager.all_steps(), reverse=True)]

    def load(self, root: Path, candidate: str) -> State:
        import orbax.checkpoint as ocp

        target = {name: np.empty_like(array) for name, array in state_at(0).items()}
        with ocp.CheckpointManager(root) as manager:
            return dict(manager.restore(int(candidate), args=ocp.args.StandardRestore(target)))
