"""fastsafetensors, without GPUDirect Storage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Loader, Peer, State


class FastSafetensors(Peer):
    """Its tensors lie in memory that its loader frees, so that the loader lives until they are checked."""

    name = "fastsafetensors"
    distribution = "fastsafetensors"
    module = "fastsafetensors"
    file_format = "safetensors"

    def __init__(self) -> None:
        self._open: list[Any] = []

    def loaders(self) -> Sequence[Loader]:
        return (Loader("fastsafetensors, nogds", self._load, release=self._release),)

    def _load(self, path: Path) -> State:
        from fastsafetensors import SafeTensorsFileLoader, SingleGroup

        loader = SafeTensorsFileLoader(SingleGroup(), "cpu", nogds=True)
        self._open.append(loader)
        loader.add_filenames({0: [str(path)]})
        buffers = loader.copy_files_to_device()
        self._open.append(buffers)
        return {name: buffers.get_tensor(name) for name in loader.get_keys()}

    def _release(self) -> None:
        while self._open:
            self._open.pop().close()
