"""Carrying out what retention decides: from the plan to the trash, and back.

A checkpoint goes in the order that mirrors its coming:

    1. The catalog says that it is in the trash. From here on nobody is offered it, whatever becomes of this process.
    2. In a second transaction, its directory is renamed there and both changed directories are synced. Nobody else can
       change the catalog meanwhile: who took it back, or protected it, in between has done so before, and is heeded.
    3. Later, it is deleted for good.

Whatever a crash leaves in between, `Workspace.reconcile` puts right.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable
from datetime import timedelta

from model_checkpoint.analytics.objective import Objective
from model_checkpoint.checkpoint.facts import agrees
from model_checkpoint.checkpoint.keep import Keep
from model_checkpoint.checkpoint.retention import RetentionPlan, check_plan, plan_retention
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.errors import CheckpointInUseError, CheckpointNotFoundError, IntegrityError, StorageError
from model_checkpoint.events import CheckpointRestored, CheckpointTrashed, Event, RetentionPlanned
from model_checkpoint.types import CheckpointInfo, CheckpointState, ExperimentInfo
from model_checkpoint.utils.clock import utc_now

__all__ = ["Janitor"]

_log = logging.getLogger("model_checkpoint")
_GOING = frozenset({CheckpointState.COMMITTED, CheckpointState.TRASHED})
"""States of what may be moved to the trash: it is there, or somebody else is about to move it."""


class Janitor:
    """Plans and carries out cleanups.

    Args:
        workspace: The store and its catalog.
        emit: Who hears of it.
        trash_for: How long what is removed can be restored; zero deletes it at once.
    """

    def __init__(
        self, workspace: Workspace, emit: Callable[[Event], None], trash_for: timedelta = timedelta(0)
    ) -> None:
        self._workspace = workspace
        self._emit = emit
        self._trash_for = trash_for

    def plan(
        self,
        experiment: ExperimentInfo,
        keep: Keep,
        *,
        goal: Objective | None = None,
        resumed_from: str | None = None,
    ) -> RetentionPlan:
        """What a policy would do now. Only checkpoints that are really there count; what somebody reads is kept.

        Nothing is removed because a catalog says so: before that it is compared with the files.

        Args:
            experiment: The experiment's settings.
            keep: The policy.
            goal: What makes a checkpoint the best; None for what the settings say.
            resumed_from: Id of the checkpoint that the running training resumed from.

        Raises:
            ConfigurationError: The policy needs a metric, and the experiment has none; or what makes a checkpoint the
                best is only known to the program that trains.
        """
        goal = goal or Objective.of(experiment)
        self._workspace.reconcile(experiment.name)
        plan = self._decide(experiment.name, keep, goal, resumed_from)
        if plan.removed and self._workspace.agree(experiment.name):
            self._workspace.reconcile(experiment.name)
            plan = self._decide(experiment.name, keep, goal, resumed_from)
        return plan

    def _decide(self, experiment: str, keep: Keep, goal: Objective | None, resumed_from: str | None) -> RetentionPlan:
        checkpoints = self._workspace.catalog.list(experiment)

        def decide(in_use: frozenset[str]) -> RetentionPlan:
            return plan_retention(
                checkpoints,
                keep,
                monitor=None if goal is None else goal.metric,
                mode="min" if goal is None else goal.mode,
                selector=None if goal is None else goal.selector,
                in_use=in_use,
                resumed_from=resumed_from,
            )

        in_use = frozenset(checkpoint.id for checkpoint in decide(frozenset()).removed if self._must_stay(checkpoint))
        return decide(in_use)

    def carry_out(self, plan: RetentionPlan, experiment: str, *, force: bool = False) -> None:
        """Remove what the plan removes.

        Raises:
            RetentionError: A circuit breaker refuses; nothing was removed. See `check_plan`.
            StorageError: The file system failed; what was not removed is still there.
        """
        check_plan(plan, now=utc_now(), force=force)
        if plan.removed:
            self._emit(RetentionPlanned(experiment, plan.removed, plan.freed_bytes))
        reason = f"not kept by {plan.policy}" + (" (forced)" if force else "")
        for checkpoint in plan.removed:
            self._try_remove(checkpoint, reason)

    def restore(self, checkpoint_id: str) -> CheckpointInfo:
        """Bring a checkpoint back from the trash, with all that was said of it.

        Raises:
            CheckpointNotFoundError: It is not in the trash, or somebody has removed it again.
            CheckpointExistsError: Its place is taken.
            IntegrityError: Its manifest is damaged; it is back, and not to be trusted.
        """
        with self._workspace.catalog.write():  # nobody takes it for lost, or tells of news that this does not see
            found = self._workspace.store.restore(checkpoint_id)
            info = self._workspace.describe(found.path)
            self._replace(info, "restore")
        self._emit(CheckpointRestored(info))
        return info

    def remove(self, checkpoint: CheckpointInfo, reason: str) -> None:
        """Move a checkpoint to the trash, or delete it, if that is emptied at once.

        Raises:
            CheckpointInUseError: Somebody reads it, or has said something of it since; it is still there.
            CheckpointNotFoundError: Somebody else has removed it.
            StorageError: The file system failed.
        """
        self._doom(checkpoint, reason)
        try:
            self._move(checkpoint, reason)
        except CheckpointInUseError:
            self._spare(checkpoint)
            raise
        if not self._trash_for:
            self._workspace.purge_expired()
        self._emit(CheckpointTrashed(checkpoint, reason))

    def _try_remove(self, checkpoint: CheckpointInfo, reason: str) -> None:
        try:
            self.remove(checkpoint, reason)
        except (CheckpointInUseError, CheckpointNotFoundError) as error:
            _log.info("%s was not removed: %s", checkpoint.ref, error)  # since the plan was made; the next one sees it

    def _must_stay(self, checkpoint: CheckpointInfo) -> bool:
        """Whether somebody reads it, or it cannot be told, or not whether it is pinned."""
        store = self._workspace.store
        try:
            store.annotation(checkpoint)
            return store.is_in_use(checkpoint)
        except (IntegrityError, StorageError):
            return True

    def _doom(self, checkpoint: CheckpointInfo, reason: str) -> None:
        """Say that a checkpoint is in the trash, unless something was said of it since the plan was made."""
        catalog = self._workspace.catalog
        with catalog.write():
            now = catalog.get(checkpoint.id)
            if now.state not in _GOING or now.path != checkpoint.path:
                raise CheckpointNotFoundError(f"{checkpoint.ref} is {now.state.value} by now", ref=checkpoint.ref)
            if not agrees(dataclasses.replace(now, state=checkpoint.state), checkpoint):
                raise CheckpointInUseError(f"something was said of {checkpoint.ref} just now")
            self._set_state(checkpoint, CheckpointState.TRASHED, "trash", reason)

    def _move(self, checkpoint: CheckpointInfo, reason: str) -> None:
        """Move a doomed checkpoint to the trash, unless somebody who took its remover for dead has taken it back."""
        catalog, store = self._workspace.catalog, self._workspace.store
        with catalog.write():
            now = catalog.get(checkpoint.id)
            if now.state is not CheckpointState.TRASHED:
                raise CheckpointInUseError(f"{checkpoint.ref} was taken back just now")
            entry = store.delete(checkpoint, reasons=(reason,), keep=self._trash_for)
            path = os.path.relpath(entry.checkpoint, store.root)
            self._replace(dataclasses.replace(now, path=path))

    def _spare(self, checkpoint: CheckpointInfo) -> None:
        """Say that a doomed checkpoint is where it was, unless others have gone on with it."""
        catalog = self._workspace.catalog
        with catalog.write(), contextlib.suppress(CheckpointNotFoundError):
            now = catalog.get(checkpoint.id)
            if (now.state, now.path) == (CheckpointState.TRASHED, checkpoint.path):
                self._set_state(checkpoint, CheckpointState.COMMITTED, "untrash", "in use")

    def _set_state(self, checkpoint: CheckpointInfo, state: CheckpointState, action: str, reason: str) -> None:
        catalog = self._workspace.catalog
        with catalog.write():
            catalog.set_state(checkpoint.id, state)
            catalog.audit(action, checkpoint=checkpoint.id, details={"reason": reason})

    def _replace(self, info: CheckpointInfo, action: str | None = None) -> None:
        """Let the catalog say this of a checkpoint, and nothing of before."""
        catalog = self._workspace.catalog
        with catalog.write():
            catalog.remove(info.id)
            catalog.add(info)
            if action is not None:
                catalog.audit(action, checkpoint=info.id)
