"""Putting a run back to where a checkpoint was saved, and saying what that could not do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_checkpoint.checkpoint.loading import Loader
from model_checkpoint.checkpoint.parts import ProcessRandom
from model_checkpoint.errors import StateMismatchError
from model_checkpoint.storage.restore import LoadReport
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
        return "\n  ".join([f"resumed at step {self.next_step}: {names or 'nothing'}", *self.problems])


def restore_run(loader: Loader, checkpoint: CheckpointInfo, parts: Mapping[str, Any], *, strict: bool) -> ResumeReport:
    """Put a checkpoint's state into the parts of a run, and the random state into the process.

    Args:
        loader: Reads it.
        checkpoint: Which.
        parts: What the run tracks, by name.
        strict: Whether everything that is tracked must be restored.

    Raises:
        StateMismatchError: With ``strict``: something is not. Nothing was changed, unless the message says otherwise.
        StateError: A part refused its state; those before it have changed.
        IntegrityError: Something is damaged; nothing was changed.
    """
    rng = ProcessRandom()
    # The random state comes last: what the parts' own code draws while it is restored does not count.
    loaded = loader.load_into(checkpoint, {**parts, RNG: rng}, strict=strict)
    problems = tuple(f"{RNG}.{problem}" for problem in rng.problems)
    if strict and problems:
        raise StateMismatchError(f"all but the random state was restored: {'; '.join(problems)}", mismatched=problems)
    return ResumeReport(
        checkpoint,
        tuple(name for name in (*parts, RNG) if _is_restored(name, loaded)),
        loaded.missing,
        (*loaded.unexpected, *loaded.skipped),
        (*loaded.mismatched, *problems),
    )


def _is_restored(name: str, loaded: LoadReport) -> bool:
    """Whether a part was restored, if perhaps not all of it."""
    return name not in loaded.missing and not any(fault.startswith(f"{name}: ") for fault in loaded.mismatched)
