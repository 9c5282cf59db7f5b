"""Cutting the power right after the syncs and renames of one operation. Runs in a nursery; see `nursery`.

The process is killed before its next call that changes something, and the power is cut then: what has died changes
nothing more, and the kernel writes nothing out because of it. Between two syncs, what is on the disk stays the same but
for what the kernel writes by itself; so these moments are, nearly, all that there are.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.harness import kills, strace
from tests.harness.loop_image import workshop
from tests.harness.operations import OPERATIONS
from tests.harness.power_cut_disk import DISKS, Power
from tests.harness.strace import Call, Injection, Kill, Trace

__all__ = ["count", "cut_at"]


def count(disk: str, operation: str) -> int:
    """How many moments there are in an operation, its end included."""
    with workshop() as directory, Power.on(DISKS[disk], directory) as power:
        trace = _follow(_prepare(power, operation), directory / "said", operation, at=0)
        assert trace.status == 0
        return len(trace.calls) + 1


def cut_at(disk: str, operation: str, moments: Sequence[int]) -> list[list[str]]:
    """Cut the power at moments of an operation, each time with a new store.

    Args:
        disk: A name in `DISKS`.
        operation: A name in `OPERATIONS`.
        moments: Which ones, counted from 1.

    Returns:
        What was wrong when the power was back, for each.
    """
    with workshop() as directory, Power.on(DISKS[disk], directory) as power:
        return [_cut_at(power, directory / "said", operation, at) for at in moments]


def _cut_at(power: Power, said: Path, operation: str, at: int) -> list[str]:
    root = _prepare(power, operation)
    said.unlink(missing_ok=True)
    trace = _follow(root, said, operation, at)
    power.cut()
    power.restore()
    if trace.status not in {0, -9}:
        return [f"it ended with status {trace.status}"]
    return kills.problems(root, operation, said.read_text().splitlines())


def _prepare(power: Power, operation: str) -> str:
    """The store that an operation works on, on the disk for good; returns its root."""
    root = power.point / "runs"
    shutil.rmtree(root, ignore_errors=True)
    store = OPERATIONS[operation][0]
    if store != "none":
        shutil.copytree(kills.template(store), root)
    power.sync()
    return str(root)


def _follow(root: str, said: Path, operation: str, at: int) -> Trace:
    def prepare() -> Callable[[], None]:
        fd = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return OPERATIONS[operation][1](root, lambda text: kills.write(fd, text))

    return strace.follow(prepare, Injection(Kill(), at, _after_syncs_and_renames()))


def _after_syncs_and_renames() -> Callable[[Call], bool]:
    """The calls that change something and come next after one of those."""
    latest: Call | None = None

    def comes_next(call: Call) -> bool:
        nonlocal latest
        if not strace.changes(call) and not strace.syncs(call):
            return False
        before, latest = latest, call
        return before is not None and (strace.syncs(before) or before.name in _RENAMES)

    return comes_next


_RENAMES = frozenset({"rename", "renameat", "renameat2"})
