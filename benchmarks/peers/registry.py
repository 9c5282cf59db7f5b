"""All peers, and which of them take part."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks.files import unlink
from benchmarks.models import assert_equal
from benchmarks.peers.dcp import Dcp
from benchmarks.peers.fast_safetensors import FastSafetensors
from benchmarks.peers.flash_pack import FlashPack
from benchmarks.peers.peer import Peer, State, version
from benchmarks.peers.runai_streamer import RunaiStreamer
from benchmarks.peers.safetensors_file import Safetensors
from benchmarks.peers.tensorizer_file import Tensorizer
from benchmarks.peers.torch_save import Torch
from benchmarks.peers.zip_nn import ZipNN

PEERS: tuple[Peer, ...] = (
    Torch(),
    Safetensors(),
    Dcp(),
    RunaiStreamer(),
    FastSafetensors(),
    Tensorizer(),
    ZipNN(),
    FlashPack(),
)
GROUP = "peers"  # the dependency group of pyproject.toml


@dataclass(frozen=True, slots=True)
class Lineup:
    """Attributes:
    peers: Those that take part.
    versions: Theirs, by name.
    absent: Why others do not, by name.
    """

    peers: tuple[Peer, ...]
    versions: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def line_up(peers: Sequence[Peer], wanted: Collection[str], directory: Path) -> Lineup:
    """Those of ``peers`` that are wanted, installed, and give back a tiny model as it was."""
    versions, absent, able = {}, {}, []
    for peer in peers:
        found = version(peer)
        if peer.name not in wanted:
            absent[peer.name] = "not asked for (--peers)"
        elif found is None:
            absent[peer.name] = (
                f"not installed: pip install {peer.distribution}, or all with pip install --group {GROUP}"
            )
        elif (failure := trial(peer, directory)) is not None:
            absent[peer.name] = f"{peer.distribution} {found} cannot take part here: {failure}"
        else:
            versions[peer.name] = found
            able.append(peer)
    return Lineup(tuple(able), versions, absent)


def trial(peer: Peer, directory: Path) -> str | None:
    """What goes wrong when a peer saves and loads a tiny model on the CPU; None if nothing does.

    Any exception is caught, for a package that is broken or needs a GPU may raise any, and must not end a long run.
    """
    state = {"weight": torch.randn(512, 512).bfloat16(), "bias": torch.arange(256, dtype=torch.float32)}
    path = directory / f"trial.{peer.file_format}"
    try:
        _round_trip(peer, state, path)
    except Exception as error:  # noqa: BLE001 - see above
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    finally:
        unlink(path)
    return None


def _round_trip(peer: Peer, state: State, path: Path) -> None:
    if not peer.savers():
        Safetensors().savers()[0].save(state, path)
    for saver in peer.savers():
        unlink(path)
        saver.save(state, path)
    for loader in peer.loaders():
        assert_equal(loader.load(path), state)
        loader.release()
    for restorer in peer.restorers():
        model = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
        restorer.restore(path, model)
        assert_equal(model, state)
