"""Model Checkpoint Engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.proof.field.peers.peer import Peer
from tests.proof.field.state import State, state_at

__all__ = ["Ours"]


class Ours(Peer):
    name = "Model Checkpoint Engine"
    distribution = "model-checkpoint-engine"
    modules = ("model_checkpoint.checkpoint.manager", "model_checkpoint.storage.safetensors.reader")
    how = "`CheckpointManager` with `keep=Keep.last(2)`, each save waited for; the newest of `list()`."
    claims = "All of it."
    own_files = "*/step-*/*"  # not the catalog beside, an index that is rebuilt from them and has tests of its own

    @contextmanager
    def saving(self, root: Path) -> Iterator[Callable[[int, State], None]]:
        import model_checkpoint as mc

        model = state_at(0)
        with mc.CheckpointManager(root, keep=mc.Keep.last(2)) as manager:
            manager.track(model=model)

            def save(step: int, state: State) -> None:
                for name, array in state.items():
                    model[name][...] = array
                manager.save(step).result()

            yield save

    def candidates(self, root: Path) -> Sequence[str]:
        import model_checkpoint as mc

        with mc.CheckpointManager(root) as manager:
            return [info.id for info in manager.list()]

    def load(self, root: Path, candidate: str) -> State:
        import model_checkpoint as mc

        with mc.CheckpointManager(root) as manager:
            return dict(manager.load(candidate)["model"])
