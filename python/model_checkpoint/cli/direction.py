"""Which values of a metric are better, for commands that rank by one."""

from __future__ import annotations

from collections.abc import Iterable

from model_checkpoint.database.metric_mode import usual_mode
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.types import ExperimentInfo, Mode

__all__ = ["better", "mode_of"]


def mode_of(metric: str, given: Mode | None, experiments: Iterable[ExperimentInfo]) -> Mode:
    """What the user said, else what an experiment that monitors the metric has, else what its name tells.

    Raises:
        ConfigurationError: None of them tells.
    """
    known = next((info.mode for info in experiments if info.monitor == metric and info.mode), None)
    mode = given or known or usual_mode(metric)
    if mode is None:
        raise ConfigurationError(f"whether less or more of {metric!r} is better is not known; say --mode min or max")
    return mode


def better(mode: Mode) -> str:
    """In words."""
    return f"{'less' if mode == 'min' else 'more'} is better"
