"""From the parts of a run to a committed checkpoint, with as little of it as possible before `save` returns.

    in the caller's thread      1. take the state of the parts apart: a tree, and tensors that are still the run's own
                                2. lay out the files; copy the tensors to the arena, those of devices and those of the
                                   host at the same time; from here on, training may change them
    in the save's thread        3. commit: see `storage.commit`; its last step records alias and tags, too
                                4. the handle is done
                                5. only now: the event, the cache, the cleanup

A save in the foreground does the same without the copy, from the tensors themselves.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from model_checkpoint.analytics.finding import find_best
from model_checkpoint.analytics.objective import Objective
from model_checkpoint.checkpoint.handle import SaveHandle, SaveSlot
from model_checkpoint.checkpoint.remarks import Remarks
from model_checkpoint.checkpoint.snapshot import SnapshotArena, state_of
from model_checkpoint.checkpoint.timekeeper import Timekeeper
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.events import CheckpointSaved, Event, SaveFailed, SaveStarted
from model_checkpoint.monitoring.operation import Operation
from model_checkpoint.monitoring.span import span, spanned
from model_checkpoint.storage.annotations import Annotation, with_annotation
from model_checkpoint.storage.backends import DEFAULT_BACKEND, get_backend
from model_checkpoint.storage.commit import Draft
from model_checkpoint.storage.staged_files import BackendFile, StagedFile, blob_files, component_files
from model_checkpoint.storage.state_tree import flatten
from model_checkpoint.types import CheckpointInfo, ExperimentInfo
from model_checkpoint.utils.clock import utc_now
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["SaveRequest", "Saver"]

_log = logging.getLogger("model_checkpoint")


@dataclass(frozen=True, slots=True)
class SaveRequest:
    """What is to be saved.

    Attributes:
        step: The training step.
        state: The state, as a dict of components.
        metrics: Values by name.
        metadata: Text by name, for the manifest.
        files: Further files by name: bytes, or paths to copy from.
        tags: Text by name, which can be changed later.
        alias: A name for the checkpoint, or None.
        parent: Id of the checkpoint that the run resumed from, or None.
    """

    step: int
    state: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    files: Mapping[str, bytes | str | os.PathLike[str]] = field(default_factory=lambda: MappingProxyType({}))
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    alias: str | None = None
    parent: str | None = None


class Saver:
    """Saves one at a time.

    Args:
        workspace: Where to.
        experiment: Settings of the experiment.
        arena: Memory for snapshots.
        backend: Name of the storage backend.
        verify_writes: Whether to read every byte back from the device before a checkpoint appears.
        goal: What makes a checkpoint the best, or None.
        remember: Is given each new checkpoint and a function that makes its state, before the memory is reused.
        emit: Who hears of it.
        timekeeper: Measures how long it takes.
    """

    def __init__(
        self,
        workspace: Workspace,
        experiment: ExperimentInfo,
        *,
        arena: SnapshotArena,
        backend: str,
        verify_writes: bool,
        goal: Objective | None,
        remember: Callable[[CheckpointInfo, Callable[[], Any]], None],
        emit: Callable[[Event], None],
        timekeeper: Timekeeper,
    ) -> None:
        self.slot = SaveSlot()
        self._workspace = workspace
        self._experiment = experiment
        self._arena = arena
        self._backend = backend
        self._verify_writes = verify_writes
        self._goal = goal
        self._remember = remember
        self._emit = emit
        self._timekeeper = timekeeper

    def save(self, request: SaveRequest, follow_up: Callable[[], None], *, began_at: float, block: bool) -> SaveHandle:
        """Begin a save, once the one before has ended.

        Args:
            request: What to save.
            follow_up: What to do after it went well.
            began_at: When the caller began to wait, by ``time.perf_counter``.
            block: Whether to save in the foreground.

        Raises:
            UnsupportedStateError: Something in the state cannot be stored; the error says where it is.
            ConfigurationError: A file's name makes no sense.
            RuntimeError: A device failed while tensors were copied from it: the framework's error.
        """
        self.slot.wait()  # for the arena
        operation = self._timekeeper.save(request.step, began_at=began_at)
        operation.spent("wait", time.perf_counter() - began_at)
        with operation.guard(), operation.part(), span("snapshot"):
            flat = flatten(dict(request.state))
            tensors: list[StagedFile] = [*component_files(flat)]
            background = not block and self._arena.has_room(tensors)
            if background:
                tensors = self._arena.take(tensors)
            draft = self._draft(request, flat.tree, tensors)
            nbytes = sum(file.nbytes for file in draft.files)
            self._emit(SaveStarted(draft.experiment, draft.step, nbytes, background))
        stall_s = time.perf_counter() - began_at  # who is told of the save keeps the caller waiting, too

        saved: list[CheckpointInfo] = []

        def job() -> CheckpointInfo:
            with operation.guard(), operation.part():
                saved.append(self._commit(draft, request))
            return saved[0]

        def afterwards() -> None:
            seconds = time.perf_counter() - began_at
            try:
                with operation.part():
                    self._announce(saved[0], stall_s if background else seconds, seconds, background=background)
                _conclude(operation, saved[0], stall_s if background else seconds)
                self._remember(saved[0], lambda: state_of(flat.tree, tensors))
            except Exception:  # noqa: BLE001 - the checkpoint is durable: nothing may report it as failed any more
                _log.exception("%s is saved, but was not announced", saved[0].ref)
            follow_up()

        with operation.guard():
            return self.slot.start(request.step, job, afterwards, background=background)

    def _draft(self, request: SaveRequest, tree: JsonValue, tensors: Sequence[StagedFile]) -> Draft:
        if self._backend != DEFAULT_BACKEND:
            tensors, tree = [BackendFile(get_backend(self._backend), state_of(tree, tensors))], None
        return Draft(
            experiment=self._experiment.name,
            step=request.step,
            tree=tree,
            files=[*tensors, *blob_files(request.files)],
            parent=request.parent,
            backend=self._backend,
            metrics=request.metrics,
            metadata=request.metadata,
        )

    def _commit(self, draft: Draft, request: SaveRequest) -> CheckpointInfo:
        log = _SaveLog(self._workspace, request)
        try:
            return log.described(self._workspace.store.commit(draft, log=log, strict=self._verify_writes))
        except BaseException as error:
            self._emit(SaveFailed(draft.experiment, draft.step, error))
            raise

    def _announce(self, checkpoint: CheckpointInfo, stall_s: float, seconds: float, *, background: bool) -> None:
        best, monitor = self._is_best(checkpoint), None if self._goal is None else self._goal.metric
        self._emit(CheckpointSaved(checkpoint, stall_s, seconds, background, best, monitor))

    def _is_best(self, checkpoint: CheckpointInfo) -> bool:
        if self._goal is None:
            return False
        best = find_best(self._workspace.catalog, checkpoint.experiment, self._goal)
        return best is not None and best.id == checkpoint.id


def _conclude(operation: Operation, checkpoint: CheckpointInfo, stall_s: float) -> None:
    operation.checkpoint, operation.nbytes, operation.stall_s = checkpoint.ref, checkpoint.nbytes, stall_s
    operation.finish()


class _SaveLog:
    """Numbers a commit, and records it together with what is said of it from the start (`storage.commit.CommitLog`)."""

    def __init__(self, workspace: Workspace, request: SaveRequest) -> None:
        self._catalog = workspace.catalog
        self._remarks = Remarks(workspace)
        self._aliases = {} if request.alias is None else {request.alias: utc_now()}
        self._tags = request.tags

    @spanned("catalog")
    def next_seq(self) -> int:
        return self._catalog.next_seq()

    @spanned("catalog")
    def add(self, *infos: CheckpointInfo) -> None:
        for info in infos:
            self._remarks.introduce(info, self._annotation(info))

    def described(self, info: CheckpointInfo) -> CheckpointInfo:
        """A checkpoint with its alias and tags."""
        return with_annotation(info, self._annotation(info))

    def _annotation(self, info: CheckpointInfo) -> Annotation:
        return Annotation(info.id, aliases=MappingProxyType(self._aliases), tags=MappingProxyType(dict(self._tags)))
