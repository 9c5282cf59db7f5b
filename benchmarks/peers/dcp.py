"""torch.distributed.checkpoint, of one process."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save, save

from benchmarks.entrant import Guarantee
from benchmarks.peers.peer import BackgroundSaver, Loader, Peer, Restorer, Saver, State


class Dcp(Peer):
    """Syncs its files, and hashes nothing."""

    name = "dcp"
    distribution = "torch"
    module = "torch"
    file_format = "dcp"

    def savers(self) -> Sequence[Saver]:
        return (Saver("DCP save", _save, Guarantee(synced=True)),)

    def loaders(self) -> Sequence[Loader]:
        return (Loader("DCP load", _load),)

    def restorers(self) -> Sequence[Restorer]:
        return (Restorer("DCP load", _restore),)

    def background(self) -> Sequence[BackgroundSaver]:
        return (BackgroundSaver("DCP async_save", _start, _process_group),)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning that there is one process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        yield


def _save(state: State, path: Path) -> None:
    with _quiet():
        save(dict(state), checkpoint_id=path, no_dist=True)


def _restore(path: Path, state: State) -> None:
    with _quiet():
        load(dict(state), checkpoint_id=path, no_dist=True)


def _load(path: Path) -> State:
    """It loads into tensors that exist; making them is part of loading."""
    metadata = FileSystemReader(path).read_metadata().state_dict_metadata
    state = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in metadata.items()
        if isinstance(entry, TensorStorageMetadata)
    }
    _restore(path, state)
    return state


def _start(state: State, path: Path) -> Future[object]:
    future = async_save(dict(state), checkpoint_id=path)
    if not isinstance(future, Future):
        raise TypeError(f"async_save returned {type(future).__name__}, not a future")
    return future


@contextmanager
def _process_group() -> Iterator[None]:
    """What it asks for, of one process; found by a file, so that no port is needed."""
    with tempfile.TemporaryDirectory() as directory:
        torch.distributed.init_process_group("gloo", init_method=f"file://{directory}/group", rank=0, world_size=1)
        try:
            yield
        finally:
            torch.distributed.destroy_process_group()
