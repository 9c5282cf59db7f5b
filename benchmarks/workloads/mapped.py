"""Loads as mappings of the file, hot: nothing is copied, so that hashing is all there is to do."""

from __future__ import annotations

from pathlib import Path

import model_checkpoint as mc
from benchmarks.peers.peer import State
from benchmarks.run import Run
from benchmarks.workloads import rows

FULL, FAST, NONE = (f"load_file(mmap=True), verify='{level}'" for level in ("full", "fast", "none"))


def measure(run: Run) -> None:
    """Where nothing has read the bytes when the call returns, each page is read in the time that is taken."""
    prepare = run.files.warm
    ours = [
        rows.load(run, FULL, "safetensors", prepare, _checked, rows.CHECKED["full"]),
        rows.load(run, FAST, "safetensors", prepare, _quickly_checked, rows.CHECKED["fast"]),
        rows.load(run, f"{NONE}, touched", "safetensors", prepare, _touched, rows.CHECKED["none"]),
    ]
    peers = [
        rows.peer_load(run, loader, peer.file_format, prepare)
        for peer in run.line_up.peers
        for loader in peer.loaders()
        if loader.mapped
    ]
    result = run.measure("mapped load", [rows.hashing(run), *ours, *peers], cache="hot")
    run.require_share("mapped verified load / hashing", result, FULL, 0.95)


def _checked(path: Path) -> State:
    return mc.load_file(path, mmap=True, verify="full")


def _quickly_checked(path: Path) -> State:
    return mc.load_file(path, mmap=True, verify="fast")


def _touched(path: Path) -> State:
    state = mc.load_file(path, mmap=True, verify="none")
    rows.touch(state)
    return state
