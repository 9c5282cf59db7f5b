"""Killing a scrub that repairs, at its system calls, and seeing what the next one finds. Runs in a nursery."""

from __future__ import annotations

import functools
import gc
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

import model_checkpoint as mc
from tests.harness import strace
from tests.harness.damage import flip
from tests.harness.nursery import isolated
from tests.harness.strace import Injection, Kill, Trace

__all__ = ["count", "kill_at", "warm_up"]

_OURS = {"alembic", "click", "mako", "model_checkpoint", "numpy", "rich", "sqlalchemy"}
MIB = 1024 * 1024


@functools.cache
def _place() -> tempfile.TemporaryDirectory[str]:
    """Where the stores are; it goes when the nursery ends."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return tempfile.TemporaryDirectory(dir=place, prefix="mckpt-repairs-")


def _base() -> Path:
    return Path(_place().name)


def warm_up() -> None:
    """Import everything, and make the stores; the first thing to ask for."""
    _place()  # before the first fork, so that all share it
    for name in isolated(_modules_in_use):
        importlib.import_module(name)
    isolated(_make)
    gc.freeze()


def _modules_in_use() -> list[str]:
    _make()
    _repair(_damaged())
    shutil.rmtree(_base() / "good")
    return [name for name in sys.modules if name.partition(".")[0] in _OURS]


def _make() -> None:
    """A sound store."""
    with mc.CheckpointManager(_base() / "good", progress=False) as ckpts:
        ckpts.track(model={"w": np.random.default_rng(1).integers(0, 256, MIB + 9000, np.uint8)})
        ckpts.save(1, files={"config.json": b"{}"}, block=True)


def _damaged() -> Path:
    """A store with a damaged manifest, a damaged header, a damaged chunk and a damaged blob."""
    root = _base() / "runs"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(_base() / "good", root)
    (directory,) = root.glob("default/step-*")
    for name, offset in (
        ("manifest.json", 500),
        ("model.safetensors", 300),
        ("model.safetensors", 9000),
        ("config.json", 0),
    ):
        flip(directory / name, offset)
    return root


def _repair(root: Path) -> Callable[[], None]:
    return lambda: _assert_repaired(mc.scrub(root, copies=[_base() / "good"], repair=True))


def _assert_repaired(report: mc.ScrubReport) -> None:
    assert not report.left, report.left


def _follow(root: Path, injection: Injection) -> Trace:
    return strace.follow(lambda: _repair(root), injection)


_WHICH = {"every": strace.every, "changes": strace.changes}


def count(which: str) -> int:
    """How many system calls a scrub that repairs makes when it is left alone."""
    trace = _follow(_damaged(), Injection(Kill(), at=0, which=_WHICH[which]))
    assert trace.status == 0
    return len(trace.calls)


def kill_at(at: int, which: str) -> tuple[str | None, list[str]]:
    """Kill it at one of its system calls; returns the call, if it was reached, and what was wrong then."""
    root = _damaged()
    before, good = _files(root), _files(_base() / "good")
    trace = _follow(root, Injection(Kill(), at, _WHICH[which]))
    if trace.status not in {0, -9}:
        return trace.injected, [f"it ended with status {trace.status}"]
    found = _files(root)
    problems = [
        f"{name} is neither as it was nor as it should be"
        for name in found
        if found[name] not in (before[name], good[name])
    ]
    problems += [f"{name} is gone" for name in before.keys() - found.keys()]
    return trace.injected, problems + isolated(_aftermath, str(root), trace.status == 0)


def _aftermath(root: str, was_done: bool) -> list[str]:
    """What is wrong after the next scrub, which must find all that the first one has not repaired."""
    report = mc.scrub(root, copies=[_base() / "good"], repair=True)
    problems = [str(damage) for damage in report.left]
    if was_done and report.damaged:
        problems.append("a scrub that had ended had not repaired all")
    if _files(Path(root)) != _files(_base() / "good"):
        problems.append("the store is not what it was before the damage")
    problems += [f"{path} is left" for path in Path(root).glob(".staging/*")]
    if mc.scrub(root).damaged:
        problems.append("a third scrub still finds damage")
    return problems


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.glob("default/step-*/*")}
