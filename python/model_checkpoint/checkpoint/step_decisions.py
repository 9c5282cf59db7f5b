"""What a manager has decided about a step."""

from __future__ import annotations

from dataclasses import dataclass

from model_checkpoint.analytics.decision import Decision
from model_checkpoint.checkpoint.handle import SaveHandle

__all__ = ["StepDecisions"]


@dataclass(frozen=True, slots=True)
class StepDecisions:
    """Attributes:
    save: Whether the step was to be saved, and why.
    stop: Whether training has come to its end, and why.
    handle: The save, if there is one.
    """

    save: Decision
    stop: Decision
    handle: SaveHandle | None = None
