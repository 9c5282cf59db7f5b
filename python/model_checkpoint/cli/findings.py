"""What a check of `mckpt doctor` finds."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Finding", "Level", "fail", "ok", "warn"]


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
        text: What was found, and what to do about it.
    """

    level: Level
    check: str
    text: str


def ok(check: str, text: str) -> Finding:
    return Finding(Level.OK, check, text)


def warn(check: str, text: str) -> Finding:
    return Finding(Level.WARN, check, text)


def fail(check: str, text: str) -> Finding:
    return Finding(Level.FAIL, check, text)
