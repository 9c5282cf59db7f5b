"""Many processes at work on one store at once, some of them killed, and what they have to say of it.

Runs in a nursery, see `nursery`: processes are forked from one that has imported everything. Stores lie in memory:
their syncs would take the time, and here they mean nothing.

Everybody writes down each operation before it begins and after it has ended; `crowd_history` reads that.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import model_checkpoint as mc
from model_checkpoint.errors import CheckpointError
from model_checkpoint.events import CheckpointTrashed
from model_checkpoint.types import CheckpointInfo, CheckpointState

__all__ = ["EXPERIMENTS", "TRASH_S", "Diary", "work"]

EXPERIMENTS = ("odd", "even")
CROWDED = 14
"""From so many checkpoints of an experiment on, more are deleted than saved."""
TRASH_S = 2.0
"""How long what was deleted can be restored."""


@dataclass
class Diary:
    """What one process does, line by line, in a file that outlives it.

    ``["begin", number, time, operation, arguments]``, then ``["end", number, time, result]`` or
    ``["failed", number, time, error]``.
    """

    fd: int
    number: int = 0

    @classmethod
    def open(cls, path: str) -> Diary:
        return cls(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))

    def do(self, operation: str, function: Callable[[], Any], **arguments: Any) -> Any:
        """Do something and write it down. An error of ours is part of the story, and any other one is, too."""
        self.number += 1
        self._write("begin", operation, arguments)
        try:
            result = function()
        except Exception as error:  # noqa: BLE001 - the judge decides which errors are in order
            text = traceback.format_exc() if not isinstance(error, CheckpointError) else str(error)
            self._write("failed", type(error).__name__, text, isinstance(error, CheckpointError))
            return None
        self._write("end", result)
        return result

    def _write(self, what: str, *rest: Any) -> None:
        os.write(self.fd, (json.dumps([what, self.number, time.monotonic_ns(), *rest]) + "\n").encode())


@dataclass(frozen=True)
class _AllBut(mc.Keep):
    """Keeps everything but one checkpoint."""

    victim: str

    def __str__(self) -> str:
        return "all but one"

    def select(self, checkpoints: Any, _goal: Any, /) -> Iterator[CheckpointInfo]:  # what is protected anyway stays
        return (checkpoint for checkpoint in checkpoints if checkpoint.id != self.victim)


@dataclass
class _Worker:
    """One process: a manager, and a generator of what it does."""

    root: str
    diary: Diary
    chance: random.Random
    name: str
    ckpts: mc.CheckpointManager = field(init=False)
    step: int = 0
    trashed: list[str] = field(default_factory=list)
    seen: list[CheckpointInfo] = field(default_factory=list)

    def open(self, experiment: str) -> bool:
        """Open the store, as a program does that begins; whether that went well."""
        options: dict[str, Any] = {"monitor": "loss", "trash_for_s": TRASH_S, "sinks": [self]}
        opened = self.diary.do("open", lambda: self._remember(experiment, options))
        return opened is not None

    def _remember(self, experiment: str, options: dict[str, Any]) -> str:
        self.ckpts = mc.CheckpointManager(self.root, experiment=experiment, **options)
        self.ckpts.track(w=np.zeros(256, np.float32))
        return experiment

    def emit(self, event: Any) -> None:
        if isinstance(event, CheckpointTrashed):
            self.trashed.append(event.checkpoint.id)

    def unique(self) -> str:
        return f"{self.name}.{self.diary.number}"

    def turn(self) -> None:
        """Look, and then do one thing."""
        self.look()
        crowded = len(self.seen) > CROWDED
        deeds = (
            (self.save, 2 if crowded else 12), (self.delete, 14 if crowded else 3), (self.restore, 2), (self.pin, 4),
            (self.tag, 4), (self.measure, 4), (self.name_it, 3), (self.load, 6), (self.look, 6), (self.latest, 4),
        )  # fmt: skip
        self.chance.choices([deed for deed, _ in deeds], [weight for _, weight in deeds])[0]()

    # --- reading ------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        def what() -> list[Any]:
            self.seen = list(self.ckpts.list())
            lost = self.ckpts._workspace.catalog.list(states=(CheckpointState.LOST, CheckpointState.QUARANTINED))
            assert not lost, f"{lost} were said to be lost, in a store from which nothing is taken"
            return [_described(info) for info in self.seen]

        self.diary.do("list", what, experiment=self.ckpts.experiment)

    def latest(self) -> None:
        def what() -> Any:
            latest = self.ckpts.latest
            return None if latest is None else [latest.id, latest.seq]

        self.diary.do("latest", what, experiment=self.ckpts.experiment)

    def load(self) -> None:
        if not self.seen:
            return
        info = self.chance.choice(self.seen)

        def what() -> Any:
            state = self.ckpts.load(info.id)
            assert (state["w"] == info.step).all(), "a checkpoint with the bytes of another"
            return info.id

        self.diary.do("load", what, id=info.id)

    # --- writing ------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        self.step += 1
        self.ckpts._parts.update(w=np.full(256, self.step, np.float32))
        loss = self.chance.random()

        def what() -> Any:
            info = self.ckpts.save(self.step, metrics={"loss": loss}, block=True).result()
            return [info.id, info.seq, info.digest]

        self.diary.do("save", what, experiment=self.ckpts.experiment)

    def delete(self) -> None:
        if len(self.seen) < 3:
            return
        victim = self.chance.choice(self.seen[1:]).id

        def what() -> str:
            self.trashed.clear()
            plan = self.ckpts.prune(dry_run=False, keep=_AllBut(victim), force=True)
            if victim in self.trashed:
                return "done"
            return "maybe" if any(info.id == victim for info in plan.removed) else "kept"

        self.diary.do("delete", what, id=victim)

    def restore(self) -> None:
        if self.trashed:
            victim = self.trashed[-1]
            self.diary.do("restore", lambda: self.ckpts.restore(victim).id, id=victim)

    def pin(self) -> None:
        if self.seen:
            info = self.chance.choice(self.seen)
            pinned = not info.pinned and self.chance.random() < 0.4
            act = self.ckpts.pin if pinned else self.ckpts.unpin
            self.diary.do("pin", lambda: act(info.id).id, id=info.id, pinned=pinned)

    def tag(self) -> None:
        if self.seen:
            info, text = self.chance.choice(self.seen), self.unique()
            self.diary.do("tag", lambda: self.ckpts.tag(info.id, t=text).id, id=info.id, value=text)

    def measure(self) -> None:
        if self.seen:
            info = self.chance.choice(self.seen)
            value = float(int(self.name) * 10**7 + self.diary.number)
            self.diary.do("measure", lambda: self.ckpts.attach_metrics(info.id, m=value).id, id=info.id, value=value)

    def name_it(self) -> None:
        """Names go from one checkpoint to the next; now and then one is taken away, or it would protect for good."""
        alias = f"name-{self.chance.randrange(3)}"
        if self.seen and self.chance.random() < 0.7:
            info = self.chance.choice(self.seen)
            self.diary.do("alias", lambda: self.ckpts.alias(info.id, alias).id, id=info.id, alias=alias)
        else:
            experiment = self.ckpts.experiment
            self.diary.do("unalias", lambda: self.ckpts.unalias(alias).id, experiment=experiment, alias=alias)


def _described(info: CheckpointInfo) -> list[Any]:
    return [info.id, info.seq, info.pinned, list(info.aliases), info.tags.get("t"), info.metrics.get("m")]


# --- the crowd --------------------------------------------------------------------------------------------------------


def work(workers: int, operations: int, seed: int, kill_every_s: float, diaries: str) -> dict[str, Any]:
    """Let a crowd work on a store that is new, and kill one of them now and then.

    Args:
        workers: How many are at work at any time; who is killed is replaced.
        operations: How many operations there shall be in all.
        seed: Of all that is random.
        kill_every_s: How many seconds apart, at least: in between, there are as many operations as workers.
        diaries: The directory for what they write down.

    Returns:
        ``root``: the store, in memory; ``kills``: how many.
    """
    place = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None, prefix="mckpt-crowd-")
    root = os.path.join(place, "runs")
    chance = random.Random(seed)
    gc.freeze()
    counter = _Counter(os.path.join(diaries, "count"))
    alive: dict[int, int] = {}
    kills = born = 0
    try:
        while alive or counter.value < operations:
            while len(alive) < workers and counter.value < operations:
                born += 1
                alive[_fork(root, diaries, born, chance.random(), counter, operations)] = born
            _let_work(alive, counter, operations, kill_every_s)
            if counter.value < operations:
                victim = chance.choice(list(alive))
                os.kill(victim, signal.SIGKILL)
                kills += 1
            _reap(alive, wait=counter.value >= operations)
    except BaseException:
        for pid in alive:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(place)
        raise
    return {"place": place, "root": root, "kills": kills}


class _Counter:
    """How many operations were begun, by all processes: the length of a file that each lets grow by a byte."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)

    @property
    def value(self) -> int:
        return os.fstat(self._fd).st_size

    def count(self, operations: int) -> None:
        os.write(self._fd, b"." * operations)


def _fork(root: str, diaries: str, number: int, seed: float, counter: _Counter, operations: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        worker = _Worker(root, Diary.open(os.path.join(diaries, f"{number}.diary")), random.Random(seed), str(number))
        while counter.value < operations and not worker.open(EXPERIMENTS[number % 2]):
            counter.count(1)  # who cannot open it tries again
        while counter.value < operations:
            before = worker.diary.number
            worker.turn()
            counter.count(worker.diary.number - before)
        worker.ckpts.close()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - the child of a fork must not go on as its parent
        traceback.print_exc()
        os._exit(99)


def _let_work(alive: dict[int, int], counter: _Counter, operations: int, seconds: float) -> None:
    """Wait so long, and until each could do something: where all are killed before that, nobody ever does."""
    deadline, enough = time.monotonic() + seconds, counter.value + len(alive)
    while counter.value < operations and (time.monotonic() < deadline or counter.value < enough):
        time.sleep(0.01)
        _reap(alive, wait=False)


def _reap(alive: dict[int, int], *, wait: bool) -> None:
    """Forget who is dead; whoever ended otherwise than by our kill, or in peace, is a failure."""
    for pid in list(alive):
        with contextlib.suppress(ChildProcessError):
            done, status = os.waitpid(pid, 0 if wait else os.WNOHANG)
            if done:
                code = os.waitstatus_to_exitcode(status)
                assert code in {0, -signal.SIGKILL}, f"worker {alive[pid]} ended with {code}"
                del alive[pid]
