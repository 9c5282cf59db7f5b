"""Byte counts as people read and write them, in powers of 1000."""

from __future__ import annotations

import re

from model_checkpoint.errors import ConfigurationError

__all__ = ["format_size", "parse_size"]

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_FACTORS = {unit.lower(): 1000**power for power, unit in enumerate(_UNITS)} | {
    f"{unit[0].lower()}ib": 1024**power for power, unit in enumerate(_UNITS) if power
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", re.ASCII)


def format_size(nbytes: float) -> str:
    """``1_400_000_000`` becomes ``"1.4 GB"``; below 1000 bytes there is no fraction."""
    value = float(nbytes)
    if abs(value) < 1000:
        return f"{value:.0f} B"
    for unit in _UNITS[1:]:
        value /= 1000
        if abs(value) < 999.5 or unit == _UNITS[-1]:
            break
    return f"{value:.0f} {unit}" if abs(value) >= 99.95 else f"{value:.1f} {unit}"


def parse_size(text: str | int) -> int:
    """``"1.5 GB"``, ``"512MiB"`` or a count of bytes, as bytes.

    Raises:
        ConfigurationError: The text is not a size.
    """
    if isinstance(text, int):
        return text
    match = _SIZE.fullmatch(text)
    factor = _FACTORS.get(match[2].lower() or "b") if match else None
    if match is None or factor is None:
        raise ConfigurationError(f"{text!r} is not a size; write 1500000, '1.5 MB' or '512 MiB'")
    return int(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor
