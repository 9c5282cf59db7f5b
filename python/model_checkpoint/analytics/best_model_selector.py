"""Which checkpoint is the best, by criteria of any kind, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Self

import numpy as np

from model_checkpoint.analytics.candidates import Candidates, Indices
from model_checkpoint.analytics.constraint import Constraint
from model_checkpoint.analytics.criteria import Chosen, Criterion, Goal, Lexicographic, Pareto, Single, Weighted
from model_checkpoint.errors import CheckpointNotFoundError, ConfigurationError
from model_checkpoint.types import CheckpointInfo, Mode

__all__ = ["BestModelSelector", "Selection"]


@dataclass(frozen=True, slots=True)
class Selection:
    """A checkpoint that was chosen.

    Attributes:
        id: Its id.
        step: Its training step.
        seq: Its place in the commit order.
        place: 1 for the best.
        values: What was looked at, by metric.
        why: Why it has this place.
    """

    id: str
    step: int
    seq: int
    place: int
    values: Mapping[str, float]
    why: str


class BestModelSelector:
    """Orders checkpoints by a criterion, among those that satisfy constraints.

    It keeps nothing: whoever asks again, after values were attached or the run went on, gets the answer of the moment.

    Args:
        criterion: How to order them: see `model_checkpoint.analytics.criteria`.
        where: Constraints, as ``"latency_ms < 50"`` or as values.

    Raises:
        ConfigurationError: The criterion or a constraint is none.

    Example:
        >>> selector = BestModelSelector.by("val_loss", where=["latency_ms < 50"])
        >>> selector.best(ckpts.list()).why
        'val_loss 0.231 is the least of 12; the next is 0.24'
    """

    def __init__(self, criterion: Criterion, *, where: Sequence[str | Constraint] = ()) -> None:
        if not isinstance(criterion, Criterion):
            raise ConfigurationError(f"{criterion!r:.40} is no criterion such as Single(Goal('val_loss'))")
        if isinstance(where, str) or not all(isinstance(one, str | Constraint) for one in where):
            raise ConfigurationError(f"where is a list of constraints such as ['latency_ms < 50'], not {where!r:.40}")
        self.criterion = criterion
        self.where = tuple(Constraint.parse(one) if isinstance(one, str) else one for one in where)

    @classmethod
    def by(cls, metric: str, mode: Mode = "min", *, smoothing: int = 1, where: Sequence[str | Constraint] = ()) -> Self:
        """By one metric; see `Single`."""
        return cls(Single(Goal(metric, mode), smoothing), where=where)

    @classmethod
    def weighted(
        cls,
        *goals: Goal,
        scale: Literal["range", "rank", "deviation"] = "range",
        where: Sequence[str | Constraint] = (),
    ) -> Self:
        """By a weighted sum; see `Weighted`."""
        return cls(Weighted(goals, scale), where=where)

    @classmethod
    def lexicographic(cls, *goals: Goal, where: Sequence[str | Constraint] = ()) -> Self:
        """By one metric after the other; see `Lexicographic`."""
        return cls(Lexicographic(goals), where=where)

    @classmethod
    def pareto(cls, *goals: Goal, where: Sequence[str | Constraint] = ()) -> Self:
        """Those that no other beats; see `Pareto`."""
        return cls(Pareto(goals), where=where)

    def __str__(self) -> str:
        """What `model_checkpoint.analytics.selector_text.parse_selector` reads, unless the criterion is your own."""
        where = [f"where={[str(one) for one in self.where]!r}"] if self.where else []
        return self.criterion.text(*where)

    def __repr__(self) -> str:
        return f"<BestModelSelector {self}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BestModelSelector):
            return NotImplemented
        return (self.criterion, self.where) == (other.criterion, other.where)

    def __hash__(self) -> int:
        return hash((self.criterion, self.where))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that it looks at."""
        return tuple(dict.fromkeys((*self.criterion.metrics, *(one.metric for one in self.where))))

    def rank(
        self, checkpoints: Iterable[CheckpointInfo] | Candidates, *, limit: int | None = None
    ) -> tuple[Selection, ...]:
        """Those that can be chosen, best first; with `Pareto`, the front. Empty if there is none.

        Raises:
            MetricNotFoundError: No checkpoint has a value for one of the metrics.
        """
        candidates = self._columns(checkpoints)
        candidates.check_known(self.metrics)
        return self._selections(candidates, self.order(candidates), limit)

    def best(self, checkpoints: Iterable[CheckpointInfo] | Candidates) -> Selection:
        """The best one.

        Raises:
            MetricNotFoundError: No checkpoint has a value for one of the metrics.
            CheckpointNotFoundError: None can be chosen; the message says what excluded how many.
        """
        candidates = self._columns(checkpoints)
        found = self.rank(candidates, limit=1)
        if not found:
            raise CheckpointNotFoundError(self._nobody(candidates), ref="best")
        return found[0]

    def history(self, checkpoints: Iterable[CheckpointInfo] | Candidates) -> tuple[Selection, ...]:
        """Which checkpoint was the best after each commit, where that changed; oldest first.

        With values as they are now: those that were attached later count from the start.
        """
        candidates = self._columns(checkpoints)
        return tuple(self._leaders(candidates))

    def _leaders(self, candidates: Candidates) -> Iterator[Selection]:
        leader = None
        for count in range(1, len(candidates) + 1):
            first = candidates.until(count)
            order = self.order(first)
            if len(order) and order[0] != leader:
                leader = order[0]
                yield from self._selections(first, order, limit=1)

    def _columns(self, checkpoints: Iterable[CheckpointInfo] | Candidates) -> Candidates:
        return checkpoints if isinstance(checkpoints, Candidates) else Candidates.of(checkpoints, self.metrics)

    def allowed(self, candidates: Candidates) -> Chosen:
        """For each candidate, whether it satisfies the constraints."""
        allowed = np.ones(len(candidates), dtype=bool)
        for constraint in self.where:
            allowed &= constraint.holds(candidates)
        return allowed

    def order(self, candidates: Candidates) -> Indices:
        """The places of those that can be chosen, best first."""
        return self.criterion.order(candidates, self.allowed(candidates))

    def _selections(self, candidates: Candidates, order: Indices, limit: int | None) -> tuple[Selection, ...]:
        seqs = candidates.seqs[order[:limit]].tolist()
        known = candidates.identify(seqs)
        if len(known) < len(seqs):  # some were removed since their values were read
            is_gone = np.isin(candidates.seqs[order], [seq for seq in seqs if seq not in known])
            return self._selections(candidates, order[~is_gone], limit)
        why = self.criterion.reasons(candidates, order)
        suffix = f" (with {' and '.join(map(str, self.where))})" if self.where else ""
        return tuple(
            Selection(
                id=known[seq][0],
                step=known[seq][1],
                seq=seq,
                place=place + 1,
                values=MappingProxyType({name: float(candidates.values[name][index]) for name in self.metrics}),
                why=why(place) + suffix,
            )
            for place, (seq, index) in enumerate(zip(seqs, order[:limit].tolist(), strict=True))
        )

    def _nobody(self, candidates: Candidates) -> str:
        if not len(candidates):
            return "there is no checkpoint to choose from"
        held = [(constraint, int(constraint.holds(candidates).sum())) for constraint in self.where]
        parts = [f"{count} of {len(candidates)} have {constraint}" for constraint, count in held]
        return f"no checkpoint has what was asked for: {', '.join(parts) or 'a number for ' + ', '.join(self.metrics)}"
