"""torch.save and torch.load."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.entrant import Guarantee
from benchmarks.peers.peer import Loader, Peer, Restorer, Saver, State, copy_into


class Torch(Peer):
    """Writes a CRC-32 of each tensor, as zip files have one, and never checks it."""

    name = "torch"
    distribution = "torch"
    module = "torch"
    file_format = "pt"

    def savers(self) -> Sequence[Saver]:
        return (
            Saver("torch.save", torch.save, Guarantee("CRC-32")),
            Saver("torch.save + fsync", _save_synced, Guarantee("CRC-32", synced=True)),
        )

    def loaders(self) -> Sequence[Loader]:
        return (
            Loader("torch.load", torch.load),
            Loader("torch.load(mmap=True)", _load_mapped, mapped=True),
        )

    def restorers(self) -> Sequence[Restorer]:
        return (
            Restorer("torch.load, copy_", lambda path, state: copy_into(torch.load(path), state)),
            Restorer("torch.load(mmap=True), copy_", lambda path, state: copy_into(_load_mapped(path), state)),
        )


def _save_synced(state: State, path: Path) -> None:
    torch.save(state, path)
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _load_mapped(path: Path) -> State:
    loaded: State = torch.load(path, mmap=True)
    return loaded
