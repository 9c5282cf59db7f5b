"""How often to save: pure functions of what a save costs and how often a run fails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

from model_checkpoint.analytics.decision import Decision
from model_checkpoint.types import CheckpointInfo

__all__ = ["daly_interval", "mean_time_between_failures", "within_budget"]


def daly_interval(save_cost: timedelta, between_failures: timedelta) -> timedelta:
    """How long to compute between two saves so that saving and losing work together cost least.

    Source: Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", 2006, equation 37;
    its first term is Young's, "A first order approximation to the optimum checkpoint interval", 1974.

    Args:
        save_cost: How long training waits for one save.
        between_failures: The mean time between two failures.
    """
    cost, between = save_cost.total_seconds(), between_failures.total_seconds()
    if cost >= 2 * between:
        return between_failures
    ratio = cost / (2 * between)
    seconds = math.sqrt(2 * cost * between) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - cost
    return timedelta(seconds=max(seconds, 0.0))


def within_budget(share: float, *, elapsed: timedelta, waited: timedelta, next_wait: timedelta) -> Decision:
    """Whether another save keeps the time that training waits for saves within a share of its time.

    Args:
        share: The share, as 0.02.
        elapsed: How long the run has gone on, waits included.
        waited: How long it has waited for saves.
        next_wait: How long it is going to wait for the next one.
    """
    total = elapsed + next_wait
    spent = (waited + next_wait) / total if total else 0.0
    fits = spent <= share
    return Decision(fits, (f"a save now would make waiting {spent:.2%} of the time; the budget is {share:.2%}",))


def mean_time_between_failures(checkpoints: Sequence[CheckpointInfo]) -> timedelta | None:
    """The mean time between two resumes of an experiment, as far as its checkpoints tell; None without a resume.

    Counts the time from the first to the last checkpoint of each stretch between resumes. A stop that was meant is
    counted as a failure: nothing tells them apart.
    """
    ordered = sorted(checkpoints, key=lambda checkpoint: checkpoint.seq)
    stretches: dict[str | None, list[CheckpointInfo]] = {}
    for checkpoint in ordered:
        stretches.setdefault(checkpoint.parent, []).append(checkpoint)
    failures = len(stretches) - (None in stretches)
    if failures < 1:
        return None
    running = sum((s[-1].created_at - s[0].created_at for s in stretches.values()), timedelta())
    return running / failures
