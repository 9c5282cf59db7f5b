"""What a checkpoint must satisfy to be chosen at all: ``latency_ms < 50``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from model_checkpoint.analytics.candidates import Candidates
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.utils.short_number import short_number

__all__ = ["Constraint"]

_OPERATORS: dict[str, Callable[[Any, float], Any]] = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_FORM = re.compile(r"\s*(?P<metric>[^<>=!]+?)\s*(?P<operator><=|>=|==|!=|<|>)\s*(?P<bound>\S+)\s*")


@dataclass(frozen=True, slots=True)
class Constraint:
    """A bound of a metric. A checkpoint without a number for it does not satisfy it.

    Attributes:
        metric: Name of the metric.
        operator: ``<``, ``<=``, ``>``, ``>=``, ``==`` or ``!=``.
        bound: What it is compared with.

    Raises:
        ConfigurationError: The operator is none of these, or the bound is NaN.
    """

    metric: str
    operator: str
    bound: float

    def __post_init__(self) -> None:
        if self.operator not in _OPERATORS or not self.metric or math.isnan(self.bound):
            raise ConfigurationError(f"{self.metric!r} {self.operator} {self.bound}: not a constraint such as 'a < 1'")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``"latency_ms < 50"``.

        Raises:
            ConfigurationError: It is no constraint.
        """
        match = _FORM.fullmatch(text)
        try:
            if match is None:
                raise ValueError("no comparison")
            return cls(match["metric"], match["operator"], float(match["bound"]))
        except ValueError as error:
            raise ConfigurationError(f"{text!r} is no constraint such as 'latency_ms < 50': {error}") from None

    def __str__(self) -> str:
        return f"{self.metric} {self.operator} {short_number(self.bound)}"

    def allows(self, metrics: Mapping[str, float]) -> bool:
        """Whether values by name satisfy it."""
        value = metrics.get(self.metric, math.nan)
        return not math.isnan(value) and bool(_OPERATORS[self.operator](value, self.bound))

    def holds(self, candidates: Candidates) -> NDArray[np.bool_]:
        """For each candidate, whether it satisfies the constraint."""
        values = candidates.column(self.metric)
        with np.errstate(invalid="ignore"):
            held: NDArray[np.bool_] = _OPERATORS[self.operator](values, self.bound) & ~np.isnan(values)
        return held
