"""What makes a checkpoint of an experiment the best: a metric, or a criterion over several."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_checkpoint.analytics.selection import rank
from model_checkpoint.errors import ConfigurationError, MetricNotFoundError
from model_checkpoint.types import CheckpointInfo, ExperimentInfo, Mode

if TYPE_CHECKING:  # numpy: what asks for a single metric does without
    from model_checkpoint.analytics.best_model_selector import BestModelSelector

__all__ = ["Objective"]


@dataclass(frozen=True, slots=True)
class Objective:
    """What an experiment is about.

    Attributes:
        metric: The metric; with a selector, the first one that it looks at.
        mode: Whether less or more of it is better.
        selector: What decides instead of these two, or None.
    """

    metric: str
    mode: Mode = "min"
    selector: BestModelSelector | None = None

    @classmethod
    def by(cls, selector: BestModelSelector) -> Objective:
        """What a selector decides; one by a single metric, and nothing else, is that metric.

        Raises:
            ConfigurationError: It looks at no metric.
        """
        from model_checkpoint.analytics.criteria import Single

        if not getattr(selector, "metrics", ()):
            raise ConfigurationError(f"{selector!r} is no selector that looks at a metric")
        criterion, goal = selector.criterion, selector.criterion.leading
        is_plain = isinstance(criterion, Single) and criterion.smoothing == 1 and not selector.where
        return cls(goal.metric, goal.mode, None if is_plain else selector)

    @classmethod
    def of(cls, experiment: ExperimentInfo) -> Objective | None:
        """What an experiment has stored; None if nothing says which of its checkpoints is the best.

        Raises:
            ConfigurationError: It is a criterion that only the program that trains knows.
        """
        if experiment.monitor is None:
            return None
        if experiment.criterion is None:
            return cls(experiment.monitor, experiment.mode or "min")
        from model_checkpoint.analytics.selector_text import parse_selector

        return cls.by(parse_selector(experiment.criterion))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that decide."""
        return (self.metric,) if self.selector is None else self.selector.metrics

    def as_selector(self) -> BestModelSelector:
        """The same as a selector, which says why."""
        from model_checkpoint.analytics.best_model_selector import BestModelSelector

        return self.selector or BestModelSelector.by(self.metric, self.mode)

    def rank(self, checkpoints: Iterable[CheckpointInfo], *, limit: int | None = None) -> list[CheckpointInfo]:
        """Those that can be the best, best first; none if none has a number for each metric that is needed."""
        if self.selector is None:
            return rank(checkpoints, self.metric, self.mode)[:limit]
        known = {checkpoint.id: checkpoint for checkpoint in checkpoints}
        try:
            return [known[found.id] for found in self.selector.rank(known.values(), limit=limit)]
        except MetricNotFoundError:
            return []

    def best(self, checkpoints: Iterable[CheckpointInfo]) -> CheckpointInfo | None:
        """The first of `rank`, or None."""
        return next(iter(self.rank(checkpoints, limit=1)), None)
