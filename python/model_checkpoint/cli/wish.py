"""What `mckpt best` is asked for: by which metrics, and how they count together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self, cast

from model_checkpoint.cli.direction import better, mode_of
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.types import ExperimentInfo, Mode

if TYPE_CHECKING:
    from model_checkpoint.analytics.criteria import Criterion

__all__ = ["Term", "Wish"]

Kind = Literal["single", "lexicographic", "weighted", "pareto"]

_TERM = re.compile(r"(?P<metric>.+?)(?::(?P<mode>min|max)(?::(?P<tolerance>[^:]*))?)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Term:
    """One metric of a wish.

    Attributes:
        metric: Its name.
        mode: Which values are better, where that was said.
        weight: How much it counts beside the others, in a weighted sum.
        tolerance: Which differences do not count, where one metric is asked after the other.
    """

    metric: str
    mode: Mode | None = None
    weight: float = 1.0
    tolerance: float = 0.0

    @classmethod
    def parse(cls, text: str, *, weight: float = 1.0) -> Self:
        """Read ``METRIC[:min|max[:TOLERANCE]]``.

        Raises:
            ConfigurationError: It is empty, or the tolerance is no number.
        """
        match = _TERM.fullmatch(text.strip())
        if match is None:
            raise ConfigurationError(f"{text!r} names no metric; say METRIC, METRIC:min or METRIC:min:TOLERANCE")
        given = match["tolerance"]
        tolerance = 0.0 if given is None else _number(given, f"the tolerance of {text!r}")
        return cls(match["metric"], cast("Mode | None", match["mode"]), weight, tolerance)

    @classmethod
    def parse_weighted(cls, text: str) -> Self:
        """Read ``METRIC[:min|max]=WEIGHT``.

        Raises:
            ConfigurationError: It is something else.
        """
        term, equals, weight = text.rpartition("=")
        if not equals:
            raise ConfigurationError(f"{text!r} is no weight such as 'val_loss=0.7'")
        parsed = cls.parse(term, weight=_number(weight, f"the weight in {text!r}"))
        if parsed.tolerance:
            raise ConfigurationError(f"{text!r} has a tolerance; only --by takes one")
        return parsed

    def __str__(self) -> str:
        return f"{'most' if self.mode == 'max' else 'least'} {self.metric}"

    def mode_in(self, experiment: ExperimentInfo) -> Mode:
        """The direction: as said, else as the experiment or the name tells.

        Raises:
            ConfigurationError: Nothing tells.
        """
        return mode_of(self.metric, self.mode, [experiment])


@dataclass(frozen=True, slots=True)
class Wish:
    """How checkpoints shall be ordered.

    Attributes:
        kind: How the metrics count together.
        terms: The metrics; none for the one that an experiment monitors.
        mode: Which values of the monitored metric are better, where that was said.
        smoothing: Over how many checkpoints a median is taken first, of a single metric.
    """

    kind: Kind = "single"
    terms: tuple[Term, ...] = ()
    mode: Mode | None = None
    smoothing: int = 1

    @classmethod
    def single(cls, metric: str | None, mode: Mode | None, smoothing: int | None) -> Self:
        """By one metric, or by the monitored one."""
        terms = () if metric is None else (Term(metric, mode),)
        return cls("single", terms, mode, smoothing or 1)

    @classmethod
    def lexicographic(cls, texts: Sequence[str]) -> Self:
        """Read what ``--by`` was given.

        Raises:
            ConfigurationError: A text is no term.
        """
        return cls("lexicographic", tuple(map(Term.parse, texts)))

    @classmethod
    def weighted(cls, texts: Sequence[str]) -> Self:
        """Read what ``--weight`` was given.

        Raises:
            ConfigurationError: A text is no term with its weight.
        """
        return cls("weighted", tuple(map(Term.parse_weighted, texts)))

    @classmethod
    def pareto(cls, texts: Sequence[str]) -> Self:
        """Read what ``--pareto`` was given: lists with commas.

        Raises:
            ConfigurationError: A text is no term, there is only one, or one has a tolerance.
        """
        terms = tuple(Term.parse(part) for text in texts for part in text.split(","))
        if len(terms) < 2:
            raise ConfigurationError(f"--pareto weighs metrics against each other; {terms[0].metric!r} is only one")
        if any(term.tolerance for term in terms):
            raise ConfigurationError("--pareto takes no tolerances; only --by does")
        return cls("pareto", terms)

    def for_experiment(self, experiment: ExperimentInfo) -> Self:
        """The same with every metric and direction filled in.

        Raises:
            ConfigurationError: There is no metric to go by, or no telling which of its values is better.
        """
        terms = self.terms
        if not terms:
            if experiment.monitor is None:
                raise ConfigurationError(f"experiment {experiment.name!r} monitors no metric; name one with --metric")
            terms = (Term(experiment.monitor, self.mode),)
        return replace(self, terms=tuple(replace(term, mode=term.mode_in(experiment)) for term in terms))

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(term.metric for term in self.terms)

    @property
    def criterion(self) -> Criterion:
        """How to order by it; every direction is filled in.

        Raises:
            ConfigurationError: The metrics are not different ones, or a number makes no sense.
        """
        from model_checkpoint.analytics.criteria import Goal, Lexicographic, Pareto, Single, Weighted

        goals = tuple(Goal(term.metric, term.mode or "min", term.weight, term.tolerance) for term in self.terms)
        match self.kind:
            case "single":
                return Single(goals[0], self.smoothing)
            case "lexicographic":
                return Lexicographic(goals)
            case "weighted":
                return Weighted(goals)
            case "pareto":
                return Pareto(goals)

    def __str__(self) -> str:
        """What is best, for people: ``val_loss, less is better``."""
        match self.kind:
            case "single":
                (term,) = self.terms
                smoothed = f", median of {self.smoothing}" if self.smoothing > 1 else ""
                return f"{term.metric}{smoothed}, {better(term.mode or 'min')}"
            case "lexicographic":
                return ", then ".join(
                    str(term) + (f" within {term.tolerance:g}" if term.tolerance else "") for term in self.terms
                )
            case "weighted":
                return " + ".join(f"{term.weight:g} of {term}" for term in self.terms)
            case "pareto":
                return f"beaten by none in {' and '.join(map(str, self.terms))}"


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{what} is {text!r}, which is no number") from None
