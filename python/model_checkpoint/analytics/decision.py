"""What every decision gives: an answer, and why."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Decision"]


@dataclass(frozen=True, slots=True)
class Decision:
    """Attributes:
    answer: Yes or no.
    reasons: Why, for people.
    """

    answer: bool
    reasons: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.answer
