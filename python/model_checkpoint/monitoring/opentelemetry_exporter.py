"""Operations as spans and metrics of OpenTelemetry, through its API: where they go, its SDK is told.

The clock of the spans is `time.perf_counter`; they are placed by when the operation began, by the system's clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

from model_checkpoint.monitoring.span import PastSpan
from model_checkpoint.monitoring.timing import OperationTiming
from model_checkpoint.utils.clock import to_microseconds
from model_checkpoint.utils.optional_import import require

__all__ = ["OpenTelemetryExporter"]

_SCOPE = "model_checkpoint"


class OpenTelemetryExporter:
    """Makes a span of each operation, with those of its stages inside, and metrics of all.

    Args:
        tracer_provider: Where spans go; None for the global one.
        meter_provider: Where metrics go; None for the global one.

    Raises:
        MissingDependencyError: The extra ``monitoring`` is not installed.
    """

    traces: Final = True

    def __init__(self, *, tracer_provider: Any = None, meter_provider: Any = None) -> None:
        self._trace: Any = require("opentelemetry.trace", extra="monitoring")
        metrics: Any = require("opentelemetry.metrics", extra="monitoring")
        self._tracer = self._trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
        self._durations = meter.create_histogram("mckpt.operation.duration", "s", "How long operations took.")
        self._stages = meter.create_counter("mckpt.stage.time", "s", "Wall time of operations by stage.")
        self._bytes = meter.create_counter("mckpt.operation.size", "By", "What operations were about.")
        self._stalls = meter.create_counter("mckpt.stall.time", "s", "How long training waited.")

    def export(self, timing: OperationTiming, trace: Sequence[PastSpan], began_at: float) -> None:
        """Take an operation that has ended."""
        self._export_metrics(timing)
        begin_ns = to_microseconds(timing.at) * 1000
        span = self._tracer.start_span(f"mckpt.{timing.kind}", start_time=begin_ns, attributes=_attributes(timing))
        self._export_spans(span, trace, begin_ns - round(began_at * 1e9))
        span.end(end_time=to_microseconds(timing.at + timedelta(seconds=timing.seconds)) * 1000)

    def _export_metrics(self, timing: OperationTiming) -> None:
        labels = {"kind": timing.kind} | ({} if timing.experiment is None else {"experiment": timing.experiment})
        self._durations.record(timing.seconds, labels)
        self._bytes.add(timing.nbytes, labels)
        self._stalls.add(timing.stall_s or 0.0, labels)
        for stage, seconds in timing.stages.items():
            self._stages.add(seconds, {**labels, "stage": stage})

    def _export_spans(self, operation: Any, trace: Sequence[PastSpan], offset_ns: int) -> None:
        """Spans by begin; each lies inside of the last one before it that has not ended yet."""
        open_spans = [(float("inf"), self._trace.set_span_in_context(operation))]
        for past in sorted(trace, key=lambda past: (past.begin, -past.end)):
            while past.end > open_spans[-1][0]:
                open_spans.pop()
            start_ns, end_ns = (round(moment * 1e9) + offset_ns for moment in (past.begin, past.end))
            span = self._tracer.start_span(f"mckpt.{past.stage}", context=open_spans[-1][1], start_time=start_ns)
            span.end(end_time=end_ns)
            open_spans.append((past.end, self._trace.set_span_in_context(span)))


def _attributes(timing: OperationTiming) -> dict[str, str | int | float]:
    return dict(_known_attributes(timing))


def _known_attributes(timing: OperationTiming) -> Iterator[tuple[str, str | int | float]]:
    yield "mckpt.bytes", timing.nbytes
    optional = (("experiment", timing.experiment), ("checkpoint", timing.checkpoint), ("step", timing.step))
    for name, value in (*optional, ("stall_s", timing.stall_s)):
        if value is not None:
            yield f"mckpt.{name}", value
    for stage, seconds in timing.stages.items():
        yield f"mckpt.stage.{stage}_s", seconds
