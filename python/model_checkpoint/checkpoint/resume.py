"""Putting a run back to where a checkpoint was saved, and saying what that could not do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_checkpoint.checkpoint.parts import Differences, compare_part, restore_part
from model_checkpoint.checkpoint.rng import restore_rng
from model_checkpoint.errors import StateMismatchError
from model_checkpoint.types import CheckpointInfo

__all__ = ["RNG", "ResumeReport", "restore_run"]

RNG = "rng"
"""The component that holds the random state; no part may have its name."""


@dataclass(frozen=True, slots=True)
class ResumeReport:
    """What `resume` found and did.

    Attributes:
        checkpoint: What the run resumed from; None if there was nothing, and nothing was changed.
        restored: The parts that hold the checkpoint's state again; ``rng`` is the random state.
        missing: What the run tracks and the checkpoint lacks, by paths such as ``model.head.weight``.
        unexpected: What the checkpoint has and the run does not track.
        changed: What both have in different forms, and how they differ.
    """

    checkpoint: CheckpointInfo | None = None
    restored: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    @property
    def step(self) -> int | None:
        """The step that the checkpoint was saved at, or None."""
        return None if self.checkpoint is None else self.checkpoint.step

    @property
    def next_step(self) -> int:
        """The step at which training goes on; 0 if there was nothing to resume."""
        return 0 if self.checkpoint is None else self.checkpoint.step + 1

    @property
    def is_complete(self) -> bool:
        """Whether run and checkpoint fit together in all parts."""
        return not (self.missing or self.unexpected or self.changed)

    @property
    def problems(self) -> tuple[str, ...]:
        """All that does not fit, in words."""
        return (
            *(f"{path}: not in the checkpoint" for path in self.missing),
            *(f"{path}: not in this run" for path in self.unexpected),
            *self.changed,
        )

    def __str__(self) -> str:
        if self.checkpoint is None:
            return "nothing to resume: starting at step 0"
        names = ", ".join("random state" if name == RNG else name for name in self.restored)
        lines = [f"resumed at step {self.next_step}: {names or 'nothing'}", *self.problems]
        return "\n  ".join(lines)


def restore_run(
    parts: Mapping[str, Any], state: Mapping[str, Any], checkpoint: CheckpointInfo, *, strict: bool
) -> ResumeReport:
    """Put a checkpoint's state into the parts of a run, and the random state into the process.

    Args:
        parts: What the run tracks, by name.
        state: What the checkpoint holds.
        checkpoint: Which.
        strict: Whether everything must fit.

    Raises:
        StateMismatchError: With ``strict``: something does not fit. Nothing was changed, unless a part refused its
            state only when it got it; the message then names the parts that were restored.
    """
    found = _compare(parts, state)
    if strict and found:
        raise _mismatch(found, checkpoint, "nothing was changed")
    restored = [name for name, part in parts.items() if name in state and restore_part(name, part, state[name], found)]
    if RNG in state:  # last: what the parts' own code drew meanwhile does not count
        problems = restore_rng(state[RNG])
        found.changed.extend(f"{RNG}.{problem}" for problem in problems)
        restored.append(RNG)
    if strict and found:
        raise _mismatch(found, checkpoint, f"restored before that was found: {', '.join(restored) or 'nothing'}")
    return ResumeReport(
        checkpoint, tuple(restored), tuple(found.missing), tuple(found.unexpected), tuple(found.changed)
    )


def _compare(parts: Mapping[str, Any], state: Mapping[str, Any]) -> Differences:
    found = Differences()
    found.missing.extend(name for name in (*parts, RNG) if name not in state)
    found.unexpected.extend(name for name in state if name not in parts and name != RNG)
    for name, part in parts.items():
        if name in state:
            compare_part(name, part, state[name], found)
    return found


def _mismatch(found: Differences, checkpoint: CheckpointInfo, outcome: str) -> StateMismatchError:
    report = ResumeReport(checkpoint, (), tuple(found.missing), tuple(found.unexpected), tuple(found.changed))
    return StateMismatchError(
        f"{checkpoint.ref} does not fit this run ({outcome}): {'; '.join(report.problems)}",
        missing=found.missing,
        unexpected=found.unexpected,
        mismatched=found.changed,
    )
