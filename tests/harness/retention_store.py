"""A training's past in a real store, drawn by a seed, whose cleanups are judged by what the files said before."""

from __future__ import annotations

import contextlib
import math
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np

from model_checkpoint import _native
from model_checkpoint.checkpoint.keep import Keep
from model_checkpoint.checkpoint.manager import CheckpointManager
from model_checkpoint.errors import CheckpointError, IntegrityError, RetentionError, SaveError, StorageError
from model_checkpoint.storage.store import Store
from model_checkpoint.types import CheckpointInfo, CheckpointState, Mode
from tests.harness.retention_past import Rules

__all__ = ["StoredPast"]

_VALUES = (math.nan, math.inf, -math.inf, 0.0, 0.5, 0.5, 1.0)
_CALLS = ("write_segments", "sync_file", "sync_directory", "rename_noreplace")
"""The first of these that a save makes comes before its checkpoint is durable."""


class StoredPast:
    """One experiment in a store; each `live` does something to it at random, through a manager that cleans up.

    Attributes:
        problems: What cleanups did that they must not do.
        removals: How many checkpoints they have removed.
        failures: How many saves have failed.
    """

    def __init__(self, root: str, seed: int) -> None:
        self._random = random.Random(seed)
        self._root, self._step = root, 0
        self._mode: Mode = self._random.choice(("min", "max"))
        self._rules = Rules(self._random.randint(1, 3), self._random.randint(1, 2), self._mode)
        self._keep = Keep.last(self._rules.last) | Keep.best(self._rules.best)
        self._readers: dict[str, object] = {}
        self._resumed_from: str | None = None
        self._weight = np.zeros(64, np.float32)
        self.problems: list[str] = []
        self.removals = self.failures = 0
        self._manager = self._open()

    def close(self) -> None:
        self._readers.clear()
        self._manager.close()

    def live(self) -> None:
        """Do one thing, and judge what is gone then."""
        before = self._there()
        act = self._random.choice(_ACTS) if before else StoredPast._save
        saved = act(self, before)
        after = {one.id for one in self._there()}
        there = before if saved is None else [*before, saved]
        removed = [one for one in there if one.id not in after]
        self.removals += len(removed)
        rules = Rules(self._rules.last, self._rules.best, self._mode, frozenset(self._readers), self._resumed_from)
        self.problems += [f"{act.__name__}: {wrong}" for wrong in rules.broken_by(removed, there)]
        if act is StoredPast._fail_to_save and removed:
            self.problems.append(f"a save failed, and {len(removed)} checkpoints were removed")

    def _open(self) -> CheckpointManager:
        manager = CheckpointManager(self._root, experiment="e", monitor="loss", mode=self._mode, keep=self._keep)
        manager.track(w=self._weight)
        return manager

    def _there(self) -> list[CheckpointInfo]:
        """The committed checkpoints, as the files say."""
        return [one for one in Store(self._root).scan().checkpoints if one.state is CheckpointState.COMMITTED]

    # --- what happens -------------------------------------------------------------------------------------------------

    def _save(self, _there: list[CheckpointInfo]) -> CheckpointInfo:
        self._step += self._random.choice((0, 1, 10))
        value = self._random.choice((*_VALUES, self._random.uniform(-1, 1)))
        return self._manager.save(self._step, metrics={"loss": value}, block=True).result()

    def _fail_to_save(self, there: list[CheckpointInfo]) -> None:
        self.failures += 1
        with _failing(self._random.choice(_CALLS)):
            try:
                self._save(there)
            except SaveError:
                return
        self.problems.append("a save that could not be made durable was called a success")

    def _pin(self, there: list[CheckpointInfo]) -> None:
        one = self._random.choice(there)
        (self._manager.unpin if one.pinned else self._manager.pin)(one.id)

    def _name(self, there: list[CheckpointInfo]) -> None:
        self._manager.alias(self._random.choice(there).id, "prod")

    def _verify(self, there: list[CheckpointInfo]) -> None:
        with contextlib.suppress(IntegrityError):  # of one that `_damage` has met
            self._manager.verify(self._random.choice(there).id)

    def _damage(self, there: list[CheckpointInfo]) -> None:
        files = sorted(Path(self._root, self._random.choice(there).path).rglob("*.safetensors"))
        with open(files[0], "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x55")

    def _measure(self, there: list[CheckpointInfo]) -> None:
        self._manager.attach_metrics(self._random.choice(there).id, loss=self._random.choice(_VALUES))

    def _read(self, there: list[CheckpointInfo]) -> None:
        """Begin to read a checkpoint, or stop."""
        one = self._random.choice(there)
        if self._readers.pop(one.id, None) is None:
            with contextlib.suppress(CheckpointError):
                self._readers[one.id] = Store(self._root).open(one)

    def _restart(self, there: list[CheckpointInfo]) -> None:
        self._manager.close()
        self._manager, self._resumed_from = self._open(), None
        one = self._random.choice(there)
        self._step = one.step
        with contextlib.suppress(IntegrityError):  # of one that `_damage` has met
            self._manager.resume(one.id)
            self._resumed_from = one.id

    def _prune(self, _there: list[CheckpointInfo]) -> None:
        with contextlib.suppress(RetentionError):
            self._manager.prune(dry_run=False, force=True)


_ACTS: tuple[Callable[[StoredPast, list[CheckpointInfo]], CheckpointInfo | None], ...] = (
    *(StoredPast._save,) * 9, StoredPast._fail_to_save, StoredPast._fail_to_save, StoredPast._pin,
    StoredPast._name, StoredPast._verify, StoredPast._verify, StoredPast._damage, StoredPast._measure,
    StoredPast._read, StoredPast._restart, StoredPast._prune,
)  # fmt: skip


@contextlib.contextmanager
def _failing(call: str) -> Iterator[None]:
    """Let the next use of a function of the core fail, as a device does that is going."""
    real, pending = getattr(_native, call), [StorageError("I/O error", path="x", errno=5)]

    def fail(*arguments: object, **named: object) -> object:
        if pending:
            raise pending.pop()
        return real(*arguments, **named)

    with mock.patch.object(_native, call, fail):
        yield
