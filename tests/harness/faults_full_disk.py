"""Saves onto a disk that has this much room and no more. Runs in a nursery with the faults preloaded."""

from __future__ import annotations

import contextlib
import errno
import os
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import model_checkpoint as mc
from model_checkpoint.storage import commit as commits
from tests.harness import faults
from tests.harness.faults import Action, Fault, Kind

__all__ = ["WARNED", "fill"]

_NUMBERS = 900_000  # 3.4 MiB
_MIB = 1024 * 1024

WARNED = ("asks for free space", "only preallocates", "only writes")
"""What finds out that there is no room: the question, the preallocation, or the writes alone."""

_NO_PREALLOCATION = Fault(Action.FAIL, errno.EOPNOTSUPP, frozenset({Kind.ALLOCATE}), lasting=True)


def fill(disk: str, warned: str, first_kib: int, stride_kib: int) -> dict[str, Any]:
    """Save a checkpoint of a few MB with this much room, then with ``stride_kib`` more, until it fits three times.

    Args:
        disk: Where a small file system is mounted, which may hold what an earlier call has left.
        warned: One of `WARNED`.
        first_kib: How much room there is at first.
        stride_kib: How much more there is each time.

    Returns:
        ``trials``, ``refused``, ``problems``.
    """
    root, outcomes, problems = os.path.join(disk, "runs"), Counter[str](), []
    if not os.path.exists(root):
        with _manager(root) as ckpts:
            _save(ckpts, 1)
    kib = first_kib
    while outcomes["saved"] < 3:
        outcome, wrong = _trial(disk, root, warned, kib * 1024)
        outcomes[outcome] += 1
        problems += [f"{kib} KiB free, {warned}: {problem}" for problem in wrong]
        kib += stride_kib
        assert kib < 16 * 1024, problems
    return {"trials": outcomes.total(), "refused": outcomes["refused"], "problems": problems}


def _trial(disk: str, root: str, warned: str, room: int) -> tuple[str, list[str]]:
    """Save with so much room; whether that was saved or refused, and what was wrong."""
    try:
        with _ballast(disk, room), _warned(root, warned):
            error = _try_to_save(root)
        with _ballast(disk, 0):
            problems = [*_judge_error(error), *_judge(root, saved=error is None)]
        problems += _go_on(root, saved=error is None)
    except Exception:  # noqa: BLE001 - whatever it is, it must not be
        return "broken", [traceback.format_exc()]
    return "saved" if error is None else "refused", problems


def _state(step: int) -> dict[str, Any]:
    return {"weight": np.arange(step, step + _NUMBERS, dtype=np.float32), "meta": {"step": step}}


def _manager(root: str) -> mc.CheckpointManager:
    return mc.CheckpointManager(root, experiment="exp")


def _save(ckpts: mc.CheckpointManager, step: int) -> None:
    ckpts.track(**_state(step))
    ckpts.save(step, block=True)


def _try_to_save(root: str) -> BaseException | None:
    """Why a save failed, or None. It is over then: what a traceback refers to could hold memory of the disk."""
    try:
        with _manager(root) as ckpts:
            _save(ckpts, 2)
    except mc.SaveError as error:
        return error.__cause__.with_traceback(None) if error.__cause__ is not None else error
    return None


@contextlib.contextmanager
def _ballast(disk: str, room: int) -> Iterator[None]:
    """Leave so much room, and give it all back."""
    path = Path(disk, "ballast")
    status = os.statvfs(disk)
    nbytes = status.f_bavail * status.f_frsize - room
    with open(path, "wb") as file:
        if nbytes > 0:
            os.posix_fallocate(file.fileno(), 0, nbytes)
    try:
        yield
    finally:
        path.unlink()


@contextlib.contextmanager
def _warned(root: str, warned: str) -> Iterator[None]:
    ask = commits.free_bytes
    if warned != "asks for free space":
        commits.free_bytes = lambda _path: 1 << 60
    try:
        with faults.injected(_NO_PREALLOCATION, root, at=1 if warned == "only writes" else 0):
            yield
    finally:
        commits.free_bytes = ask


# --- judging ----------------------------------------------------------------------------------------------------------


def _judge_error(error: BaseException | None) -> Iterator[str]:
    if error is None:
        return
    if type(error) is not mc.DiskFullError or error.errno != errno.ENOSPC or not error.path:
        yield f"it raised {error!r}"
    if not any(words in str(error) for words in ("are free", "No space left", "is full")):
        yield f"the message does not tell that the disk is full: {error}"


def _judge(root: str, *, saved: bool) -> Iterator[str]:
    """While the disk is full: what was there is readable, nothing else is in sight, nothing is staged."""
    with _manager(root) as ckpts:
        ckpts._workspace.catalog.check()
        steps = sorted(info.step for info in ckpts.list())
        if steps != [1, 2] and (saved or steps != [1]):  # one that was refused after its rename is there, whole
            yield f"there are {steps}"
        for step in steps:
            if not np.array_equal(ckpts.load(step)["weight"], _state(step)["weight"]):
                yield f"step {step} is damaged"
    staged = list(Path(root).glob(".staging/*"))
    if staged:
        yield f"staged: {staged}"


def _go_on(root: str, *, saved: bool) -> Iterator[str]:
    """Once there is room again, the next save works. What was saved goes, for the next trial."""
    with _manager(root) as ckpts:
        if not saved:
            _save(ckpts, 3)
            if not np.array_equal(ckpts.load(3)["weight"], _state(3)["weight"]):
                yield "the next save is damaged"
        for info in ckpts.list():
            if info.step != 1:
                ckpts._janitor.remove(info, "the end of a trial")
