"""Killing what works on a store, and seeing what the next one finds.

Runs in a nursery, see `nursery`, which asks for `warm_up` first. Stores lie in memory: their syncs would take the time,
and to a process that is killed they mean nothing.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import io
import json
import logging
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from model_checkpoint.checkpoint.reindex import reindex
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.cli.app import run
from model_checkpoint.types import CheckpointState
from tests.harness import strace
from tests.harness.nursery import isolated
from tests.harness.sample_store import EXPERIMENTS, OPERATIONS, STORES, View, age, manager, recover, save_one, view
from tests.harness.strace import Call, Injection, Kill, Trace

__all__ = ["chain", "count", "kill_at", "warm_up"]

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
    list(_complaints(root))
    return [name for name in sys.modules if name.partition(".")[0] in _OURS]


def warm_up() -> None:
    """Import everything; the first thing to ask for."""
    for name in isolated(_modules_in_use, os.path.join(_base(), "warm up")):
        importlib.import_module(name)
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
    return trace.injected, _problems(root, operation, _words(root))


def chain(operation: str, seed: int, depth: int = 3) -> list[str]:
    """Kill an operation at any moment, then the recovery, then that one's recovery; returns what was wrong then."""
    rng = random.Random(seed)
    root = _copy(OPERATIONS[operation][0])
    _kill_anywhere(root, operation, rng)
    said = _words(root)
    for _ in range(depth - 1):
        _kill_anywhere(root, "a recovery", rng)
    return _problems(root, operation, said)


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
        shutil.copytree(_template(store), root)
    return root


def _duplicate(root: str) -> str:
    """The same as it is now, to try on."""
    trial = f"{root}-trial"
    shutil.rmtree(trial, ignore_errors=True)
    if os.path.exists(root):
        shutil.copytree(root, trial)
    return trial


@functools.cache
def _template(store: str) -> str:
    root = os.path.join(_base(), f"a store, {store}")
    if store == "littered":
        _litter(root)
    else:
        isolated(STORES[store], root)
    return root


def _litter(root: str) -> None:
    """All that killed processes leave, at once: the last one died while it entered its save into the catalog."""
    shutil.copytree(_template("usual"), root)
    is_commit = _after_the_rename(strace.named("renameat2"))
    for operation, which in (("a save", is_commit), ("a cleanup for good", _removes)):
        other = _killed(operation, which)
        for area in (".staging", ".trash"):
            shutil.copytree(os.path.join(other, area), os.path.join(root, area), dirs_exist_ok=True)
    other = _killed("pins, aliases, tags and late metrics", strace.named("rename"))
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
        return OPERATIONS[operation][1](root, lambda text: _write(said, text))

    return strace.follow(prepare, injection)


def _said(root: str) -> str:
    return f"{root}.said"


def _words(root: str) -> list[str]:
    """What was acknowledged."""
    return Path(_said(root)).read_text().splitlines() if os.path.exists(_said(root)) else []


def _write(fd: int, text: str) -> None:
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


def _problems(root: str, operation: str, said: list[str]) -> list[str]:
    """What is wrong with a store after a kill; the store is used up by it."""
    before, after = _views(operation)
    problems: list[str] = isolated(lambda: list(_judge(root, before, after, said)))
    return problems


def _judge(root: str, before: View, after: View, said: list[str]) -> Iterator[str]:
    try:
        recover(root)
        recovered = _tree(root)
        yield from _differences(view(root), before, after, said)
        recover(root)
        yield from (f"a second recovery changed {path}" for path in _changed(recovered, _tree(root)))
        yield from _complaints(root)
        age(root)
        recover(root)
        yield from (f"left behind: {path}" for path in _leftovers(root))
        _use(root)
        reindex(root)
        without_content = [{k: v for k, v in each.items() if not k.endswith(" content")} for each in (before, after)]
        yield from (
            f"after a reindex, {problem}" for problem in _differences(view(root, deep=False), *without_content, said)
        )
    except Exception:  # noqa: BLE001 - whatever it is, this store is of no use any more
        yield traceback.format_exc()


def _differences(seen: View, before: View, after: View, said: list[str]) -> Iterator[str]:
    """All is as it was or as it was to be; what was acknowledged is as it was to be."""
    for key in sorted(before.keys() | after.keys() | seen.keys()):
        is_final = any(key.startswith(text) for text in said)
        allowed = [after.get(key)] if is_final else [before.get(key), after.get(key)]
        if seen.get(key) not in allowed and not key.split("/")[-1].startswith(f"{_NEXT} "):
            yield f"{key} is {seen.get(key)!r}, not {' or '.join(map(repr, allowed))}"
    gone = _checkpoints(before) - _checkpoints(after) - _checkpoints(seen)
    missing = _checkpoints(after) - _checkpoints(before) - _checkpoints(seen)
    if gone and missing:
        yield f"{sorted(gone)} went before {sorted(missing)} came"


def _checkpoints(seen: View) -> set[str]:
    return {key.removesuffix(" state") for key in seen if key.endswith(" state")}


_NEXT = 50
"""The step of the save after a kill."""


def _use(root: str) -> None:
    """The next save works, in each experiment, and is what comes last."""
    for experiment in EXPERIMENTS:
        with manager(root, experiment) as ckpts:
            saved = save_one(ckpts, _NEXT).result()
            assert ckpts.latest is not None
            assert ckpts.latest.id == saved.id, f"{ckpts.latest.ref} is the latest, not {saved.ref}"
            assert ckpts.load(_NEXT)["weight"][0] == _NEXT


def _complaints(root: str) -> Iterator[str]:
    """What `mckpt doctor` finds wrong with the store; the machine is what it is."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        run(["-C", root, "doctor", "--json"])
    for finding in json.loads(output.getvalue())["findings"]:
        if finding["level"] != "OK" and finding["check"] not in _MACHINE:
            yield f"mckpt doctor: {finding['level']} {finding['check']}: {finding['text']}"


_MACHINE = {"sha256", "crc32c", "threads", "file system", "O_DIRECT"}


def _tree(root: str) -> dict[str, tuple[int, bytes]]:
    """Each file and directory with its mode and its bytes."""
    paths = [Path(directory, name) for directory, *names in os.walk(root) for name in [*names[0], *names[1]]]
    return {
        os.path.relpath(path, root): (path.stat().st_mode, b"" if path.is_dir() else path.read_bytes())
        for path in paths
    }


def _changed(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    return sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))


def _leftovers(root: str) -> list[str]:
    """What is in a store and belongs to nothing."""
    with Workspace.open(root) as workspace:
        infos = workspace.catalog.list(states=tuple(CheckpointState))
    ours = {"catalog.db", "catalog.db-journal", ".staging", ".trash"}
    for experiment in EXPERIMENTS:
        ours |= {experiment} | {
            f"{experiment}/{name}" for name in ("experiment.json", ".annotations", ".annotations/.lock")
        }
    for info in infos:
        ours |= {info.path, f"{info.experiment}/.annotations/{info.id}.json"}
        if info.path.startswith(".trash/"):
            ours |= {os.path.dirname(info.path), f"{os.path.dirname(info.path)}/trash.json"}
    found = {path for path in _tree(root) if os.path.dirname(path) not in {info.path for info in infos}}
    return sorted(path for path in found - ours if not path.startswith("catalog.db.damaged-"))
