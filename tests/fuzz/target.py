"""What is fuzzed: how inputs are made, and what must hold for every one of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_checkpoint.errors import CheckpointError, IntegrityError

__all__ = ["REGRESSIONS", "Target", "Violation", "refusal"]

REGRESSIONS = Path(__file__).with_name("regressions")
"""Inputs that once broke a promise, by target; the test of each says which."""


class Violation(AssertionError):  # noqa: N818 - not an error: the finding itself
    """A promise that does not hold for some input."""


@dataclass(frozen=True, slots=True)
class Target:
    """One entry point.

    Attributes:
        name: Its name on the command line, in the table and in ``regressions/``.
        promise: What is shown, for people.
        seeds: Makes valid inputs.
        read: Takes an input apart, for `mutate`.
        mutate: A new input from one that was taken apart, and from another that gives parts.
        run: Tries an input. Returns what came of it; inputs with a new outcome are kept and mutated further. Raises
            `CheckpointError` where that is right, and anything else, `Violation` included, where a promise is broken.
        weight: Its share of a campaign's executions.
    """

    name: str
    promise: str
    seeds: Callable[[random.Random], Sequence[bytes]]
    read: Callable[[bytes], Any]
    mutate: Callable[[random.Random, Any, Any], bytes]
    run: Callable[[bytes], str]
    weight: float = 1.0

    def regressions(self) -> list[bytes]:
        """The inputs that once broke a promise: what lies beside them is worth trying again."""
        return [path.read_bytes() for path in sorted((REGRESSIONS / self.name).glob("*"))]

    def outcome(self, data: bytes) -> str:
        """`run`, with refusals as outcomes; whatever else is raised is a finding."""
        try:
            return "accepted: " + self.run(data)
        except CheckpointError as error:
            return refusal(error)


def refusal(error: CheckpointError) -> str:
    """A refusal in words, without what differs from input to input.

    Raises:
        Violation: It names no rule, or cannot be printed.
    """
    text = str(error)
    if isinstance(error, IntegrityError) and error.rule is None:
        raise Violation(f"a refusal that names no rule: {text}") from error
    if not text.isprintable() or len(text) > 2000:
        raise Violation(
            f"a message of {len(text)} characters that cannot be printed as it is: {ascii(text)[:200]}"
        ) from error
    kind = type(error).__name__
    return f"refused: {kind} {getattr(error, 'rule', '')}: {''.join(filter(str.isalpha, text))[:40]}"
