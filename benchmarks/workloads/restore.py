"""Restores into the tensors of a model that exists, hot."""

from __future__ import annotations

import torch

import model_checkpoint as mc
from benchmarks.entrant import Entrant
from benchmarks.harness import Contender
from benchmarks.models import assert_equal
from benchmarks.peers.peer import Peer, Restorer, State
from benchmarks.run import Run
from benchmarks.workloads import rows
from benchmarks.workloads.ceilings import cached
from model_checkpoint.types import VerifyLevel

OURS = "load(into=model)"


def measure(run: Run) -> None:
    model = {name: torch.zeros_like(tensor) for name, tensor in run.state.items()}
    ours = [_ours(run, model, level) for level in rows.CHECKED]
    peers = [_peer(run, model, peer, restorer) for peer in run.line_up.peers for restorer in peer.restorers()]
    with run.memory() as memory:
        result = run.measure("restore in place", [rows.hashing(run), cached(run, memory), *ours, *peers], cache="hot")
    run.require_ratio(
        "hot verified restore in place / torch.load, copy_", result, _name("full"), "torch.load, copy_", 2.5
    )
    run.require_share("hot verified restore / the lower of hashing and reading", result, _name("full"), 0.8)


def _name(level: VerifyLevel) -> str:
    return f"{OURS}, verify='{level}'"


def _ours(run: Run, model: State, level: VerifyLevel) -> Entrant:
    return Entrant(
        Contender(
            _name(level),
            lambda: mc.load(run.files.path("checkpoint"), into={"model": model}, verify=level),
            lambda: _prepare(run, model, "checkpoint"),
            lambda _report: assert_equal(model, run.state),
        ),
        "ours",
        rows.CHECKED[level],
    )


def _peer(run: Run, model: State, peer: Peer, restorer: Restorer) -> Entrant:
    return Entrant(
        Contender(
            restorer.name,
            lambda: restorer.restore(run.files.path(peer.file_format), model),
            lambda: _prepare(run, model, peer.file_format),
            lambda _answer: assert_equal(model, run.state),
        ),
        "peer",
        restorer.guarantee,
    )


def _prepare(run: Run, model: State, file_format: str) -> None:
    """What the one before restored must not pass for the answer of this one."""
    for tensor in model.values():
        tensor.zero_()
    run.files.warm(file_format)
