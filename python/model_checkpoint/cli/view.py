"""What the catalog says of an experiment, with the reason why each checkpoint is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from model_checkpoint.analytics.objective import Objective
from model_checkpoint.checkpoint.keep import Keep
from model_checkpoint.checkpoint.retention import RetentionPlan, plan_retention
from model_checkpoint.database.listing import Listing
from model_checkpoint.errors import CheckpointNotFoundError, ConfigurationError
from model_checkpoint.types import CheckpointInfo, CheckpointState, ExperimentInfo

__all__ = ["PRESENT", "ExperimentView", "read_views"]

PRESENT = (CheckpointState.COMMITTED, CheckpointState.LOST, CheckpointState.QUARANTINED)
"""What a list of checkpoints shows; what is in the trash is `restore`'s."""


@dataclass(frozen=True)
class ExperimentView:
    """One experiment.

    Attributes:
        info: Its settings.
        checkpoints: Its checkpoints, newest first.
        plan: What its policy says of them, or None where the policy cannot be carried out here.
    """

    info: ExperimentInfo
    checkpoints: tuple[CheckpointInfo, ...]
    plan: RetentionPlan | None

    @property
    def nbytes(self) -> int:
        """Bytes of the checkpoints that the store has."""
        return sum(info.nbytes for info in self.checkpoints if info.state is not CheckpointState.LOST)

    def reasons_of(self, info: CheckpointInfo) -> tuple[str, ...] | None:
        """Why a checkpoint is kept: empty if it is not, None if that cannot be told."""
        if self.plan is None or info.state is not CheckpointState.COMMITTED:
            return None
        return self._reasons[info.id]

    @cached_property
    def _reasons(self) -> Mapping[str, tuple[str, ...]]:
        return {} if self.plan is None else {d.checkpoint.id: d.reasons for d in self.plan.decisions}


def read_views(listing: Listing, experiment: str | None = None) -> list[ExperimentView]:
    """One experiment, or all of them by name.

    Raises:
        CheckpointNotFoundError: There is no experiment of that name.
    """
    known = {info.name: info for info in listing.experiments()}
    if experiment is not None and experiment not in known:
        raise CheckpointNotFoundError(
            f"there is no experiment {experiment!r}", ref=experiment, candidates=_near(experiment, known)
        )
    names = sorted(known) if experiment is None else [experiment]
    return [_view(known[name], listing.list(name, states=PRESENT)) for name in names]


def _view(info: ExperimentInfo, checkpoints: tuple[CheckpointInfo, ...]) -> ExperimentView:
    return ExperimentView(info, checkpoints, _plan(info, checkpoints))


def _plan(info: ExperimentInfo, checkpoints: tuple[CheckpointInfo, ...]) -> RetentionPlan | None:
    """None for a policy of the user's own class, whose text nobody else can read, and for one that lacks its metric."""
    try:
        keep = Keep.all() if info.keep is None else Keep.parse(info.keep)
        goal = Objective.of(info)
        if goal is None:
            return plan_retention(checkpoints, keep)
        return plan_retention(checkpoints, keep, monitor=goal.metric, mode=goal.mode, selector=goal.selector)
    except ConfigurationError:
        return None


def _near(name: str, known: Mapping[str, object]) -> list[str]:
    import difflib

    return difflib.get_close_matches(name, list(known), n=3) or sorted(known)[:3]
