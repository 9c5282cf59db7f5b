"""Whether to go on training: a pure function of what was evaluated so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from model_checkpoint.analytics.best_model_selector import BestModelSelector
from model_checkpoint.analytics.candidates import Candidates
from model_checkpoint.analytics.criteria import Single
from model_checkpoint.analytics.decision import Decision
from model_checkpoint.errors import ConfigurationError, MetricNotFoundError

__all__ = ["EarlyStopping", "Evaluation"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Attributes:
    step: The training step.
    metrics: What was measured, by name.
    """

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """Stops when the best has not changed for too long, or all that was wanted is reached.

    An evaluation is an improvement if the selector chooses it among all so far. One that lacks a metric, or has NaN, is
    none.

    Attributes:
        selector: Which evaluation is the best.
        patience: After how many evaluations in a row without an improvement to stop.
        min_delta: By how much an improvement must be better than the best before it; for one metric only.
        warmup: Evaluations of steps below this do not count against patience, baseline or anything.
        baseline: Stop when the first evaluation after the warm-up, and the ``patience`` after it, are no better than
            this; for one metric only.
        threshold: Stop as soon as the metric is at least this good, smoothed and within the constraints if the selector
            says so; for one metric only.

    Raises:
        ConfigurationError: A value makes no sense, or needs a selector by one metric.

    Example:
        >>> rule = EarlyStopping(BestModelSelector.by("val_loss"), patience=3, min_delta=0.001)
        >>> rule.decide([Evaluation(100, {"val_loss": 0.5}), Evaluation(200, {"val_loss": 0.4})]).answer
        False
    """

    selector: BestModelSelector
    patience: int = 10
    min_delta: float = 0.0
    warmup: int = 0
    baseline: float | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.selector, BestModelSelector):
            raise ConfigurationError(f"{self.selector!r:.40} is no selector such as BestModelSelector.by('val_loss')")
        counts = type(self.patience) is int and self.patience >= 1 and type(self.warmup) is int and self.warmup >= 0
        if not counts or not 0 <= self.min_delta < math.inf:
            raise ConfigurationError(f"patience {self.patience}, warmup {self.warmup}, min_delta {self.min_delta:g}")
        if any(bound is not None and math.isnan(bound) for bound in (self.baseline, self.threshold)):
            raise ConfigurationError("baseline and threshold are numbers, not NaN")
        needs_one = self.min_delta or self.baseline is not None or self.threshold is not None
        if needs_one and not isinstance(self.selector.criterion, Single):
            raise ConfigurationError("min_delta, baseline and threshold need a selector by one metric")

    def decide(self, evaluations: Sequence[Evaluation]) -> Decision:
        """Whether to stop after these evaluations, given in the order in which they were made.

        Raises:
            MetricNotFoundError: None of them has one of the selector's metrics.
        """
        counted = [one for one in evaluations if one.step >= self.warmup]
        if not counted:
            return Decision(False, (f"still warming up: no evaluation at or after step {self.warmup}",))
        columns = self._columns(counted)
        reached = self._reached(columns)
        if reached is not None:
            return Decision(True, (reached,))
        improved_at = self._last_improvement(columns)
        if improved_at is None:
            return Decision(len(counted) >= self.patience, (self._none_of(len(counted)),))
        waited = len(counted) - 1 - improved_at
        best = self._best(counted[improved_at])
        return Decision(waited >= self.patience, (f"{best}, {waited} of {self.patience} evaluations ago",))

    def _none_of(self, count: int) -> str:
        lacks = "can be the best" if self.baseline is None else f"is better than the baseline {self.baseline:g}"
        return f"none of {count} evaluations {lacks}; the patience is {self.patience}"

    def _reached(self, candidates: Candidates) -> str | None:
        criterion = self.selector.criterion
        if self.threshold is None or not isinstance(criterion, Single):
            return None
        loss = self._losses(criterion, candidates)[-1]
        if math.isnan(loss) or loss > self._sign * self.threshold:
            return None
        return f"{criterion.name} {self._sign * loss:.6g} has reached {self.threshold:g}"

    def _last_improvement(self, candidates: Candidates) -> int | None:
        """The place of the last evaluation that was better than all before it."""
        criterion = self.selector.criterion
        if not isinstance(criterion, Single):
            return self._last_chosen(candidates)
        best = math.inf if self.baseline is None else self._sign * self.baseline
        found = None
        for place, loss in enumerate(self._losses(criterion, candidates)):
            if loss < best - self.min_delta or (found is None and self.baseline is None and not math.isnan(loss)):
                best, found = loss, place
        return found

    def _last_chosen(self, candidates: Candidates) -> int | None:
        """The same by a criterion that compares all of them.

        Only as many as ``patience`` are looked at; if none of them was better, the best of all is long enough ago.
        """
        count = len(candidates)
        recent = range(max(count - self.patience, 0), count)
        found = (place for place in reversed(recent) if self._first_of_equals(candidates.until(place + 1)) == place)
        place = next(found, None)
        if place is not None or not recent.start:
            return place
        return self._first_of_equals(candidates.until(recent.start))

    def _first_of_equals(self, candidates: Candidates) -> int | None:
        """The place of the best one; of equals the earliest, because the later ones are no improvement."""
        order = self.selector.order(candidates.backwards())
        return len(candidates) - 1 - int(order[0]) if len(order) else None

    def _losses(self, single: Single, candidates: Candidates) -> list[float]:
        """Less is better; NaN where the constraints do not hold."""
        losses = single.losses(candidates)
        chosen: list[float] = np.where(self.selector.allowed(candidates), losses, math.nan).tolist()
        return chosen

    def _columns(self, evaluations: Sequence[Evaluation]) -> Candidates:
        names = self.selector.metrics
        measured = {name for one in evaluations for name in one.metrics}
        for name in names:
            if name not in measured:
                raise MetricNotFoundError(name, sorted(measured))
        rows = [(str(n), e.step, n, *(e.metrics.get(name) for name in names)) for n, e in enumerate(evaluations)]
        return Candidates.of_rows(rows, names)

    def _best(self, one: Evaluation) -> str:
        values = ", ".join(f"{name} {one.metrics[name]:.6g}" for name in self.selector.metrics if name in one.metrics)
        return f"the best is {values} at step {one.step}"

    @property
    def _sign(self) -> int:
        criterion = self.selector.criterion
        return -1 if isinstance(criterion, Single) and criterion.goal.mode == "max" else 1
