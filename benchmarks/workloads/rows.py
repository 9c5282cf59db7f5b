"""Rows that several workloads share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.entrant import Entrant, Guarantee
from benchmarks.harness import Contender
from benchmarks.hash_kernel import HashKernel
from benchmarks.models import assert_equal
from benchmarks.peers.peer import Loader, State
from benchmarks.run import Run
from model_checkpoint.types import VerifyLevel

CHECKED: dict[VerifyLevel, Guarantee] = {
    "full": Guarantee("SHA-256"),
    "fast": Guarantee("CRC-32C"),
    "none": Guarantee(),
}
SHA256 = "SHA-256 kernel, all cores"

Prepare = Callable[[str], None]  # sets the page cache for one format


def hashing(run: Run) -> Entrant:
    """The ceiling of whatever checks SHA-256."""
    kernel = HashKernel(run.files)
    return Entrant(Contender(SHA256, kernel.run, kernel.before, kernel.after), "ceiling")


def load(
    run: Run, name: str, file_format: str, prepare: Prepare, call: Callable[[Path], State], guarantee: Guarantee
) -> Entrant:
    """A row of ours that returns the model."""
    return Entrant(
        Contender(
            name,
            lambda: call(run.files.path(file_format)),
            lambda: prepare(file_format),
            lambda answer: assert_equal(answer, run.state),
        ),
        "ours",
        guarantee,
    )


def peer_load(run: Run, loader: Loader, file_format: str, prepare: Prepare) -> Entrant:
    """A peer's row. A mapping has each page read in the time that is taken, or else nothing would be measured."""

    def call() -> State:
        loaded = loader.load(run.files.path(file_format))
        if loader.mapped:
            touch(loaded)
        return loaded

    def check(answer: object) -> None:
        assert_equal(answer, run.state)
        loader.release()

    return Entrant(Contender(loader.name, call, lambda: prepare(file_format), check), "peer", loader.guarantee)


def touch(state: State) -> None:
    """Read one byte of each page."""
    for tensor in state.values():
        tensor.flatten().view(torch.uint8)[::4096].sum()
