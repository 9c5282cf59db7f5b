"""Unverified, mapped open of 10 GB: what a reader pays that wants a few tensors of many."""

from __future__ import annotations

import json
from pathlib import Path

import torch

import model_checkpoint as mc
from benchmarks.entrant import Entrant
from benchmarks.files import unlink
from benchmarks.harness import Contender
from benchmarks.peers.peer import State
from benchmarks.run import Run
from benchmarks.target import Target

NBYTES = 10_000_000_000
SHAPE = (2048, 4096)
OURS = "load_file(mmap=True), verify='none'"
LAST = "last.weight"


def measure(run: Run) -> None:
    """The file is sparse, for nobody reads its bytes; its last value is, to see that it is the right one."""
    path = run.directory / "ten-gigabytes.safetensors"
    write_sparse(path, NBYTES)
    peers = [
        Entrant(Contender(loader.name, lambda loader=loader: loader.load(path), check=_check), "peer")  # type: ignore[misc]
        for peer in run.line_up.peers
        for loader in peer.loaders()
        if loader.mapped and peer.file_format == "safetensors"
    ]
    ours = Entrant(Contender(OURS, lambda: mc.load_file(path, mmap=True, verify="none"), check=_check), "ours")
    result = run.measure(f"open {NBYTES / 1e9:.0f} GB", [ours, *peers], nbytes=NBYTES)
    unlink(path)
    run.require(Target("unverified mapped open of 10 GB", result[OURS].sample.median * 1e3, 50, "ms", at_least=False))


def write_sparse(path: Path, nbytes: int) -> None:
    """A safetensors file of zeros but for its last value, which is 1."""
    size = 2 * SHAPE[0] * SHAPE[1]
    count = nbytes // size
    names = [f"layer.{index}.weight" for index in range(count - 1)] + [LAST]
    entries = {
        name: {"dtype": "BF16", "shape": SHAPE, "data_offsets": (index * size, (index + 1) * size)}
        for index, name in enumerate(names)
    }
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + count * size)
        file.seek(-2, 2)
        file.write(torch.ones(1, dtype=torch.bfloat16).view(torch.uint8).numpy().tobytes())


def _check(answer: object) -> None:
    assert isinstance(answer, dict)
    state: State = answer
    assert len(state) == NBYTES // (2 * SHAPE[0] * SHAPE[1])
    assert float(state[LAST][-1, -1]) == 1
