"""torch.save, in the three ways in which people use it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.proof.field.peers.peer import Peer
from tests.proof.field.state import State

__all__ = ["TorchDurable", "TorchPlain", "TorchReplace"]

_NAME = "latest.pt"


class TorchPlain(Peer):
    name = "torch.save"
    distribution = "torch"
    modules = ("torch",)
    how = "`torch.save` to `latest.pt`, over the one before, as the tutorials do; `torch.load` with its defaults."
    claims = (
        "Nothing on interrupted saves, power cuts or damage. Loads are restricted to tensors, plain values and types "
        "that were allowed, unless `weights_only=False`."
    )

    @contextmanager
    def saving(self, root: Path) -> Iterator[Callable[[int, State], None]]:
        import torch

        def save(_step: int, state: State) -> None:
            self._write({name: torch.from_numpy(array) for name, array in state.items()}, root / _NAME)

        yield save

    def _write(self, state: dict, path: Path) -> None:
        import torch

        torch.save(state, path)

    def candidates(self, root: Path) -> Sequence[str]:
        return [_NAME] if (root / _NAME).exists() else []

    def load(self, root: Path, candidate: str) -> State:
        import torch

        return {name: tensor.numpy() for name, tensor in torch.load(root / candidate).items()}


class TorchReplace(TorchPlain):
    name = "torch.save + replace"
    how = "`torch.save` to a temporary file, then `os.replace` over `latest.pt`."

    def _write(self, state: dict, path: Path) -> None:
        temporary = path.with_suffix(".tmp")
        try:
            self._write_aside(state, temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _write_aside(self, state: dict, temporary: Path) -> None:
        import torch

        torch.save(state, temporary)


class TorchDurable(TorchReplace):
    name = "torch.save + fsync + replace"
    how = "The same with all that POSIX asks for, by hand: fsync of the file, `os.replace`, fsync of the directory."

    def _write(self, state: dict, path: Path) -> None:
        super()._write(state, path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _write_aside(self, state: dict, temporary: Path) -> None:
        import torch

        with open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
