"""The checkpoints of one experiment that a wish chooses, in their order."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_checkpoint.analytics.selection import rank
from model_checkpoint.cli.view import ExperimentView
from model_checkpoint.cli.wish import Wish
from model_checkpoint.errors import CheckpointNotFoundError, MetricNotFoundError
from model_checkpoint.types import CheckpointInfo, CheckpointState, Mode

if TYPE_CHECKING:
    from model_checkpoint.analytics.best_model_selector import BestModelSelector

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
        request: What was asked for.
        words: By what they are ordered, for people.
        goals: The metrics that order them, and which of their values are better.
        metrics: What was looked at, that of the constraints included.
        is_front: Whether they are those that no other beats, instead of all in an order.
        found: The checkpoints, best first; of a history, oldest first.
        candidates: From among how many.
    """

    view: ExperimentView
    request: Request
    words: str
    goals: tuple[tuple[str, Mode], ...]
    metrics: tuple[str, ...]
    is_front: bool
    found: tuple[Found, ...]
    candidates: int

    @property
    def title(self) -> str:
        """``digits · val_loss, less is better · with latency_ms < 50``."""
        where = f" · with {' and '.join(self.request.where)}" if self.request.where else ""
        since = " · which was the best when" if self.request.is_history else ""
        return f"{self.view.info.name} · {self.words}{where}{since}"


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
    if view.info.criterion is not None and request.wish == Wish():
        return _by_criterion(view, request, committed)
    _check_known(request.wish.metrics, committed)
    wish = request.wish.for_experiment(view.info)
    goals = tuple((term.metric, term.mode_in(view.info)) for term in wish.terms)
    if request.is_plain:
        _check_known(wish.metrics, committed)
        found = tuple(map(Found, rank(committed, *goals[0])[: request.limit]))
        return Ranking(view, request, str(wish), goals, wish.metrics, False, found, len(committed))
    from model_checkpoint.analytics.best_model_selector import BestModelSelector

    selector = BestModelSelector(wish.criterion, where=request.where)
    return _select(view, request, selector, str(wish), goals, committed)


def _by_criterion(view: ExperimentView, request: Request, committed: Sequence[CheckpointInfo]) -> Ranking:
    """By what the experiment itself goes by, where that is more than a metric."""
    from model_checkpoint.analytics.best_model_selector import BestModelSelector
    from model_checkpoint.analytics.selector_text import parse_selector

    own = parse_selector(view.info.criterion or "")
    narrowed = BestModelSelector(own.criterion, where=(*own.where, *request.where))
    leading = own.criterion.leading
    return _select(view, request, narrowed, str(own), ((leading.metric, leading.mode),), committed)


def _select(
    view: ExperimentView, request: Request, selector: BestModelSelector, words: str,
    goals: tuple[tuple[str, Mode], ...], committed: Sequence[CheckpointInfo],
) -> Ranking:  # fmt: skip
    from model_checkpoint.analytics.criteria import Pareto

    _check_known(selector.metrics, committed)
    if request.is_history:
        selections = selector.history(committed)[-(request.limit or 0) :]
    else:
        selections = selector.rank(committed, limit=request.limit)
    if not selections:
        selector.best(committed)  # which says why there is none
    by_id = {info.id: info for info in committed}
    found = tuple(Found(by_id[one.id], one.why if request.explains else "") for one in selections)
    is_front = isinstance(selector.criterion, Pareto) and not request.is_history
    return Ranking(view, request, words, goals, selector.metrics, is_front, found, len(committed))


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
