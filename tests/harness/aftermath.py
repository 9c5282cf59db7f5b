"""What a kill has left, judged as the next run would find it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_checkpoint.checkpoint.reindex import reindex
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.cli.app import run
from model_checkpoint.types import CheckpointState
from tests.harness.sample_store import EXPERIMENTS, View, age, manager, recover, save_one, view

__all__ = ["NEXT", "complaints", "judge", "leftovers", "use"]

NEXT = 50
"""The step of the save after a kill."""

_MACHINE = {"sha256", "crc32c", "threads", "file system", "O_DIRECT"}
"""Checks of the doctor's that concern the machine."""


def judge(root: str, before: View, after: View, said: list[str]) -> Iterator[str]:
    """What is wrong with a store after a kill; uses it up.

    Args:
        root: The store.
        before: What there was to see before the operation.
        after: What there is to see after it, if nobody kills it.
        said: What it has acknowledged.
    """
    try:
        recover(root)
        recovered = _tree(root)
        yield from _differences(view(root), before, after, said)
        recover(root)
        yield from (f"a second recovery changed {path}" for path in _changed(recovered, _tree(root)))
        yield from complaints(root)
        age(root)
        recover(root)
        yield from (f"left behind: {path}" for path in leftovers(root))
        use(root)
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
        if seen.get(key) not in allowed and not key.split("/")[-1].startswith(f"{NEXT} "):
            yield f"{key} is {seen.get(key)!r}, not {' or '.join(map(repr, allowed))}"
    gone = _checkpoints(before) - _checkpoints(after) - _checkpoints(seen)
    missing = _checkpoints(after) - _checkpoints(before) - _checkpoints(seen)
    if gone and missing:
        yield f"{sorted(gone)} went before {sorted(missing)} came"


def _checkpoints(seen: View) -> set[str]:
    return {key.removesuffix(" state") for key in seen if key.endswith(" state")}


def use(root: str) -> None:
    """The next save works, and is what comes last; its number in the commit order is nobody else's."""
    with manager(root) as ckpts:
        saved = save_one(ckpts, NEXT, block=True).result()
        assert ckpts.latest is not None
        assert ckpts.latest.id == saved.id, f"{ckpts.latest.ref} is the latest, not {saved.ref}"
        assert ckpts.load(NEXT)["weight"][0] == NEXT


def complaints(root: str) -> Iterator[str]:
    """What `mckpt doctor` finds wrong with the store; the machine is what it is."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        run(["-C", root, "doctor", "--json"])
    for finding in json.loads(output.getvalue())["findings"]:
        if finding["level"] != "OK" and finding["check"] not in _MACHINE:
            yield f"mckpt doctor: {finding['level']} {finding['check']}: {finding['text']}"


def _tree(root: str) -> dict[str, tuple[int, bytes]]:
    """Each file and directory with its mode and its bytes."""
    paths = [Path(directory, name) for directory, *names in os.walk(root) for name in [*names[0], *names[1]]]
    return {
        os.path.relpath(path, root): (path.stat().st_mode, b"" if path.is_dir() else path.read_bytes())
        for path in paths
    }


def _changed(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    return sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))


def leftovers(root: str) -> list[str]:
    """What is in a store and belongs to nothing."""
    with Workspace.open(root) as workspace:
        infos = workspace.catalog.list(states=tuple(CheckpointState))
    ours = {"catalog.db", "catalog.db-journal", ".staging", ".trash", ".timings.jsonl"}
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
