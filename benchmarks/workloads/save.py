"""Durable, hashed saves against peers that do less, and against raw direct writes."""

from __future__ import annotations

from pathlib import Path

import model_checkpoint as mc
from benchmarks.entrant import Entrant, Guarantee
from benchmarks.files import unlink
from benchmarks.harness import Contender
from benchmarks.models import assert_equal
from benchmarks.peers.peer import Peer, Saver
from benchmarks.run import Run
from benchmarks.workloads.ceilings import direct_write

OURS = "model_checkpoint.save_file"


def measure(run: Run) -> None:
    run.files.remove()  # a disk that holds other files is not what is measured
    peers = [_peer(run, peer, saver) for peer in run.line_up.peers for saver in peer.savers()]
    with run.memory() as memory:
        result = run.measure("save", [direct_write(run, memory, run.write_mode), _ours(run), *peers])
    theirs = max(
        (row for row in result.rows if row.name.startswith("torch.save")), key=lambda row: row.rate, default=None
    )
    if theirs is not None:
        run.require_ratio("durable hashed save / torch.save (its better row)", result, OURS, theirs.name, 3)
    run.require_share("durable hashed save / raw direct write", result, OURS, 0.85)


def _ours(run: Run) -> Entrant:
    path = run.directory / "saved.safetensors"

    def check(answer: object) -> None:
        assert isinstance(answer, mc.Receipt)
        if mc.verify(path).digest != answer.digest:
            raise AssertionError("the receipt's digest is not the file's")
        assert_equal(mc.load_file(path), run.state)
        unlink(path)

    return Entrant(
        Contender(OURS, lambda: mc.save_file(run.state, path), lambda: unlink(path), check),
        "ours",
        Guarantee("SHA-256, CRC-32C", synced=True),
    )


def _peer(run: Run, peer: Peer, saver: Saver) -> Entrant:
    """A peer's file is checked by the peer's own loader."""
    path: Path = run.directory / f"saved.{peer.file_format}"

    def check(_answer: object) -> None:
        loader = peer.loaders()[0]
        assert_equal(loader.load(path), run.state)
        loader.release()
        unlink(path)

    return Entrant(
        Contender(saver.name, lambda: saver.save(run.state, path), lambda: unlink(path), check),
        "peer",
        saver.guarantee,
    )
