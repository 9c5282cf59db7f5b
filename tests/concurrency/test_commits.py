"""Processes that write, read, delete and tidy up in one store at once.

The processes are forked from one that has imported everything: this file, run as a script.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import traceback
import uuid
from datetime import timedelta

import numpy as np
import pytest

from model_checkpoint.errors import CheckpointExistsError, CheckpointInUseError, CheckpointNotFoundError
from model_checkpoint.storage.checkpoint_dir import read_state, verify
from model_checkpoint.storage.commit import Draft
from model_checkpoint.storage.staged_files import component_files
from model_checkpoint.storage.state_tree import flatten
from model_checkpoint.storage.store import Store

pytestmark = pytest.mark.concurrency

ROUNDS, WRITERS = 12, 6


def draft(step: int, writer: int, checkpoint_id: str) -> Draft:
    flat = flatten({"model": {"w": np.full(500, writer)}, "writer": writer})
    return Draft("e", step, flat.tree, component_files(flat), id=checkpoint_id)


def processes(*functions) -> list[int]:
    """Run functions in processes of their own, started together; their results, which are small numbers."""
    go = time.monotonic() + 0.05
    pids = []
    for function in functions:
        pid = os.fork()
        if pid == 0:
            try:
                time.sleep(max(0.0, go - time.monotonic()))
                os._exit(function())
            except BaseException:  # noqa: BLE001 - the child of a fork must not go on as its parent
                traceback.print_exc()
                os._exit(99)
        pids.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def one_id(root: str) -> None:
    """Writers of one id: one wins, the others are told, and what is there is the winner's."""

    def write(writer: int, step: int, checkpoint_id: str) -> int:
        try:
            Store(root).commit(draft(step, writer, checkpoint_id))
        except CheckpointExistsError:
            return 1
        return 0

    for step in range(ROUNDS):
        checkpoint_id = uuid.uuid4().hex
        results = processes(*(lambda w=w, step=step, name=checkpoint_id: write(w, step, name) for w in range(WRITERS)))
        assert sorted(results) == [0] + [1] * (WRITERS - 1), results

        def check(winner: int = results.index(0)) -> int:
            store = Store(root)
            assert os.listdir(store.staging.directory) == []
            assert read_state(store.open(store.scan().checkpoints[-1]))["writer"] == winner
            return 0

        assert processes(check) == [0]


def all_at_once(root: str) -> None:  # noqa: C901 - a scene with its actors
    """Writers, readers, a deleter and a recoverer: no reader sees half a checkpoint, nothing is lost."""
    deadline = time.monotonic() + 3

    def write(writer: int) -> int:
        store, step = Store(root), 0
        while time.monotonic() < deadline:
            store.commit(draft(writer * 10_000 + step, writer, uuid.uuid4().hex))
            step += 1
        return 0

    def read() -> int:
        store = Store(root)
        while time.monotonic() < deadline:
            for info in store.scan().checkpoints[-5:]:
                try:
                    state = read_state(store.open(info))
                except CheckpointNotFoundError:
                    continue
                assert (state["model"]["w"] == state["writer"]).all()
        return 0

    def delete() -> int:
        store = Store(root)
        while time.monotonic() < deadline:
            for info in store.scan().checkpoints[:-8]:
                if not info.path.startswith(".trash"):
                    try:
                        store.delete(info, keep=timedelta(0))
                    except CheckpointInUseError:
                        continue
            store.purge_expired()
        return 0

    def recover() -> int:
        store = Store(root)
        while time.monotonic() < deadline:
            report = store.recover()
            assert (report.reclaimed, report.quarantined) == ((), ())
        return 0

    assert processes(lambda: write(1), lambda: write(2), read, delete, recover) == [0] * 5

    def check() -> int:
        store = Store(root)
        store.recover()
        scan = store.scan()
        assert scan.quarantined == ()
        assert len(scan.checkpoints) >= 8
        for info in scan.checkpoints:
            verify(store.directory(info))
        return 0

    assert processes(check) == [0]


def annotations(root: str) -> None:
    """Changes to one annotation by many processes are all kept."""
    import dataclasses

    assert processes(lambda: Store(root).commit(draft(1, 1, "0" * 32)) is None) == [0]

    def tag(writer: int) -> int:
        store = Store(root)
        (info,) = store.scan().checkpoints
        for number in range(10):
            store.annotate(
                info, lambda old, n=number: dataclasses.replace(old, tags={**old.tags, f"{writer}-{n}": "x"})
            )
        return 0

    assert processes(*(lambda w=w: tag(w) for w in range(WRITERS))) == [0] * WRITERS
    (info,) = Store(root).scan().checkpoints
    assert len(info.tags) == 10 * WRITERS


if __name__ == "__main__":
    {"one_id": one_id, "all_at_once": all_at_once, "annotations": annotations}[sys.argv[1]](sys.argv[2])


@pytest.mark.parametrize("scene", ["one_id", "all_at_once", "annotations"])
def test_processes_share_a_store(memory_path, scene):
    """See the function of that name."""
    command = [sys.executable, __file__, scene, str(memory_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
