"""Metric values on their way into the catalog, many to a transaction."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from model_checkpoint.database.records import MetricPoint
from model_checkpoint.errors import CatalogBusyError, ConfigurationError
from model_checkpoint.utils.clock import utc_now

__all__ = ["MetricsLog", "as_metrics"]

_log = logging.getLogger("model_checkpoint")

_MAX_POINTS = 1000
_MAX_AGE_S = 10.0


def as_metrics(values: Mapping[Any, Any]) -> dict[str, float]:
    """Numbers by name, as Python's floats; tensors of one element are numbers. NaN and infinities are values, too.

    Raises:
        ConfigurationError: A name is no text, or a value no number.
    """
    metrics: dict[str, float] = {}
    for name, value in values.items():
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"the name of a metric is text, not {name!r}")
        try:
            metrics[name] = float(value)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ConfigurationError(f"metric {name} is no number: {error}") from None
    return metrics


class MetricsLog:
    """Gathers values and writes them when there are many, when they are old, and when asked to. Safe across threads.

    A process that dies loses what was not written: at most a thousand values, or ten seconds of them.

    Args:
        experiment: Whose they are.
        write: Writes points durably; `Catalog.log_metrics`.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        experiment: str,
        write: Callable[[Sequence[MetricPoint]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._experiment = experiment
        self._write = write
        self._clock = clock
        self._lock = threading.Lock()
        self._points: list[MetricPoint] = []
        self._oldest_at = 0.0

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Note the values of a step.

        Raises:
            ConfigurationError: A value is no number.
        """
        now = utc_now()
        points = [MetricPoint(self._experiment, name, step, value, now) for name, value in as_metrics(values).items()]
        with self._lock:
            if not self._points:
                self._oldest_at = self._clock()
            self._points.extend(points)
            is_due = len(self._points) >= _MAX_POINTS or self._clock() - self._oldest_at >= _MAX_AGE_S
        if is_due:
            self._flush_patiently()

    def flush(self) -> None:
        """Write what there is.

        Raises:
            CatalogError: The catalog failed; the values are kept for the next time.
        """
        with self._lock:
            if self._points:
                self._write(self._points)
                self._points = []

    def _flush_patiently(self) -> None:
        try:
            self.flush()
        except CatalogBusyError as error:
            _log.warning("metrics wait for a busy catalog: %s", error)
            with self._lock:
                self._oldest_at = self._clock()
