"""How long a manager's operations take: measured by a monitor, told to its listeners, noted in its store."""

from __future__ import annotations

import os
from collections.abc import Callable

from model_checkpoint.events import Event
from model_checkpoint.monitoring.monitor import PerformanceMonitor
from model_checkpoint.monitoring.operation import Operation
from model_checkpoint.monitoring.timing_log import TimingLog
from model_checkpoint.types import CheckpointInfo

__all__ = ["Timekeeper"]


class Timekeeper:
    """Begins operations of one manager.

    Args:
        monitor: Measures them.
        root: The store; its timing log is written where the monitor wants it.
        experiment: Whose manager it is.
        emit: Who hears of thresholds.
    """

    def __init__(
        self, monitor: PerformanceMonitor, root: str | os.PathLike[str], experiment: str, emit: Callable[[Event], None]
    ) -> None:
        self._monitor = monitor
        self._note = TimingLog(root).append if monitor.log else None
        self._experiment = experiment
        self._emit = emit

    def save(self, step: int, *, began_at: float) -> Operation:
        """Begin to measure a save.

        Args:
            step: What is saved.
            began_at: When its caller began to wait, by ``time.perf_counter``.
        """
        return self._monitor.operation(
            "save",
            experiment=self._experiment,
            step=step,
            began_at=began_at,
            listener=self._note,
            emit=self._emit,
        )

    def use(self, kind: str, checkpoint: CheckpointInfo) -> Operation:
        """Begin to measure a load or a verification."""
        return self._monitor.operation(
            kind,
            experiment=checkpoint.experiment,
            checkpoint=checkpoint.ref,
            step=checkpoint.step,
            nbytes=checkpoint.nbytes,
            listener=self._note,
            emit=self._emit,
        )

    def query(self) -> Operation:
        """Begin to measure a question; these are not noted in the store."""
        return self._monitor.operation("query", experiment=self._experiment, emit=self._emit)
