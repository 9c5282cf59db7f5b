"""The checkpoints of one experiment that a wish chooses, in their order."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from model_checkpoint.analytics.selection import rank
from model_checkpoint.cli.view import ExperimentView
from model_checkpoint.cli.wish import Wish
from model_checkpoint.errors import CheckpointNotFoundError, MetricNotFoundError
from model_checkpoint.types import CheckpointInfo, CheckpointState

__all__ = ["Found", "Ranking", "Request", "rank_view"]


@dataclass(frozen=True, slots=True)
class Request:
    """What to look for in each experiment.

    Attributes:
        wish: How to order.
        where: Constraints as text.
        explains: Whether to say why each has its place.
        is_history: Whether to tell which one was the best when, instead of the order of now.
        count: How many to show, or None for what is usual.
    """

    wish: Wish
    where: tuple[str, ...] = ()
    explains: bool = False
    is_history: bool = False
    count: int | None = None

    @property
    def limit(self) -> int | None:
        """How many to show; None for all."""
        return self.count or (None if self.is_history or self.wish.kind == "pareto" else 1)

    @property
    def is_plain(self) -> bool:
        """Whether it is by one metric and no more: answered without numpy, whose import takes longer than the rest."""
        looks_closer = self.where or self.explains or self.is_history
        return self.wish.kind == "single" and self.wish.smoothing == 1 and not looks_closer


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint that was chosen, and why; empty if that was not asked."""

    info: CheckpointInfo
    why: str = ""


@dataclass(frozen=True, slots=True)
class Ranking:
    """What was found in one experiment.

    Attributes:
        view: The experiment.
        wish: How they are ordered, with every metric and direction filled in.
        request: What was asked for.
        metrics: What was looked at.
        found: The checkpoints, best first; of a history, oldest first.
        candidates: From among how many.
    """

    view: ExperimentView
    wish: Wish
    request: Request
    metrics: tuple[str, ...]
    found: tuple[Found, ...]
    candidates: int

    @property
    def title(self) -> str:
        """``digits · val_loss, less is better · with latency_ms < 50``."""
        where = f" · with {' and '.join(self.request.where)}" if self.request.where else ""
        since = " · which was the best when" if self.request.is_history else ""
        return f"{self.view.info.name} · {self.wish}{where}{since}"


def rank_view(view: ExperimentView, request: Request) -> Ranking:
    """Order the checkpoints of an experiment.

    Raises:
        CheckpointNotFoundError: None can be chosen; the message says what excluded how many.
        ConfigurationError: The wish makes no sense for the experiment, or a constraint is none.
        MetricNotFoundError: No checkpoint has a value for one of the metrics.
    """
    committed = [info for info in view.checkpoints if info.state is CheckpointState.COMMITTED]
    if not committed:
        raise CheckpointNotFoundError(f"experiment {view.info.name!r} has no checkpoint to choose from", ref="best")
    _check_known(request.wish.metrics, committed)
    wish = request.wish.for_experiment(view.info)
    if request.is_plain:
        (term,) = wish.terms
        _check_known(wish.metrics, committed)
        ranked = rank(committed, term.metric, term.mode or "min")[: request.limit]
        return Ranking(view, wish, request, wish.metrics, tuple(map(Found, ranked)), len(committed))
    return _select(view, wish, request, committed)


def _select(view: ExperimentView, wish: Wish, request: Request, committed: Sequence[CheckpointInfo]) -> Ranking:
    from model_checkpoint.analytics.best_model_selector import BestModelSelector

    selector = BestModelSelector(wish.criterion, where=request.where)
    _check_known(selector.metrics, committed)
    if request.is_history:
        selections = selector.history(committed)[-(request.limit or 0) :]
    else:
        selections = selector.rank(committed, limit=request.limit)
    if not selections:
        selector.best(committed)  # which says why there is none
    by_id = {info.id: info for info in committed}
    found = tuple(Found(by_id[one.id], one.why if request.explains else "") for one in selections)
    return Ranking(view, wish, request, selector.metrics, found, len(committed))


def _check_known(metrics: Sequence[str], checkpoints: Sequence[CheckpointInfo]) -> None:
    """Return if some checkpoint has a value for each of the metrics.

    Raises:
        MetricNotFoundError: None has; it names those that there are, the nearest first.
    """
    known = {name for info in checkpoints for name, value in info.metrics.items() if not math.isnan(value)}
    for metric in metrics:
        if metric not in known:
            near = difflib.get_close_matches(metric, sorted(known), n=3)
            raise MetricNotFoundError(metric, list(dict.fromkeys([*near, *sorted(known)])))
