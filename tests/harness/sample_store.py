"""Stores with something of everything in them, and what there is to see of a store."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import model_checkpoint as mc
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.storage.checkpoint_dir import load
from model_checkpoint.storage.store import Store
from model_checkpoint.types import CheckpointInfo, CheckpointState

__all__ = ["EXPERIMENTS", "LARGE", "LONG", "STORES", "View", "age", "manager", "recover", "save_one", "view"]

View = dict[str, Any]
"""What there is to see of a store, flat: ``exp/3 content``, ``exp/3 tag team``, ``exp @good`` and so on."""

EXPERIMENTS = ("exp", "other")
SMALL, LARGE = 1_000, 600_000  # numbers in a state; the large one takes three chunks and both threads of the core
LONG = 10.0**6  # seconds that nothing here takes


# --- stores -----------------------------------------------------------------------------------------------------------


def manager(root: str, experiment: str = "exp", **options: Any) -> mc.CheckpointManager:
    """A manager whose run has the weight 0 at step 0."""
    ckpts = mc.CheckpointManager(root, experiment=experiment, monitor="loss", **options)
    ckpts.track(weight=np.zeros(SMALL, np.float32), meta={"step": 0})
    return ckpts


def save_one(ckpts: mc.CheckpointManager, step: int, size: int = SMALL, **options: Any) -> mc.SaveHandle:
    """Save a state that its step determines, and no other."""
    ckpts._parts.update(weight=np.full(size, step, np.float32), meta={"step": step})
    return ckpts.save(step, metrics={"loss": (step * 7 + 3) % 11}, **options)


def _usual(root: str) -> None:
    """Two experiments with pins, aliases, tags, late metrics and verified ones; one checkpoint in the trash."""
    with manager(root, "other") as others:
        for step in range(2):
            save_one(others, step, alias=f"s{step}")
    with manager(root, trash_for_s=LONG) as ckpts:
        for step in range(7):
            save_one(ckpts, step)
        ckpts.alias(1, "good")
        ckpts.pin(2)
        ckpts.tag(3, team="blue")
        ckpts.attach_metrics(3, score=0.5)
        ckpts.verify(4)
        ckpts.alias(6, "old")
        ckpts.tag(0, team="grey")
        ckpts.prune(dry_run=False, keep=mc.Keep.last(6))  # step 0
    with manager(root, "other") as others:
        save_one(others, 2)


def _expired(root: str) -> None:
    """The usual one, where two things in the trash have expired."""
    _usual(root)
    with manager(root, trash_for_s=1e-6) as ckpts:
        ckpts.tag(5, team="grey")
        ckpts.prune(dry_run=False, keep=mc.Keep.last(1))  # 3 and 5: 6 is the best, 4 verified, the others have names


def _uncataloged(root: str) -> None:
    """The usual one, whose catalog was lost."""
    _usual(root)
    for path in Path(root).glob("catalog.db*"):
        path.unlink()


def _damaged(root: str) -> None:
    """The usual one, whose catalog is garbage."""
    _uncataloged(root)
    Path(root, "catalog.db").write_bytes(b"garbage" * 1000)


def _none(_root: str) -> None:
    """A place where there is no store yet."""


STORES: dict[str, Callable[[str], None]] = {
    "usual": _usual,
    "expired": _expired,
    "uncataloged": _uncataloged,
    "damaged": _damaged,
    "none": _none,
}


# --- looking ----------------------------------------------------------------------------------------------------------


def recover(root: str) -> None:
    """Open the store as the next run does."""
    for experiment in EXPERIMENTS:
        manager(root, experiment).close()


def view(root: str, *, deep: bool = True) -> View:
    """See that the catalog is sound, and describe what there is.

    Args:
        root: The store.
        deep: Whether to load all checkpoints, in the trash as well.

    Raises:
        CheckpointError: Something is damaged.
    """
    with Workspace.open(root) as workspace:
        workspace.catalog.check()
        infos = workspace.catalog.list(states=tuple(CheckpointState))
        seen = {key: value for info in infos for key, value in _describe(info)}
        if deep:
            seen |= {f"{_name(info)} content": _content(workspace.store, info) for info in infos}
    for experiment in EXPERIMENTS:  # where steps are saved in ascending order
        steps = [info.step for info in sorted(infos, key=lambda info: info.seq) if info.experiment == experiment]
        assert steps == sorted(steps), f"the commit order of {experiment} is {steps}"
    return seen


def _describe(info: CheckpointInfo) -> Iterator[tuple[str, Any]]:
    name = _name(info)
    yield f"{name} state", info.state.value
    if info.pinned:
        yield f"{name} pinned", True
    if info.verified_at is not None:
        yield f"{name} verified", True
    yield from ((f"{name} tag {key}", value) for key, value in info.tags.items())
    yield from ((f"{name} metric {key}", value) for key, value in info.metrics.items())
    yield from ((f"{info.experiment} @{alias}", info.step) for alias in info.aliases)


def _name(info: CheckpointInfo) -> str:
    return f"{info.experiment}/{info.step}"


def _content(store: Store, info: CheckpointInfo) -> str:
    """A digest of what `save_one` has put into a state; the random state beside it is another one each time."""
    state = load(store.directory(info))
    weight, step = state["weight"], state["meta"]["step"]
    return f"{step} {weight.shape} {hashlib.sha256(weight.tobytes()).hexdigest()[:16]}"


def age(root: str, hours: float = 2.0) -> None:
    """Let everything in a store be this old."""
    then = time.time() - hours * 3600
    for directory, _, files in os.walk(root):
        for path in (directory, *(os.path.join(directory, name) for name in files)):
            os.utime(path, (then, then), follow_symlinks=False)
