"""Which checkpoints may go: a pure plan, which somebody else carries out.

Whatever the policy says, a plan keeps, each with its reason: the newest (``latest``), the newest whose bytes were
verified (``newest verified``), the best by what the experiment monitors (``best``), what the user pinned (``pinned``)
or named (``@name``), what somebody reads (``in use``), and what the running training resumed from (``resumed from``).
"Newest" is by commit order alone: steps start again when a run does, and file times change when a directory is copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from model_checkpoint.analytics.objective import Objective
from model_checkpoint.checkpoint.keep import Keep
from model_checkpoint.errors import RetentionError
from model_checkpoint.types import CheckpointInfo, CheckpointState, Mode

if TYPE_CHECKING:  # numpy
    from model_checkpoint.analytics.best_model_selector import BestModelSelector

__all__ = ["RetentionDecision", "RetentionPlan", "check_plan", "plan_retention"]

_MAX_REMOVALS = 10
_MAX_SHARE = 0.2
_CLOCK_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class RetentionDecision:
    """What becomes of one checkpoint.

    Attributes:
        checkpoint: Which.
        reasons: Why it is kept, in words for people; empty if it would be removed.
    """

    checkpoint: CheckpointInfo
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What becomes of each committed checkpoint of one experiment.

    Attributes:
        decisions: In commit order.
        policy: The policy's text.
    """

    decisions: tuple[RetentionDecision, ...]
    policy: str

    @property
    def kept(self) -> tuple[CheckpointInfo, ...]:
        return tuple(decision.checkpoint for decision in self.decisions if decision.reasons)

    @property
    def removed(self) -> tuple[CheckpointInfo, ...]:
        return tuple(decision.checkpoint for decision in self.decisions if not decision.reasons)

    @property
    def freed_bytes(self) -> int:
        """Bytes of the files that would be removed."""
        return sum(checkpoint.nbytes for checkpoint in self.removed)

    def reasons(self, checkpoint_id: str) -> tuple[str, ...]:
        """Why a checkpoint is kept; empty if it would be removed, or is unknown."""
        return next((d.reasons for d in self.decisions if d.checkpoint.id == checkpoint_id), ())


def plan_retention(
    checkpoints: Iterable[CheckpointInfo],
    keep: Keep,
    *,
    monitor: str | None = None,
    mode: Mode = "min",
    selector: BestModelSelector | None = None,
    in_use: AbstractSet[str] = frozenset(),
    resumed_from: str | None = None,
) -> RetentionPlan:
    """Decide for every committed checkpoint of one experiment; others are left out.

    Args:
        checkpoints: All that the experiment has, in any order.
        keep: The policy.
        monitor: The experiment's metric.
        mode: Whether less or more of it is better.
        selector: What says, instead of the metric and its mode, which is the best; see `Objective`.
        in_use: Ids that somebody reads.
        resumed_from: Id that the running training resumed from.

    Raises:
        ConfigurationError: The policy needs a metric and there is none.
    """
    ordered = sorted((c for c in checkpoints if c.state is CheckpointState.COMMITTED), key=lambda c: c.seq)
    reasons: dict[str, list[str]] = {checkpoint.id: [] for checkpoint in ordered}
    goal = None if monitor is None else Objective(monitor, mode, selector)
    for checkpoint_id, reason in _protections(ordered, goal, in_use, resumed_from):
        reasons[checkpoint_id].append(reason)
    for checkpoint_id, parts in keep.reasons(ordered, monitor=monitor, mode=mode, selector=selector).items():
        reasons[checkpoint_id].extend(parts)
    return RetentionPlan(tuple(RetentionDecision(c, tuple(reasons[c.id])) for c in ordered), str(keep))


def check_plan(plan: RetentionPlan, *, now: datetime, force: bool = False) -> None:
    """The circuit breakers: return if the plan may be carried out.

    Args:
        plan: The plan.
        now: The time (UTC).
        force: Allow many removals at once, as a person who has seen the plan may.

    Raises:
        RetentionError: It would leave nothing, or no verified checkpoint where there is one; it removes more than ten
            checkpoints and a fifth of them at once; or the clock stands before the newest checkpoint was saved.
    """
    removed = plan.removed
    if not removed:
        return
    if not plan.kept:
        raise RetentionError("the cleanup would remove every checkpoint")
    if any(c.verified_at for c in removed) and not any(c.verified_at for c in plan.kept):
        raise RetentionError("the cleanup would remove every verified checkpoint")
    newest = max(decision.checkpoint.created_at for decision in plan.decisions)
    if now < newest - _CLOCK_TOLERANCE:
        raise RetentionError(f"the clock says {now:%F %T}, before the newest checkpoint was saved ({newest:%F %T})")
    limit = max(_MAX_REMOVALS, int(_MAX_SHARE * len(plan.decisions)))
    if len(removed) > limit and not force:
        raise RetentionError(
            f"the cleanup would remove {len(removed)} of {len(plan.decisions)} checkpoints at once, more than {limit}; "
            f"look at the plan, then force it"
        )


def _protections(
    ordered: list[CheckpointInfo], goal: Objective | None, in_use: AbstractSet[str], resumed_from: str | None
) -> Iterator[tuple[str, str]]:
    """Pairs of id and reason, whatever the policy says; ``ordered`` is in commit order."""
    if ordered:
        yield ordered[-1].id, "latest"
    verified = [checkpoint for checkpoint in ordered if checkpoint.verified_at is not None]
    if verified:
        yield verified[-1].id, "newest verified"
    winner = None if goal is None else goal.best(ordered)
    if winner is not None:
        yield winner.id, "best"
    for checkpoint in ordered:
        if checkpoint.pinned:
            yield checkpoint.id, "pinned"
        for alias in checkpoint.aliases:
            yield checkpoint.id, f"@{alias}"
        if checkpoint.id in in_use:
            yield checkpoint.id, "in use"
        if checkpoint.id == resumed_from:
            yield checkpoint.id, "resumed from"
