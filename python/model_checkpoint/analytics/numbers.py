"""What may be the value of a metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_checkpoint.errors import ConfigurationError

__all__ = ["as_metrics"]


def as_metrics(values: Mapping[Any, Any]) -> dict[str, float]:
    """Numbers by name, as Python's floats; tensors of one element are numbers. NaN and infinities are values, too.

    Raises:
        ConfigurationError: A name is no text, or a value no number.
    """
    metrics: dict[str, float] = {}
    for name, value in values.items():
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"the name of a metric is text, not {name!r}")
        try:
            metrics[name] = float(value)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ConfigurationError(f"metric {name} is no number: {error}") from None
    return metrics
