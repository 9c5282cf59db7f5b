"""The safetensors library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import safetensors
import safetensors.torch

from benchmarks.peers.peer import Loader, Peer, Restorer, Saver, State


class Safetensors(Peer):
    """Its tensors lie in a mapping until they are copied; it neither hashes nor syncs."""

    name = "safetensors"
    distribution = "safetensors"
    module = "safetensors"
    file_format = "safetensors"

    def savers(self) -> Sequence[Saver]:
        return (Saver("safetensors.save_file", safetensors.torch.save_file),)

    def loaders(self) -> Sequence[Loader]:
        return (
            Loader("safetensors safe_open + clone", _load_cloned),
            Loader("safetensors.load_file", safetensors.torch.load_file, mapped=True),
        )

    def restorers(self) -> Sequence[Restorer]:
        return (Restorer("safetensors safe_open, copy_", _restore),)


def _load_cloned(path: Path) -> State:
    with safetensors.safe_open(path, "pt") as file:
        return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a mapping


def _restore(path: Path, state: State) -> None:
    with safetensors.safe_open(path, "pt") as file:
        for name, tensor in state.items():
            tensor.copy_(file.get_tensor(name))
