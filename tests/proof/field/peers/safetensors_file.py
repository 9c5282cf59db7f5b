"""The safetensors library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.proof.field.peers.peer import Peer
from tests.proof.field.state import State

__all__ = ["Safetensors"]

_NAME = "latest.safetensors"


class Safetensors(Peer):
    name = "safetensors"
    distribution = "safetensors"
    modules = ("safetensors.torch",)
    how = "`safetensors.torch.save_file` to `latest.safetensors`, over the one before; `load_file`."
    claims = "Loads run no code and refuse malformed headers. Nothing on interrupted saves, power cuts or damaged data."

    @contextmanager
    def saving(self, root: Path) -> Iterator[Callable[[int, State], None]]:
        import torch
        from safetensors.torch import save_file

        def save(_step: int, state: State) -> None:
            save_file({name: torch.from_numpy(array) for name, array in state.items()}, root / _NAME)

        yield save

    def candidates(self, root: Path) -> Sequence[str]:
        return [_NAME] if (root / _NAME).exists() else []

    def load(self, root: Path, candidate: str) -> State:
        from safetensors.torch import load_file

        return {name: tensor.numpy() for name, tensor in load_file(root / candidate).items()}
