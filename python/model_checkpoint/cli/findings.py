"""What a check of `mckpt doctor` finds."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Finding", "Level", "fail", "ok", "warn"]

_NAMED = 3
"""How many items a line names."""


class Level(enum.Enum):
    """How bad it is."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        level: How bad it is.
        check: What was looked at, one or two words.
        text: What was found, and what to do about it; it names the first few of the items.
        items: All that it is about: checkpoints, files.
    """

    level: Level
    check: str
    text: str
    items: tuple[str, ...] = ()


def ok(check: str, text: str) -> Finding:
    return Finding(Level.OK, check, text)


def warn(check: str, text: str, items: Sequence[str] = ()) -> Finding:
    return Finding(Level.WARN, check, _naming(items, text), tuple(items))


def fail(check: str, text: str, items: Sequence[str] = ()) -> Finding:
    return Finding(Level.FAIL, check, _naming(items, text), tuple(items))


def _naming(items: Sequence[str], text: str) -> str:
    """The text, after the first few of the items that it is about."""
    if not items:
        return text
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return f"{', '.join(items[:_NAMED])}{more}: {text}"
