"""All ways to save that take part."""

from __future__ import annotations

import importlib

from tests.proof.field.peers.dcp import Dcp, DcpInPlace
from tests.proof.field.peers.orbax import Orbax
from tests.proof.field.peers.ours import Ours
from tests.proof.field.peers.peer import Peer
from tests.proof.field.peers.safetensors_file import Safetensors
from tests.proof.field.peers.torch_save import TorchDurable, TorchPlain, TorchReplace

__all__ = ["PEERS", "peer_named"]

PEERS: tuple[Peer, ...] = (
    TorchPlain(),
    TorchReplace(),
    TorchDurable(),
    Safetensors(),
    DcpInPlace(),
    Dcp(),
    Orbax(),
    Ours(),
)


def peer_named(name: str) -> Peer:
    """A peer with its package imported, for the children of a fork to have it."""
    peer = next(peer for peer in PEERS if peer.name == name)
    for module in peer.modules:
        importlib.import_module(module)
    return peer
