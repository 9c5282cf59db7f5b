"""What may be the value of a metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_checkpoint.errors import ConfigurationError

__all__ = ["as_metrics", "has_utf8"]


def as_metrics(values: Mapping[Any, Any]) -> dict[str, float]:
    """Numbers by name, as Python's floats; tensors of one element are numbers. NaN and infinities are values, too.

    Raises:
        ConfigurationError: A name is no text, or a value no number.
    """
    metrics: dict[str, float] = {}
    for name, value in values.items():
        if not isinstance(name, str) or not name or not has_utf8(name):
            raise ConfigurationError(f"the name of a metric is text, not {name!a:.80}")
        try:
            metrics[name] = float(value)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ConfigurationError(f"metric {name} is no number: {error}") from None
    return metrics


def has_utf8(text: str) -> bool:
    """Whether a text can be stored: one with a lone surrogate cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
