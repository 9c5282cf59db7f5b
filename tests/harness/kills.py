"""Killing what works on a store, and seeing what the next one finds.

Runs in a nursery, see `nursery`, which asks for `warm_up` first. Stores lie in memory: their syncs would take the time,
and to a process that is killed they mean nothing.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import logging
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.harness import strace
from tests.harness.aftermath import complaints, judge
from tests.harness.nursery import isolated
from tests.harness.operations import OPERATIONS
from tests.harness.sample_store import STORES, View, recover, view
from tests.harness.strace import Call, Injection, Kill, Trace

__all__ = ["chain", "count", "kill_at", "problems", "template", "warm_up", "write"]

logging.getLogger("model_checkpoint").addHandler(logging.NullHandler())  # it has much to say of what it finds


@functools.cache
def _place() -> tempfile.TemporaryDirectory[str]:
    """Where all stores are; it goes when the nursery ends."""
    return tempfile.TemporaryDirectory(
        dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None, prefix="mckpt-kills-"
    )


def _base() -> str:
    return _place().name


_OURS = {"alembic", "click", "mako", "model_checkpoint", "numpy", "rich", "sqlalchemy"}


def _modules_in_use(root: str) -> list[str]:
    """What is imported only when it is needed: no killed process shall spend its calls on that."""
    STORES["usual"](root)
    list(complaints(root))
    return [name for name in sys.modules if name.partition(".")[0] in _OURS]


def warm_up() -> None:
    """Import everything, and do what needs no threads once; the first thing to ask for."""
    root = os.path.join(_base(), "warm up")
    for name in isolated(_modules_in_use, root):
        importlib.import_module(name)
    recover(root)
    view(root, deep=False)
    assert len(os.listdir("/proc/self/task")) == 1, "whoever is to be forked must have no threads"
    gc.freeze()  # what is here stays: children need not copy it


# --- what a test asks for ---------------------------------------------------------------------------------------------


def count(operation: str, which: str) -> int:
    """How many system calls an operation makes when it is left alone."""
    root = _copy(OPERATIONS[operation][0])
    trace = _follow(root, operation, Injection(Kill(), at=0, which=_WHICH[which]))
    assert trace.status == 0
    return len(trace.calls)


def kill_at(operation: str, at: int, which: str) -> tuple[str | None, list[str]]:
    """Kill an operation at one of its system calls; returns the call, if it was reached, and what was wrong then."""
    root = _copy(OPERATIONS[operation][0])
    trace = _follow(root, operation, Injection(Kill(), at, _WHICH[which]))
    if trace.status not in {0, -9}:
        return trace.injected, [f"it ended with status {trace.status}"]
    return trace.injected, problems(root, operation, _words(root))


def chain(operation: str, seed: int, depth: int = 3) -> list[str]:
    """Kill an operation at any moment, then the recovery, then that one's recovery; returns what was wrong then."""
    rng = random.Random(seed)
    root = _copy(OPERATIONS[operation][0])
    _kill_anywhere(root, operation, rng)
    said = _words(root)
    for _ in range(depth - 1):
        _kill_anywhere(root, "a recovery", rng)
    return problems(root, operation, said)


def _kill_anywhere(root: str, operation: str, rng: random.Random) -> None:
    length = len(_follow(_duplicate(root), operation, None).calls)
    _follow(root, operation, Injection(Kill(), rng.randint(1, length)))


# --- stores to work on ------------------------------------------------------------------------------------------------


def _copy(store: str, name: str = "runs") -> str:
    """A fresh copy of a store; returns its root."""
    root = os.path.join(_base(), name)
    shutil.rmtree(root, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_said(root))
    if store != "none":
        shutil.copytree(template(store), root)
    return root


def _duplicate(root: str) -> str:
    """The same as it is now, to try on."""
    trial = f"{root}-trial"
    shutil.rmtree(trial, ignore_errors=True)
    if os.path.exists(root):
        shutil.copytree(root, trial)
    return trial


@functools.cache
def template(store: str) -> str:
    root = os.path.join(_base(), f"a store, {store}")
    if store == "littered":
        _litter(root)
    else:
        isolated(STORES[store], root)
    return root


def _litter(root: str) -> None:
    """All that killed processes leave, at once: the last one died while it entered its save into the catalog."""
    shutil.copytree(template("usual"), root)
    is_commit = _after_the_rename(strace.named("renameat2"))
    for operation, which in (("a save", is_commit), ("a cleanup for good", _removes)):
        other = _killed(operation, which)
        for area in (".staging", ".trash"):
            shutil.copytree(os.path.join(other, area), os.path.join(root, area), dirs_exist_ok=True)
    other = _killed("pins, aliases, tags and late metrics", strace.named("renameat"))
    shutil.copytree(os.path.join(other, "exp/.annotations"), os.path.join(root, "exp/.annotations"), dirs_exist_ok=True)
    _follow(root, "a save", Injection(Kill(), 1, _after_the_rename(_syncs_the_catalog)))


def _killed(operation: str, which: Callable[[Call], bool]) -> str:
    root = _copy(OPERATIONS[operation][0], "killed")
    assert _follow(root, operation, Injection(Kill(), 1, which)).injected
    return root


def _removes(call: Call) -> bool:
    """In the middle of a removal for good."""
    return call.name == "unlinkat" and ".deleting" in call.file


def _syncs_the_catalog(call: Call) -> bool:
    return call.name in {"fsync", "fdatasync"} and call.file.endswith("catalog.db")


def _after_the_rename(which: Callable[[Call], bool]) -> Callable[[Call], bool]:
    """The second rename of a save is the commit; the first finds out whether there are renames that do not replace."""
    renames: list[Call] = []

    def is_it(call: Call) -> bool:
        if call.name == "renameat2":
            renames.append(call)
        return len(renames) >= 2 and which(call)

    return is_it


_WHICH: dict[str, Callable[[Call], bool]] = {
    "every": strace.every,
    "changes": strace.changes,
    "removals for good": _removes,
    "syncs of the catalog": _syncs_the_catalog,
}


# --- running ----------------------------------------------------------------------------------------------------------


def _follow(root: str, operation: str, injection: Injection | None) -> Trace:
    def prepare() -> Callable[[], None]:
        said = os.open(_said(root), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return OPERATIONS[operation][1](root, lambda text: write(said, text))

    return strace.follow(prepare, injection)


def _said(root: str) -> str:
    return f"{root}.said"


def _words(root: str) -> list[str]:
    """What was acknowledged."""
    return Path(_said(root)).read_text().splitlines() if os.path.exists(_said(root)) else []


def write(fd: int, text: str) -> None:
    os.write(fd, f"{text}\n".encode())


# --- judging ----------------------------------------------------------------------------------------------------------


@functools.cache
def _views(operation: str) -> tuple[View, View]:
    """What there is to see before an operation and after it."""
    before, after = (_copy(OPERATIONS[operation][0], name) for name in ("before", "after"))
    assert _follow(after, operation, None).status == 0
    return isolated(_recovered, before), isolated(_recovered, after)


def _recovered(root: str) -> View:
    recover(root)
    return view(root)


def problems(root: str, operation: str, said: list[str]) -> list[str]:
    """What is wrong with a store after a kill; the store is used up by it."""
    before, after = _views(operation)
    problems: list[str] = isolated(lambda: list(judge(root, before, after, said)))
    return problems
