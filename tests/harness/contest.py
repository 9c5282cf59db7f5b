"""Many processes that commit the same at the same moment, round after round.

Runs in a nursery, see `nursery`. The writers are forked once and meet at a barrier before each round; after it, one of
them judges what there is to see, and clears the way for the next.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_checkpoint.checkpoint.manager import CheckpointManager
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.errors import CheckpointError, SaveError
from model_checkpoint.storage.checkpoint_dir import read_state, verify
from model_checkpoint.storage.commit import Draft
from model_checkpoint.storage.staged_files import component_files
from model_checkpoint.storage.state_tree import flatten
from model_checkpoint.types import CheckpointInfo, CheckpointState

__all__ = ["hold"]

_PATIENCE_S = 300.0


@dataclass(frozen=True)
class _Scene:
    """What is shared: a store, and room in which each writer leaves word of how its commit ended."""

    root: str
    words: str
    barrier: Any
    locks_work: bool

    def say(self, writer: int, word: str) -> None:
        with open(os.path.join(self.words, str(writer)), "w", encoding="utf-8") as file:
            file.write(word)

    def hear(self, writers: int) -> list[str]:
        return [Path(self.words, str(writer)).read_text(encoding="utf-8") for writer in range(writers)]


def hold(contest: str, writers: int, rounds: int, *, locks_work: bool = True) -> dict[str, Any]:
    """Let writers contend; returns what was wrong, and how the commits ended.

    Args:
        contest: ``"id"``: all commit a checkpoint of the same id. ``"step"``: all save the same step.
        writers: How many processes.
        rounds: How often.
        locks_work: Whether the catalog can be relied upon; else it is only rebuilt in the end, and compared then.
    """
    place = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None, prefix="mckpt-contest-")
    words = os.path.join(place, "words")
    os.mkdir(words)
    scene = _Scene(os.path.join(place, "runs"), words, multiprocessing.get_context("fork").Barrier(writers), locks_work)
    act = {"id": _same_id, "step": _same_step}[contest]
    gc.freeze()
    try:
        pids = [_fork(scene, act, writer, writers, rounds) for writer in range(writers)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        report = Path(place, "report")
        found = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
        problems = [*found.get("problems", ["there is no report"]), *(f"a writer ended with {c}" for c in codes if c)]
        return {"problems": problems, "endings": found.get("endings", {})}
    finally:
        shutil.rmtree(place)


def _fork(scene: _Scene, act: Callable[..., None], writer: int, writers: int, rounds: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        act(scene, writer, writers, rounds)
        os._exit(0)
    except BaseException:  # noqa: BLE001 - the child of a fork must not go on as its parent
        traceback.print_exc()
        scene.barrier.abort()
        os._exit(99)


def _meet(scene: _Scene) -> None:
    scene.barrier.wait(_PATIENCE_S)


# --- one id -----------------------------------------------------------------------------------------------------------


def _same_id(scene: _Scene, writer: int, writers: int, rounds: int) -> None:
    with Workspace.open(scene.root) as workspace:
        judge = _Judge(scene, workspace, writers)
        for number in range(rounds):
            flat = flatten({"w": np.full(300, writer), "writer": writer})
            draft = Draft("e", number, flat.tree, component_files(flat), id=f"{number:032x}")
            _meet(scene)
            scene.say(writer, _ending(lambda: workspace.store.commit(draft, log=workspace.catalog)))  # noqa: B023
            _meet(scene)
            if writer == 0:
                judge.one_winner(number)
        if writer == 0:
            judge.report()


# --- one step ---------------------------------------------------------------------------------------------------------


def _same_step(scene: _Scene, writer: int, writers: int, rounds: int) -> None:
    with CheckpointManager(scene.root, experiment="e") as ckpts, Workspace.open(scene.root) as workspace:
        weight = np.zeros(300, np.float32)
        ckpts.track(w=weight)
        judge = _Judge(scene, workspace, writers)
        for number in range(rounds):
            weight[:] = writer
            _meet(scene)
            scene.say(writer, _ending(lambda: ckpts.save(number, block=True).result()))  # noqa: B023
            _meet(scene)
            if writer == 0:
                judge.one_each(number)
        if writer == 0:
            judge.report()


def _ending(function: Callable[[], CheckpointInfo]) -> str:
    """How a commit ended: the id, or the name of our error; any other one is told whole."""
    try:
        return function().id
    except CheckpointError as error:
        return type(error.__cause__ if isinstance(error, SaveError) else error).__name__
    except BaseException:  # noqa: BLE001 - the judge shall hear of it
        return traceback.format_exc()


class _Judge:
    """Looks at the store between rounds, as a process that has done nothing else would."""

    def __init__(self, scene: _Scene, workspace: Workspace, writers: int) -> None:
        self._scene = scene
        self._workspace = workspace
        self._writers = writers
        self._problems: list[str] = []
        self._endings: Counter[str] = Counter()
        self._there: list[CheckpointInfo] = []

    def one_winner(self, step: int) -> None:
        """One has committed, the others were told, and what is there is the winner's."""
        words = self._scene.hear(self._writers)
        winners = [writer for writer, word in enumerate(words) if len(word) == 32]
        self._endings.update("committed" if len(word) == 32 else word for word in words)
        known = {"CheckpointExistsError"} if self._scene.locks_work else {"CheckpointExistsError", *_CATALOG_ERRORS}
        self._problems += [f"step {step}: {word}" for word in words if len(word) != 32 and word not in known]
        infos = self._found(step)
        if len(infos) != 1 or (self._scene.locks_work and len(winners) != 1) or len(winners) > 1:
            self._problems.append(f"step {step}: {len(winners)} writers won, and {len(infos)} checkpoints are there")
        for info in infos:
            there = read_state(self._workspace.store.open(info))["writer"]
            if winners not in ([there], []):
                self._problems.append(f"step {step}: writer {winners[0]} won, and what is there is of writer {there}")
        self._compare(step, infos)

    def one_each(self, step: int) -> None:
        """All have committed, each a checkpoint of its own, with its own bytes."""
        words = self._scene.hear(self._writers)
        self._endings.update("committed" if len(word) == 32 else word for word in words)
        infos = {info.id: info for info in self._found(step)}
        for writer, word in enumerate(words):
            if len(word) != 32:
                if self._scene.locks_work or word not in _CATALOG_ERRORS:
                    self._problems.append(f"step {step}: {word}")
            elif word not in infos:
                self._problems.append(f"step {step}: the checkpoint of writer {writer} is not there")
            elif (read_state(self._workspace.store.open(infos[word]))["w"] != writer).any():
                self._problems.append(f"step {step}: the checkpoint of writer {writer} has another's bytes")
        self._compare(step, list(infos.values()))

    def _found(self, step: int) -> list[CheckpointInfo]:
        """What the files say; nothing of it may be half there."""
        found = self._workspace.store.scan()
        self._problems += [f"step {step}: {item.path}: {item.reason}" for item in found.quarantined]
        infos = [info for info in found.checkpoints if info.step == step]
        for info in infos:
            verify(self._workspace.store.directory(info))
        left = os.listdir(self._workspace.store.staging.directory)
        self._problems += [f"step {step}: left behind: {name}" for name in left]
        return infos

    def _compare(self, step: int, infos: list[CheckpointInfo]) -> None:
        """The catalog has the same; then clear away what the round before has left."""
        catalog = self._workspace.catalog
        former, self._there = self._there, infos
        if self._scene.locks_work:
            listed = {info.id: info for info in catalog.list("e", states=tuple(CheckpointState)) if info.step == step}
            if listed != {info.id: info for info in infos}:
                self._problems.append(f"step {step}: the catalog has {sorted(listed)}")
            if len({info.seq for info in infos}) != len(infos):
                self._problems.append(f"step {step}: two checkpoints have one number")
            catalog.remove([info.id for info in former])
        for info in former:
            shutil.rmtree(self._workspace.store.directory(info))

    def report(self) -> None:
        """What was found, after a last look at the catalog."""
        if not self._scene.locks_work:
            self._workspace.rebuild()
        self._workspace.catalog.check()
        listed = {info.id for info in self._workspace.catalog.list("e", states=tuple(CheckpointState))}
        if listed != {info.id for info in self._there}:
            self._problems.append(f"in the end the catalog has {sorted(listed)}")
        with open(os.path.join(os.path.dirname(self._scene.root), "report"), "w", encoding="utf-8") as file:
            json.dump({"problems": self._problems[:50], "endings": dict(self._endings)}, file)


_CATALOG_ERRORS = {"CatalogError", "CatalogBusyError", "CatalogConflictError", "CatalogDamagedError", "StorageError"}
"""What a writer may hear of where locks lie: the checkpoint is in place then, and the catalog is to be rebuilt."""
