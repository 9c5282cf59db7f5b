"""What a peer is: another way to save and load a state dict."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, TypeAlias

import torch

from benchmarks.entrant import Guarantee

State: TypeAlias = dict[str, torch.Tensor]
NOTHING = Guarantee()


@dataclass(frozen=True, slots=True)
class Saver:
    """Writes a state dict to a path that does not exist yet."""

    name: str
    save: Callable[[State, Path], None]
    guarantee: Guarantee = NOTHING


@dataclass(frozen=True, slots=True)
class Loader:
    """Reads a state dict.

    Attributes:
        mapped: Whether its tensors lie in a mapping of the file, so that bytes are read when they are used.
        release: Frees what the tensors lie in, where that is not theirs; called once they are not used any more.
    """

    name: str
    load: Callable[[Path], State]
    guarantee: Guarantee = NOTHING
    mapped: bool = False
    release: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Restorer:
    """Reads a state dict into the tensors of another one."""

    name: str
    restore: Callable[[Path, State], None]
    guarantee: Guarantee = NOTHING


@dataclass(frozen=True, slots=True)
class BackgroundSaver:
    """Returns when the state dict may be changed again, and saves it in the background.

    Attributes:
        session: What must be entered before the first save.
    """

    name: str
    start: Callable[[State, Path], Future[object]]
    session: Callable[[], AbstractContextManager[None]] = nullcontext


class Peer(Protocol):
    """One package. Its module is imported when a method is called, and only then.

    Attributes:
        name: What ``--peers`` calls it.
        distribution: What pip calls it.
        module: What Python calls it.
        file_format: The format that it writes and reads. Peers of one format read one file.
    """

    name: ClassVar[str]
    distribution: ClassVar[str]
    module: ClassVar[str]
    file_format: ClassVar[str]

    def savers(self) -> Sequence[Saver]:
        return ()

    def loaders(self) -> Sequence[Loader]:
        return ()

    def restorers(self) -> Sequence[Restorer]:
        return ()

    def background(self) -> Sequence[BackgroundSaver]:
        return ()


def version(peer: Peer) -> str | None:
    """The installed version; None if the package is missing."""
    if importlib.util.find_spec(peer.module) is None:
        return None
    return importlib.metadata.version(peer.distribution)


def copy_into(source: State, dest: State) -> None:
    """What one does with a loaded state dict in order to restore a model."""
    for name, tensor in dest.items():
        tensor.copy_(source[name])
