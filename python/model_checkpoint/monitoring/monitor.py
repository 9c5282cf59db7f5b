"""The performance monitor: it measures operations and keeps the sums."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from types import MappingProxyType
from typing import Protocol

from model_checkpoint import _native
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.events import PerformanceThresholdExceeded
from model_checkpoint.monitoring.histogram import Histogram, Percentiles
from model_checkpoint.monitoring.memory import resident_bytes
from model_checkpoint.monitoring.operation import Operation
from model_checkpoint.monitoring.report import GaugeReading, OperationFigures, PerformanceReport
from model_checkpoint.monitoring.span import PastSpan
from model_checkpoint.monitoring.stages import STAGES
from model_checkpoint.monitoring.thresholds import Past, PercentileAbove, Threshold
from model_checkpoint.monitoring.timing import OperationTiming
from model_checkpoint.utils.clock import utc_now

__all__ = ["Exporter", "PerformanceMonitor"]

_IN_FLIGHT = "operations_in_flight"
_log = logging.getLogger("model_checkpoint")


class Exporter(Protocol):
    """Who takes measurements elsewhere as they are made."""

    @property
    def traces(self) -> bool:
        """Whether it wants spans one by one."""

    def export(self, timing: OperationTiming, trace: Sequence[PastSpan], began_at: float) -> None:
        """Take an operation that has ended, with its spans if asked for; ``began_at`` is its begin on their clock."""


class PerformanceMonitor:
    """Measures where the time of saves, loads and verifications goes. Give it to a manager, or use `operation`.

    It may be used from any number of threads, and by several managers. Its memory is bounded: sums, and 40 kB for each
    histogram.

    Args:
        percentiles: Whether to count how long operations and spans took, for percentiles.
        thresholds: Of what to tell, as events of the manager.
        exporters: Who takes each operation elsewhere; what one raises is logged.
        log: Whether a manager notes operations in its store, for ``mckpt perf``.

    Raises:
        MissingDependencyError: With ``percentiles``: the extra ``monitoring`` is not installed.
        ConfigurationError: A threshold is for a percentile, and ``percentiles`` is off.
    """

    def __init__(
        self,
        *,
        percentiles: bool = True,
        thresholds: Sequence[Threshold] = (),
        exporters: Sequence[Exporter] = (),
        log: bool = True,
    ) -> None:
        if not percentiles and any(isinstance(threshold, PercentileAbove) for threshold in thresholds):
            raise ConfigurationError("a threshold is for a percentile: the monitor needs percentiles=True")
        if percentiles:
            Histogram()  # raises now, and not in a save, where the library is missing
        self.log = log
        self.traces = any(exporter.traces for exporter in exporters)
        self.fold = self._fold if percentiles else None
        self._thresholds = tuple(thresholds)
        self._exporters = tuple(exporters)
        self._began_at = perf_counter()
        self._lock = threading.RLock()  # gauges, thresholds and signal handlers may ask for a report
        self._sums: dict[str, _Sums] = {}
        self._spans: dict[str, Histogram] = {}
        self._exceeded: set[int] = set()
        self._gauges: dict[str, list[Callable[[], float]]] = {
            _IN_FLIGHT: [lambda: self._in_flight],
            "rss_bytes": [resident_bytes],
            "staging_budget_bytes": [_native.get_staging_bytes],
        }
        self._in_flight = 0
        _monitors.add(self)
        self._peaks: dict[str, float] = {}

    def operation(
        self,
        kind: str,
        *,
        experiment: str | None = None,
        checkpoint: str | None = None,
        step: int | None = None,
        nbytes: int = 0,
        began_at: float | None = None,
        listener: Callable[[OperationTiming], None] | None = None,
        emit: Callable[[PerformanceThresholdExceeded], None] | None = None,
    ) -> Operation:
        """Begin to measure an operation: ``with monitor.operation("load"): state = mc.load("gpt2")``.

        Args:
            kind: What it is; operations of a kind are added up.
            experiment: Whose checkpoint it is about, or None.
            checkpoint: The ref of that, or None.
            step: The step of that, or None.
            nbytes: Its size in bytes; may be set later, as an attribute of the operation.
            began_at: When it began, by ``time.perf_counter``; None for now.
            listener: Is given the operation when it has ended well.
            emit: Is told of thresholds that it exceeds.
        """
        with self._lock:
            self._in_flight += 1
            self._peaks[_IN_FLIGHT] = max(self._in_flight, self._peaks.get(_IN_FLIGHT, 0))
        return Operation(
            _Recording(self, listener, emit),
            kind,
            experiment=experiment,
            checkpoint=checkpoint,
            step=step,
            nbytes=nbytes,
            began_at=began_at,
        )

    def gauge(self, name: str, read: Callable[[], float]) -> Callable[[], None]:
        """Watch something that goes up and down; several of one name are added up.

        Args:
            name: Its name, which ends in its unit, as ``"arena_bytes"``.
            read: Its value now, from any thread.

        Returns:
            What ends the watch.
        """
        with self._lock:
            self._gauges.setdefault(name, []).append(read)

        def forget() -> None:
            with self._lock:
                if read in self._gauges[name]:
                    self._gauges[name].remove(read)

        return forget

    def report(self) -> PerformanceReport:
        """What was measured so far."""
        with self._lock:
            values = self._read_gauges()
            return PerformanceReport(
                at=utc_now(),
                elapsed_s=perf_counter() - self._began_at,
                operations=tuple(sums.figures(kind) for kind, sums in self._sums.items()),
                stages=MappingProxyType(
                    {stage: self._spans[stage].percentiles() for stage in STAGES if stage in self._spans}
                ),
                gauges=tuple(GaugeReading(name, value, self._peaks[name]) for name, value in values.items()),
            )

    def after_fork(self) -> None:
        """Make it usable in a forked child."""
        self._lock = threading.RLock()
        self._in_flight = 0

    # --- what operations tell -----------------------------------------------------------------------------------------

    def ended(
        self,
        timing: OperationTiming,
        trace: Sequence[PastSpan],
        began_at: float,
        emit: Callable[[PerformanceThresholdExceeded], None] | None,
    ) -> None:
        """Add an operation that went well."""
        with self._lock:
            self._in_flight -= 1
            sums = self._sums_of(timing.kind)
            past = sums.add(timing)
            self._read_gauges()
            exceeded = list(self._exceeded_by(timing, past))
        for exporter in self._exporters:
            try:
                exporter.export(timing, trace, began_at)
            except Exception:  # noqa: BLE001 - of foreign code: no save depends on who hears of it
                _log.exception("an exporter failed on a %s", timing.kind)
        for event in exceeded:
            if emit is not None:
                emit(event)

    def failed(self, kind: str) -> None:
        """Count an operation that failed."""
        with self._lock:
            self._in_flight -= 1
            self._sums_of(kind).failures += 1

    def dropped(self) -> None:
        """Forget an operation in which there was nothing to measure."""
        with self._lock:
            self._in_flight -= 1

    def _fold(self, durations: Mapping[str, list[float]]) -> None:
        with self._lock:
            for stage, seconds in durations.items():
                self._spans.setdefault(stage, Histogram()).add(seconds)

    def _sums_of(self, kind: str) -> _Sums:
        if kind not in self._sums:
            self._sums[kind] = _Sums(None if self.fold is None else Histogram())
        return self._sums[kind]

    def _exceeded_by(self, timing: OperationTiming, past: Past) -> Iterator[PerformanceThresholdExceeded]:
        """What there is to tell of the thresholds."""
        for place, threshold in enumerate(self._thresholds):
            try:
                if threshold.kind == timing.kind:
                    yield from self._check(place, threshold, timing, past)
            except Exception:  # noqa: BLE001 - of foreign code: no save depends on what it thinks of it
                _log.exception("a threshold failed on a %s", timing.kind)

    def _check(
        self, place: int, threshold: Threshold, timing: OperationTiming, past: Past
    ) -> Iterator[PerformanceThresholdExceeded]:
        measured, was_exceeded = threshold.exceeded_by(timing, past), place in self._exceeded
        if measured is None:
            self._exceeded.discard(place)
            return
        self._exceeded.add(place)
        if was_exceeded and threshold.is_lasting:
            return
        yield PerformanceThresholdExceeded(
            kind=timing.kind,
            experiment=timing.experiment,
            step=timing.step,
            threshold=str(threshold),
            measured=measured,
            limit=threshold.limit,
            unit=threshold.unit,
        )

    def _read_gauges(self) -> dict[str, float]:
        """The values of the gauges that can be read; their peaks follow."""
        values: dict[str, float] = {}
        for name, reads in self._gauges.items():
            try:
                if reads:
                    values[name] = float(sum(read() for read in reads))
            except Exception:  # noqa: BLE001 - of foreign code, as above
                _log.exception("the gauge %s failed", name)
        for name, value in values.items():
            self._peaks[name] = max(value, self._peaks.get(name, value))
        return values


_monitors: weakref.WeakSet[PerformanceMonitor] = weakref.WeakSet()


def _begin_anew() -> None:
    """In a forked child: another thread of the parent may have held a lock. Its operations go on in the parent."""
    for monitor in _monitors:
        monitor.after_fork()


os.register_at_fork(after_in_child=_begin_anew)


@dataclass(slots=True)
class _Sums:
    """What operations of one kind add up to."""

    histogram: Histogram | None
    count: int = 0
    failures: int = 0
    nbytes: int = 0
    seconds: float = 0.0
    stall_s: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    last: OperationTiming | None = None

    def add(self, timing: OperationTiming) -> Past:
        previous, self.last = self.last, timing
        self.count += 1
        self.nbytes += timing.nbytes
        self.seconds += timing.seconds
        self.stall_s += timing.stall_s or 0.0
        for stage, seconds in timing.stages.items():
            self.stages[stage] = self.stages.get(stage, 0.0) + seconds
        if self.histogram is not None:
            self.histogram.add([timing.seconds])
        return Past(previous, self.count, None if self.histogram is None else self.histogram.percentile)

    def figures(self, kind: str) -> OperationFigures:
        return OperationFigures(
            kind=kind,
            count=self.count,
            failures=self.failures,
            nbytes=self.nbytes,
            seconds=self.seconds,
            stall_s=self.stall_s,
            stages=MappingProxyType({stage: self.stages[stage] for stage in STAGES if stage in self.stages}),
            latency=self._latency(),
            last=self.last,
        )

    def _latency(self) -> Percentiles | None:
        return self.histogram.percentiles() if self.histogram is not None and self.histogram.count else None


class _Recording:
    """The monitor, for one operation."""

    def __init__(
        self,
        monitor: PerformanceMonitor,
        listener: Callable[[OperationTiming], None] | None,
        emit: Callable[[PerformanceThresholdExceeded], None] | None,
    ) -> None:
        self.fold = monitor.fold
        self.traces = monitor.traces
        self.failed = monitor.failed
        self.dropped = monitor.dropped
        self._monitor = monitor
        self._listener = listener
        self._emit = emit

    def ended(self, timing: OperationTiming, trace: Sequence[PastSpan], began_at: float) -> None:
        if self._listener is not None:
            self._listener(timing)
        self._monitor.ended(timing, trace, began_at, self._emit)
