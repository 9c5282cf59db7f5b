"""Metrics on their way from the training loop to the catalog."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from model_checkpoint.analytics.aggregate import Aggregate, RunningAggregate
from model_checkpoint.analytics.numbers import as_metrics, has_utf8
from model_checkpoint.database.metric_batch import Point
from model_checkpoint.database.metric_table import NO_TAGS, SeriesKey, tags_text
from model_checkpoint.errors import (
    CatalogBusyError,
    CheckpointError,
    ConfigurationError,
    MetricNotFoundError,
    MissingDependencyError,
)
from model_checkpoint.storage.names import check_step

__all__ = ["COMPACT_EVERY", "MetricsCollector", "pause"]

_log = logging.getLogger("model_checkpoint")

COMPACT_EVERY = 200_000
"""Points that the catalog has are compacted when there are so many: readers go over all of them each time."""

_MAX_CALLS = 200_000
"""So many calls of `log` are kept in memory at most; the next one waits until they are written."""

_Call = tuple[int, int, float | None, str, str, dict[str, float]]
"""Step, nanoseconds since 1970, epoch, split, tags, values."""


class MetricsCollector:
    """Takes the metrics of one experiment, and writes them many at a time, behind the caller.

    `log` costs the training loop about a microsecond. A thread writes what was logged every ``flush_interval_s``:
    a process that is killed loses no more than that (and as much as a write takes longer than the one before it), and
    what was written is whole. Safe to use from several threads; several collectors, also in other processes, may log to
    one experiment. A forked child starts with nothing to write.

    Every value is kept as it was logged, NaN and infinities too. Steps may repeat and go back, as they do when a run is
    resumed: of the values that one series has for a step, readers take the one that was logged last.

    What goes wrong behind the caller is raised by the next call, and by `close`; nothing that was logged is given up
    for it. While the catalog is busy, values wait.

    Args:
        experiment: Whose metrics they are.
        write: Writes the points of an experiment by series, durably: `MetricTable.append`.
        flush_interval_s: How often to write, in seconds.
        compact: What to call, behind the caller, when it begins and whenever another 200,000 points were written.

    Example:
        >>> collector.log(500, loss=0.31, accuracy=0.88, epoch=2, split="train")
        >>> collector.aggregate("loss", split="train").ema
    """

    def __init__(
        self,
        experiment: str,
        write: Callable[[str, Mapping[SeriesKey, Sequence[Point]]], None],
        *,
        flush_interval_s: float = 1.0,
        compact: Callable[[], object] | None = None,
    ) -> None:
        if not 0 < flush_interval_s < float("inf"):
            raise ConfigurationError(f"flush_interval_s is {flush_interval_s!r}; it must be a number above 0")
        self._experiment = experiment
        self._write = write
        self._interval_s = flush_interval_s
        self._compact = compact
        self._begin()
        _collectors.add(self)

    def _begin(self) -> None:
        self._calls: deque[_Call] = deque()  # appending to it and popping from it take no lock
        self._pending: dict[SeriesKey, list[Point]] = {}
        self._aggregates: dict[SeriesKey, RunningAggregate] = {}
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._until_compaction = 0
        self._is_closed = False

    # --- the training loop --------------------------------------------------------------------------------------------

    def log(
        self,
        step: int,
        values: Mapping[str, Any] | None = None,
        /,
        *,
        epoch: float | None = None,
        split: str = "",
        tags: Mapping[str, str] | None = None,
        **named: Any,
    ) -> None:
        """Take note of the values of a step.

        Args:
            step: The step, at least 0.
            values: Numbers by name, for names that are no keywords; tensors of one element are numbers.
            epoch: The epoch, if it is to be noted.
            split: Of which part of the data the values are, as ``"train"``.
            tags: Further marks. Values with other marks are other series.
            named: Numbers by name.

        Raises:
            ConfigurationError: Something is not what it must be; nothing was noted.
            CatalogError: Writing earlier values failed. They are kept, and so are these.
        """
        if values is not None:
            named = {**_plain(values), **named}
        for name, value in named.items():
            if type(value) is not float or not name.isascii():
                named = as_metrics(named)
                break
        marks = NO_TAGS
        if type(step) is not int or not 0 <= step < 2**63 or epoch is not None or split != "" or tags is not None:
            epoch, marks = _checked(step, epoch, split, tags)
        self._calls.append((step, time.time_ns(), epoch, split, marks, named))
        if self._thread is None or self._failure is not None or len(self._calls) >= _MAX_CALLS:
            self._attend()

    def flush(self) -> None:
        """Write what was logged.

        Raises:
            CatalogError: The catalog failed; the values are kept for the next time.
        """
        with self._lock:
            if self._pending:  # what failed before goes first, so that no more than a batch of it is kept as points
                self._write_pending()
            self._drain()
            self._write_pending()
            self._failure = None

    def close(self) -> None:
        """Write what was logged, and stop the thread.

        Raises:
            CatalogError: The catalog failed; what could not be written is lost if it is not closed again.
        """
        self._is_closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # --- figures ------------------------------------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """How many calls of `log` wait to be written."""
        return len(self._calls)

    def aggregate(self, name: str, *, split: str = "", tags: Mapping[str, str] | None = None) -> Aggregate:
        """Figures of a series of this collector, up to the last call of `log`.

        Raises:
            MetricNotFoundError: Nothing was logged to it; the message says what there is.
        """
        with self._lock:
            self._drain()
            found = self._aggregates.get(SeriesKey(name, split, tags_text(tags)))
            if found is None:
                raise MetricNotFoundError(name, sorted({key.name for key in self._aggregates}))
            return found.now()

    # --- behind the caller --------------------------------------------------------------------------------------------

    def _attend(self) -> None:
        """What `log` rarely has to do: start the thread, wait for it, or tell of its failure."""
        if self._is_closed:
            self._calls.pop()
            raise ConfigurationError("the collector is closed")
        with self._lock:
            failure, self._failure = self._failure, None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mckpt-metrics", daemon=True)
                self._thread.start()
        if failure is not None:
            raise failure
        if len(self._calls) >= _MAX_CALLS:
            self.flush()

    def _run(self) -> None:
        pause_s, write_s = self._interval_s, 0.0
        while not self._wake.wait(pause_s):
            began = time.perf_counter()
            try:
                self.flush()
                write_s = time.perf_counter() - began
                self._compact_if_due()
            except CatalogBusyError as error:
                _log.warning("metrics wait for a busy catalog: %s", error)
            except Exception as error:  # noqa: BLE001 - it is raised in the thread that can do something about it
                self._failure = error
            pause_s = pause(self._interval_s, elapsed_s=time.perf_counter() - began, write_s=write_s)

    def _compact_if_due(self) -> None:
        if self._compact is not None and self._until_compaction <= 0:
            self._until_compaction = COMPACT_EVERY
            try:
                self._compact()
            except MissingDependencyError as error:
                _log.info("metrics stay in the catalog: %s", error)
                self._compact = None

    def _write_pending(self) -> None:
        if self._pending:
            self._write(self._experiment, self._pending)
            self._until_compaction -= sum(map(len, self._pending.values()))
            self._pending = {}

    def _drain(self) -> None:
        """Turn the calls so far into points. With the lock held."""
        drained: dict[tuple[str, str, str], list[Point]] = defaultdict(list)
        for _ in range(len(self._calls)):
            step, nanoseconds, epoch, split, tags, values = self._calls.popleft()
            microseconds = nanoseconds // 1000
            for name, value in values.items():
                drained[name, split, tags].append((step, value, microseconds, epoch))
        for names, points in drained.items():
            self._pending.setdefault(SeriesKey(*names), []).extend(points)
        for names, points in drained.items():
            self._aggregates.setdefault(SeriesKey(*names), RunningAggregate()).add(points)


def pause(interval_s: float, *, elapsed_s: float, write_s: float) -> float:
    """How long to wait, in seconds, for the next write to end an interval after the last one began.

    At least a quarter of the interval: who trains wants to go on, too.

    Args:
        interval_s: The interval.
        elapsed_s: How long ago the last write began.
        write_s: How long it took, and the next one may take.
    """
    return max(interval_s - elapsed_s - write_s, interval_s / 4)


def _plain(values: Mapping[Any, Any]) -> Mapping[str, Any]:
    """The values, with names that are names.

    Raises:
        ConfigurationError: There are others.
    """
    if type(values) is not dict and not isinstance(values, Mapping):  # the first is the quicker question
        raise ConfigurationError(f"values are numbers by name, not {values!a:.40}")
    for name in values:
        if type(name) is not str or not name:
            return as_metrics(values)
    return values


def _checked(step: object, epoch: object, split: object, tags: Mapping[str, str] | None) -> tuple[float | None, str]:
    """The epoch as a number, and the tags as text."""
    check_step(step)
    if not isinstance(split, str) or not has_utf8(split):
        raise ConfigurationError(f"a split is text, not {split!a:.40}")
    return None if epoch is None else as_metrics({"epoch": epoch})["epoch"], tags_text(tags)


_collectors: weakref.WeakSet[MetricsCollector] = weakref.WeakSet()


def _begin_anew() -> None:
    """A forked child has no thread of its parent's, and must not write its parent's values a second time."""
    for collector in _collectors:
        collector._begin()  # noqa: SLF001 - this module's own


def _write_the_rest() -> None:
    """At the end of a program that did not close its collectors."""
    for collector in list(_collectors):
        try:
            collector.close()
        except CheckpointError as error:
            _log.error("metrics were lost: %s", error)


os.register_at_fork(after_in_child=_begin_anew)
atexit.register(_write_the_rest)
