"""zipnn: lossless compression of weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from benchmarks.peers.peer import Loader, Peer, Saver, State


class ZipNN(Peer):
    """Compresses each tensor into one of bytes, kept in a safetensors file. Rates count bytes before compression.

    Compressing overwrites the tensor, and the model is still needed: copies are compressed.
    """

    name = "zipnn"
    distribution = "zipnn"
    module = "zipnn"
    file_format = "zipnn"

    def savers(self) -> Sequence[Saver]:
        return (Saver("zipnn (compressed)", _save),)

    def loaders(self) -> Sequence[Loader]:
        return (Loader("zipnn (compressed)", _load),)


def _save(state: State, path: Path) -> None:
    from zipnn import ZipNN as Codec

    codec = Codec(input_format="torch", threads=_cores())
    packed = {
        name: torch.frombuffer(bytearray(codec.compress(tensor.clone())), dtype=torch.uint8)
        for name, tensor in state.items()
    }
    safetensors.torch.save_file(packed, path)


def _load(path: Path) -> State:
    from zipnn import ZipNN as Codec

    codec = Codec(input_format="torch", threads=_cores())
    with safetensors.safe_open(path, "pt") as file:
        names = list(file.keys())
        return {name: codec.decompress(file.get_tensor(name).numpy().tobytes()) for name in names}


def _cores() -> int:
    return len(os.sched_getaffinity(0))
