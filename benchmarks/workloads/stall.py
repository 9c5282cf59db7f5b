"""How long a background save holds the training loop."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import ExitStack
from itertools import count

import model_checkpoint as mc
from benchmarks.entrant import Entrant, Guarantee
from benchmarks.files import unlink
from benchmarks.harness import Contender, settle
from benchmarks.models import assert_equal
from benchmarks.peers.peer import BackgroundSaver, Peer
from benchmarks.run import Run
from benchmarks.target import Target
from benchmarks.workloads.ceilings import copies_reused, fastest

OURS = "CheckpointManager.save"
DCP = "DCP async_save"


def measure(run: Run) -> None:
    """What is timed ends when the model may be changed again; the writing is waited for afterwards."""
    run.files.remove()
    root = run.directory / "runs"
    with ExitStack() as stack:
        ckpts = stack.enter_context(
            mc.CheckpointManager(root, experiment="stall", keep=mc.Keep.last(1), cache=None, progress=False)
        )
        ckpts.track(model=run.state)
        peers = [_peer(run, stack, peer, background) for peer in run.line_up.peers for background in peer.background()]
        with run.memory() as source, run.memory() as dest:
            bound = fastest(run, copies_reused(source, dest))
            # the first saves allocate what later ones reuse
            result = run.measure("stall of a background save", [bound, _ours(run, ckpts), *peers], warm_ups=2)
    unlink(root)
    run.require_ratio("stall of DCP async_save / ours", result, OURS, DCP, 6)
    run.require(Target("rate of the copy that a save waits for", result[OURS].rate, 10, "GB/s"))


def _ours(run: Run, ckpts: mc.CheckpointManager) -> Entrant:
    steps = count()

    def check(handle: object) -> None:
        assert isinstance(handle, mc.SaveHandle)
        handle.result()
        ckpts.wait()
        assert_equal(ckpts.load("latest")["model"], run.state)

    return Entrant(
        Contender(OURS, lambda: ckpts.save(next(steps)), settle, check),
        "ours",
        Guarantee("SHA-256, CRC-32C", synced=True),
    )


def _peer(run: Run, stack: ExitStack, peer: Peer, background: BackgroundSaver) -> Entrant:
    stack.enter_context(background.session())
    path = run.directory / f"background.{peer.file_format}"

    def before() -> None:
        unlink(path)
        settle()

    def check(future: object) -> None:
        assert isinstance(future, Future)
        future.result()
        assert_equal(peer.loaders()[0].load(path), run.state)
        unlink(path)

    return Entrant(
        Contender(background.name, lambda: background.start(run.state, path), before, check),
        "peer",
        peer.savers()[0].guarantee,
    )
