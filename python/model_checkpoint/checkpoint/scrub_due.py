"""What a scrub has to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from model_checkpoint.analytics.finding import find
from model_checkpoint.analytics.objective import Objective
from model_checkpoint.checkpoint.scrub_journal import read_journal
from model_checkpoint.checkpoint.scrub_order import ScrubDecision, plan_scrub
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database.metric_table import MetricTable
from model_checkpoint.database.records import SegmentInfo
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.storage.scan import is_checkpoint_path
from model_checkpoint.types import CheckpointInfo, CheckpointState
from model_checkpoint.utils.clock import utc_now

__all__ = ["Due", "due", "positive"]

_STATES = (CheckpointState.COMMITTED, CheckpointState.QUARANTINED)


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be read.

    Attributes:
        checkpoints: Those that the catalog knows, in their order.
        strays: Directories, relative to the root, whose manifest is gone or damaged and that the catalog does not know.
        named: Whether somebody has asked for these ones.
        segments: Files of metrics.
        decisions: Why each of the checkpoints, and of those that are left out, in the same order.
    """

    checkpoints: tuple[CheckpointInfo, ...]
    strays: tuple[str, ...] = ()
    named: bool = False
    segments: tuple[SegmentInfo, ...] = ()
    decisions: tuple[ScrubDecision, ...] = ()

    @property
    def nbytes(self) -> int:
        """How many bytes there are to read."""
        checkpoints = sum(checkpoint.nbytes for checkpoint in self.checkpoints)
        return checkpoints + sum(segment.nbytes for segment in self.segments)

    def __len__(self) -> int:
        """How many checkpoints there are to read."""
        return len(self.checkpoints) + len(self.strays)


def due(
    workspace: Workspace,
    refs: Sequence[str | int] = (),
    *,
    experiment: str | None = None,
    goal: Objective | None = None,
    older_than_s: float | None = None,
) -> Due:
    """What a scrub has to read.

    Args:
        workspace: The store and its catalog.
        refs: Which checkpoints; without any, all of them.
        experiment: Of which experiment; None for all.
        goal: What makes a checkpoint of it the best, if that is known.
        older_than_s: Leave out what was verified since so many seconds.

    Raises:
        CheckpointNotFoundError: There is no such checkpoint.
        ConfigurationError: ``older_than_s`` is not positive.
    """
    older_than = None if older_than_s is None else timedelta(seconds=positive("older_than_s", older_than_s))
    for name in [info.name for info in workspace.catalog.experiments()] if experiment is None else [experiment]:
        workspace.reconcile(name)
    if refs:
        named = [find(workspace.catalog, ref, experiment, goal=goal, states=_STATES) for ref in refs]
        checkpoints = tuple({info.id: info for info in named}.values())
    else:
        checkpoints = workspace.catalog.list(experiment, states=_STATES)
    journal = read_journal(workspace.store.root)
    decisions = plan_scrub(
        checkpoints,
        now=utc_now(),
        older_than=older_than,
        damaged=journal.damaged,
        under_way=None if journal.position is None else journal.position.id,
    )
    ordered = tuple(decision.checkpoint for decision in decisions if decision.due)
    if refs:
        return Due(ordered, named=True, decisions=decisions)
    segments = MetricTable(workspace.catalog).segments(experiment)
    return Due(ordered, _strays(workspace, experiment), segments=segments, decisions=decisions)


def _strays(workspace: Workspace, experiment: str | None) -> tuple[str, ...]:
    known = {info.path for info in workspace.catalog.list(states=tuple(CheckpointState))}
    return tuple(
        item.path
        for item in workspace.store.scan().quarantined
        if is_checkpoint_path(item.path)
        and item.path not in known
        and experiment in (None, item.path.partition("/")[0])
    )


def positive(name: str, value: float) -> float:
    """Return a limit.

    Raises:
        ConfigurationError: It is not a positive number.
    """
    if not 0 < value < float("inf"):
        raise ConfigurationError(f"{name} is {value!r}; it must be a positive number")
    return value
