"""Loads into memory of their own, from the page cache and from storage."""

from __future__ import annotations

from functools import partial

import model_checkpoint as mc
from benchmarks.entrant import Entrant
from benchmarks.result import Result
from benchmarks.run import Run
from benchmarks.target import Target
from benchmarks.workloads import rows
from benchmarks.workloads.ceilings import copies_fresh, direct_read, fastest

LEVELS = ("full", "fast", "none")
FULL, FAST, NONE = (f"model_checkpoint.load_file, verify='{level}'" for level in LEVELS)
TORCH = "torch.load"


def measure_hot(run: Run) -> None:
    """From the page cache, which holds one file at a time: several would leave little memory."""
    with run.memory() as memory:
        bounds = [rows.hashing(run), fastest(run, copies_fresh(memory))]
        result = run.measure("load", [*bounds, *_entrants(run, run.files.warm)], cache="hot")
    run.require_ratio("hot verified load / torch.load", result, FULL, TORCH, 2.5)
    run.require_share("hot verified load / the lower of hashing and copying", result, FULL, 0.8)
    _require_fast(run, result)


def measure_cold(run: Run) -> None:
    """From storage, with the page cache dropped before every run."""
    with run.memory() as memory:
        bounds = [direct_read(run, memory, run.read_mode)]
        result = run.measure("load", [*bounds, *_entrants(run, run.files.cool)], cache="cold")
    run.require_ratio("cold verified load / torch.load", result, FULL, TORCH, 5)
    run.require_share("cold verified load / raw direct read", result, FULL, 0.9)


def _require_fast(run: Run, result: Result) -> None:
    ratio = result[FAST].rate / result[NONE].rate
    run.require(Target("hot load, verify='fast' / verify='none'", ratio, 0.9))


def _entrants(run: Run, prepare: rows.Prepare) -> list[Entrant]:
    ours = [
        rows.load(run, name, "safetensors", prepare, partial(mc.load_file, verify=level), rows.CHECKED[level])
        for name, level in zip((FULL, FAST, NONE), rows.CHECKED, strict=True)
    ]
    peers = [
        rows.peer_load(run, loader, peer.file_format, prepare)
        for peer in run.line_up.peers
        for loader in peer.loaders()
        if not loader.mapped
    ]
    return [*ours, *peers]
