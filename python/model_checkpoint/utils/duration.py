"""Spans of time as people read and write them."""

from __future__ import annotations

import re

from model_checkpoint.errors import ConfigurationError

__all__ = ["format_duration", "parse_duration"]

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_SPAN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", re.ASCII)


def format_duration(seconds: float) -> str:
    """``0.018`` becomes ``"18 ms"``, ``75`` ``"1 min 15 s"``, ``7200`` ``"2 h"``; the two largest units that count."""
    if 0 < abs(seconds) < 0.00005:
        return f"{seconds * 1e6:.0f} µs"
    if abs(seconds) < 0.9995:
        return f"{seconds * 1000:.0f} ms" if abs(seconds) >= 0.00995 else f"{seconds * 1000:.1f} ms"
    if abs(seconds) < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next(index for index, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def parse_duration(text: str | float) -> float:
    """``"90s"``, ``"10 min"``, ``"6h"``, ``"7d"`` or a number of seconds, as seconds.

    Raises:
        ConfigurationError: The text is not a span of time.
    """
    if isinstance(text, int | float):
        return float(text)
    match = _SPAN.fullmatch(text)
    if match is None or match[2] not in _SECONDS:
        raise ConfigurationError(f"{text!r} is not a duration; write '90s', '10min', '6h' or '7d'")
    return float(match[1]) * _SECONDS[match[2]]
