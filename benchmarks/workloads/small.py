"""Many small tensors: headers and names, not bytes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import model_checkpoint as mc
from benchmarks.entrant import Entrant, Guarantee
from benchmarks.files import unlink
from benchmarks.harness import Contender
from benchmarks.models import assert_equal, many_small, size_of
from benchmarks.peers.peer import Peer, State
from benchmarks.run import Run
from benchmarks.target import Target
from benchmarks.workloads import rows

FULL_COUNT = 100_000
PEERS = ("torch", "safetensors")  # others take minutes
SAVE, LOAD = "model_checkpoint.save_file", "model_checkpoint.load_file, verify='full'"


def measure(run: Run) -> None:
    """Loads read what the save of the same party has written just before, so that the page cache has it."""
    count = min(FULL_COUNT, run.nbytes // 1000)
    state = many_small(count)
    path = run.directory / "small.safetensors"
    saves, loads = [_save(state, path)], [_load(state, path)]
    for peer in run.line_up.peers:
        if peer.name in PEERS:
            save, load = _peer(run, peer, state)
            saves.append(save)
            loads.append(load)
    for what, name, entrants in (("save", SAVE, saves), ("verified load", LOAD, loads)):
        result = run.measure(f"{count:,} small tensors, {what}", entrants, cache="hot", nbytes=size_of(state))
        if count == FULL_COUNT:
            seconds = result[name].sample.median
            run.require(Target(f"{what} of {count:,} small tensors", seconds, 3, "s", at_least=False))
    for written in run.directory.glob("small*"):
        unlink(written)


def _save(state: State, path: Path) -> Entrant:
    return Entrant(
        Contender(
            SAVE, lambda: mc.save_file(state, path), check=lambda _answer: assert_equal(mc.load_file(path), state)
        ),
        "ours",
        Guarantee("SHA-256, CRC-32C", synced=True),
    )


def _load(state: State, path: Path) -> Entrant:
    call = partial(mc.load_file, path, verify="full")
    return Entrant(
        Contender(LOAD, call, check=lambda answer: assert_equal(answer, state)), "ours", rows.CHECKED["full"]
    )


def _peer(run: Run, peer: Peer, state: State) -> tuple[Entrant, Entrant]:
    saver, loader = peer.savers()[0], peer.loaders()[0]
    path = run.directory / f"small-peer.{peer.file_format}"
    return (
        Entrant(
            Contender(
                saver.name,
                partial(saver.save, state, path),
                check=lambda _answer: assert_equal(loader.load(path), state),
            ),
            "peer",
            saver.guarantee,
        ),
        Entrant(
            Contender(loader.name, partial(loader.load, path), check=lambda answer: assert_equal(answer, state)),
            "peer",
            loader.guarantee,
        ),
    )
