"""Lets the k-th call of an operation fail, and judges what came of it. Runs in a nursery with the faults preloaded."""

from __future__ import annotations

import errno
import gc
import logging
import os
import shutil
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import model_checkpoint as mc
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.errors import (
    CatalogError,
    CheckpointError,
    DiskFullError,
    SaveError,
    StorageError,
)
from model_checkpoint.types import CheckpointInfo, CheckpointState
from tests.harness import faults
from tests.harness.faults import FAULTS, Action, Call, Fault, Kind
from tests.harness.faults_operations import EXPERIMENT, LITTER, NEW, OPERATIONS, Operation, build, manager, state_of
from tests.harness.sample_store import age

__all__ = ["census", "sweep", "sweep_late_quota", "sweep_syncs"]

logging.getLogger("model_checkpoint").addHandler(logging.NullHandler())  # it has much to say of what it finds
gc.freeze()  # what was imported need not be looked at again

_CATALOG = "catalog.db"
_NEXT = 50
"""The step of the save afterwards."""


# --- what a test asks for ---------------------------------------------------------------------------------------------


def census(base: str, operation: str) -> dict[str, int]:
    """How many calls of each kind an operation makes when nothing fails."""
    root = _fresh(base, operation)
    with OPERATIONS[operation].ready(root) as act, faults.injected(None, root) as calls:
        act()
    problems = list(_judge(root, OPERATIONS[operation], acknowledged=True))
    assert not problems, problems
    return dict(Counter(call.kind.name.lower() for call in calls.all))


def sweep(base: str, operation: str, fault: str | Fault, first: int = 1, stride: int = 1) -> dict[str, Any]:
    """Let the ``first`` call fail that the fault is for, then the one ``stride`` after it, until none is left.

    Returns:
        ``trials``: how often; ``raised`` and ``survived``: how often it was reported or made no difference;
        ``problems``: what was wrong.
    """
    outcomes: Counter[str] = Counter()
    problems: list[str] = []
    chosen = FAULTS[fault] if isinstance(fault, str) else fault
    for at in range(first, 10_000, stride):
        outcome, wrong = _trial(base, operation, chosen, at)
        if outcome is None:
            break
        outcomes[outcome] += 1
        problems += [f"{operation}, {fault} at call {at}: {problem}" for problem in wrong]
    return {
        "trials": outcomes.total(),
        **{name: outcomes[name] for name in ("raised", "survived")},
        "problems": problems,
    }


def sweep_syncs(base: str, stride: int = 1) -> dict[str, Any]:
    """Let every fsync of every way to save fail, or each ``stride``-th, with every errno that it can have."""
    codes = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EINTR)
    return _sweep_saves(base, [Fault(Action.FAIL, code, frozenset({Kind.SYNC})) for code in codes], stride)


def sweep_late_quota(base: str, stride: int = 1) -> dict[str, Any]:
    """Let every sync and every close of every way to save meet a quota, or each ``stride``-th."""
    kinds = frozenset({Kind.SYNC, Kind.DATA_SYNC, Kind.CLOSE})
    return _sweep_saves(base, [Fault(Action.FAIL, errno.EDQUOT, kinds)], stride)


def _sweep_saves(base: str, chosen: list[Fault], stride: int) -> dict[str, Any]:
    total: dict[str, Any] = {"trials": 0, "raised": 0, "problems": []}
    for number, fault in enumerate(chosen):
        for operation in (name for name in OPERATIONS if "save" in name):
            found = sweep(base, operation, fault, 1 + number % stride, stride)
            total = {name: total[name] + found[name] for name in total}
    return total


# --- a trial ----------------------------------------------------------------------------------------------------------


def _fresh(base: str, operation: str) -> str:
    """A copy of the store, as the operation wants it."""
    template, root = os.path.join(base, "template"), os.path.join(base, "runs")
    if not os.path.exists(template):
        build(template)
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(template, root)
    OPERATIONS[operation].before(root)
    return root


def _trial(base: str, name: str, fault: Fault, at: int) -> tuple[str | None, list[str]]:
    """Whether the fault was raised or survived, or None if there is no such call; and what was wrong."""
    root = _fresh(base, name)
    where, acknowledged, problems = _attempt(root, name, fault, at)
    if where is None:
        return None, []
    is_alone = fault.action is Action.FAIL and not fault.lasting
    problems += [f"left behind: {path}" for path in _temporaries(root) if is_alone]  # what could be removed is removed
    problems += _judge(root, OPERATIONS[name], acknowledged=acknowledged)
    return "survived" if acknowledged else "raised", [f"{where}: {problem}" for problem in problems]


def _attempt(root: str, name: str, fault: Fault, at: int) -> tuple[str | None, bool, list[str]]:
    """The call that was hit, whether the operation was acknowledged, and what was wrong about that.

    The error ends with this function: what its traceback refers to is still open.
    """
    error: Exception | None = None
    with OPERATIONS[name].ready(root) as act, faults.injected(fault, root, at) as calls:
        try:
            act()
        except Exception as raised:  # noqa: BLE001 - it is to be judged
            error = raised
    if not calls.hits:
        assert error is None, f"{name}: {error!r} without any fault"
        return None, True, []
    is_heard = error is not None or OPERATIONS[name].only_reads
    problems = [*_judge_error(error, fault, calls), *_judge_syncs(fault, calls, is_heard=is_heard)]
    return _hit(calls), error is None, problems


def _hit(calls: faults.Calls) -> str:
    call = calls.hits[0]
    return f"{call.kind.name.lower()} {call.path}"


def _judge_error(error: Exception | None, fault: Fault, calls: faults.Calls) -> Iterator[str]:
    """What can be survived is survived; everything else is reported as what it is, or makes no difference."""
    if error is None:
        return
    cause = error.__cause__ if isinstance(error, SaveError) else error
    is_survived = fault.is_survived and calls.hits[0].kind is not Kind.SYNC  # which is never repeated
    is_survived = is_survived and not _is_closed_twice(cause, calls.hits[0])
    if is_survived or not _is_fitting(cause, fault, calls.hits[0]):
        yield f"it raised {''.join(traceback.format_exception(error))}"


def _is_fitting(error: BaseException | None, fault: Fault, call: Call) -> bool:
    if _CATALOG in call.path or call.kind is Kind.LOCK:  # SQLite does not tell errno, and takes EIO for damage
        return isinstance(error, StorageError | CatalogError)
    if isinstance(error, StorageError) and os.path.basename(error.path or "") == _CATALOG:
        return True  # SQLite looked at a directory above it
    if _is_closed_twice(error, call):
        return True
    expected = DiskFullError if fault.error in (errno.ENOSPC, errno.EDQUOT) else StorageError
    return type(error) is expected and error.errno == fault.error and bool(error.path)


def _is_closed_twice(error: BaseException | None, call: Call) -> bool:
    """The standard library's `rmtree` closes a directory again if that failed, and tells of the second failure."""
    return call.kind is Kind.CLOSE and isinstance(error, StorageError) and error.errno == errno.EBADF


def _judge_syncs(fault: Fault, calls: faults.Calls, *, is_heard: bool) -> Iterator[str]:
    """A sync that failed is neither ignored nor repeated."""
    failed = next((call for call in calls.hits if call.kind is Kind.SYNC), None)
    if failed is None:
        return
    if not is_heard:
        yield "a sync failed, and nobody heard of it"
    syncs = [call for call in calls.all if call.kind is Kind.SYNC and call.path == failed.path]
    if fault.action is Action.FAIL and not fault.lasting and syncs[-1] is not failed:
        yield "a sync that failed was repeated"


# --- the store afterwards ---------------------------------------------------------------------------------------------

_BEFORE = frozenset({1, 2, 3, 4, 5})
_STATES = tuple(CheckpointState)


def _judge(root: str, operation: Operation, *, acknowledged: bool) -> Iterator[str]:
    """What is wrong with a store, after the operation and a start anew."""
    try:
        must = (_BEFORE - operation.may_remove) | (operation.makes if acknowledged else frozenset())
        operation.check(root, acknowledged)
        with manager(root) as ckpts:
            _look(ckpts, must, _BEFORE | {NEW})
            _go_on(ckpts)
        leftovers = _leftovers(root)
        if leftovers:  # what is younger than an hour may be of somebody who is alive
            age(root)
            manager(root).close()
            leftovers = _leftovers(root)
        yield from (f"left behind: {path}" for path in leftovers)
        yield from (f"left open: {path}" for path in _left_open(root))
    except (AssertionError, CheckpointError, OSError):
        yield traceback.format_exc()


def _look(ckpts: mc.CheckpointManager, must: frozenset[int], may: frozenset[int]) -> None:
    """See that catalog and files agree, and that everything is whole."""
    workspace = ckpts._workspace
    workspace.catalog.check()
    infos = workspace.catalog.list(states=_STATES)
    scan = workspace.store.scan()
    assert not scan.quarantined, scan.quarantined
    assert {(info.id, info.state, info.path) for info in infos} == {
        (info.id, info.state, info.path) for info in scan.checkpoints
    }, "catalog and store differ"
    steps = [info.step for info in infos]
    assert must <= set(steps) <= may, f"there are {sorted(steps)}, not {sorted(must)}"
    assert len(steps) == len(set(steps)), f"there are {sorted(steps)}"
    assert (ckpts.monitor, ckpts._experiment.keep) == ("loss", "last(100)"), "the experiment has lost its settings"
    for info in infos:
        _look_at(workspace, info)
    for info in (*infos, *scan.checkpoints):
        if info.step == 1:
            assert info.pinned, "a checkpoint is not pinned any more"
            assert info.aliases == ("good",), "an alias is lost"


def _look_at(workspace: Workspace, info: CheckpointInfo) -> None:
    loaded, expected = mc.load(workspace.store.directory(info)), state_of(info.step)
    assert np.array_equal(loaded["weight"], expected["weight"]), f"{info.ref} is damaged"
    assert loaded["meta"] == expected["meta"], f"{info.ref} is damaged"


def _go_on(ckpts: mc.CheckpointManager) -> None:
    """The next save works."""
    ckpts.track(**state_of(_NEXT))
    info = ckpts.save(_NEXT, block=True).result()
    assert ckpts.latest is not None
    assert ckpts.latest.id == info.id
    assert np.array_equal(ckpts.load(_NEXT)["weight"], state_of(_NEXT)["weight"])


def _leftovers(root: str) -> list[str]:
    """What belongs to no checkpoint and to no deletion that can be undone."""
    found = [*Path(root).glob(".staging/*"), *_temporaries(os.path.join(root, EXPERIMENT))]
    found += Path(root).glob(".trash/*.deleting")
    found += [entry for entry in Path(root).glob(".trash/*") if not list(entry.glob("step-*"))]
    found += Path(root).glob("catalog.db.damaged-*")
    return [str(path) for path in found]


def _temporaries(directory: str) -> list[Path]:
    return [path for path in Path(directory).rglob(".mckpt-*.tmp") if LITTER[:16] not in path.name]


def _left_open(root: str) -> list[str]:
    """Files below the root that this process has open; whoever had them open is gone. They are closed now."""
    if _open_files(root):
        gc.collect()  # what refers to itself is closed only now
    found = _open_files(root)
    for fd in found:
        os.close(fd)
    return list(found.values())


def _open_files(root: str) -> dict[int, str]:
    """Paths by descriptor."""
    links = {int(name): f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")}
    paths = {fd: os.readlink(link) for fd, link in links.items() if os.path.islink(link)}
    return {fd: path for fd, path in paths.items() if path.startswith(root)}
