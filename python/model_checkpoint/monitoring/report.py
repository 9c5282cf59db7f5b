"""What a monitor has measured, as frozen values that print."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from model_checkpoint.monitoring.histogram import Percentiles
from model_checkpoint.monitoring.timing import OperationTiming, timing_json
from model_checkpoint.utils import strict_json
from model_checkpoint.utils.clock import format_rfc3339
from model_checkpoint.utils.duration import format_duration
from model_checkpoint.utils.sizes import format_size
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["GaugeReading", "OperationFigures", "PerformanceReport"]


@dataclass(frozen=True, slots=True)
class OperationFigures:
    """All operations of one kind.

    Attributes:
        kind: Which.
        count: How many went well.
        failures: How many did not; the rest does not count them.
        nbytes: What they were about, in bytes, together.
        seconds: How long they took, together.
        stall_s: How long training waited for them, in seconds, together.
        stages: Wall seconds by stage, together; see `OperationTiming`.
        latency: How long one took; None without percentiles.
        last: The last one that went well, or None.
    """

    kind: str
    count: int
    failures: int
    nbytes: int
    seconds: float
    stall_s: float
    stages: Mapping[str, float]
    latency: Percentiles | None
    last: OperationTiming | None

    @property
    def bytes_per_s(self) -> float | None:
        """Throughput of all together; None if they took no time."""
        return self.nbytes / self.seconds if self.seconds > 0.0 else None

    @property
    def mean_s(self) -> float | None:
        """How long one took on average, in seconds; None if there was none."""
        return self.seconds / self.count if self.count else None


@dataclass(frozen=True, slots=True)
class GaugeReading:
    """Something that goes up and down.

    Attributes:
        name: Which; its last word is the unit.
        value: At the time of the report.
        peak: The largest value that was seen, at the ends of operations and in reports.
    """

    name: str
    value: float
    peak: float


@dataclass(frozen=True, slots=True)
class PerformanceReport:
    """What was measured so far. It prints as a table.

    Attributes:
        at: When the report was made, in UTC.
        elapsed_s: Since when the monitor measures, in seconds.
        operations: By kind, in the order in which they first ended.
        stages: How long single spans of each stage took; empty without percentiles.
        gauges: Queues and memory.
    """

    at: datetime
    elapsed_s: float
    operations: tuple[OperationFigures, ...]
    stages: Mapping[str, Percentiles]
    gauges: tuple[GaugeReading, ...]

    def of(self, kind: str) -> OperationFigures | None:
        """The figures of a kind; None if there was no operation of it."""
        return next((figures for figures in self.operations if figures.kind == kind), None)

    def to_json(self) -> str:
        """All of it as one JSON object, whose members are named like the attributes."""
        return strict_json.dump(
            {
                "at": format_rfc3339(self.at),
                "elapsed_s": self.elapsed_s,
                "operations": [_figures_json(figures) for figures in self.operations],
                "stages": {stage: dataclasses.asdict(found) for stage, found in self.stages.items()},
                "gauges": [_reading_json(reading) for reading in self.gauges],
            }
        )

    def __str__(self) -> str:
        rows = [_HEADING, *(row for figures in self.operations for row in _rows(figures))]
        if len(rows) == 1:
            return "nothing was measured"
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADING))]
        lines = ["  ".join(_cells(row, widths)).rstrip() for row in rows]
        return "\n".join([*lines, *(f"{name}: {value}" for name, value in _gauge_lines(self.gauges))])


_HEADING = ("OPERATION", "COUNT", "FAILED", "BYTES", "BYTES/S", "TIME", "SHARE", "MEAN", "P50", "P99", "STALL")


def _rows(figures: OperationFigures) -> Iterator[tuple[str, ...]]:
    """The line of a kind, and those of its stages."""
    latency = figures.latency
    yield (
        figures.kind,
        f"{figures.count:,}",
        f"{figures.failures:,}" if figures.failures else "",
        format_size(figures.nbytes) if figures.nbytes else "",
        f"{format_size(figures.bytes_per_s)}/s" if figures.bytes_per_s else "",
        format_duration(figures.seconds),
        "",
        "" if figures.mean_s is None else format_duration(figures.mean_s),
        "" if latency is None else format_duration(latency.p50),
        "" if latency is None else format_duration(latency.p99),
        format_duration(figures.stall_s) if figures.stall_s else "",
    )
    rest = max(0.0, figures.seconds - math.fsum(figures.stages.values()))
    for stage, seconds in [*figures.stages.items(), ("other", rest)]:
        share = f"{seconds / figures.seconds:.1%}" if figures.seconds > 0.0 else ""
        mean = format_duration(seconds / figures.count) if figures.count else ""
        yield (f"  {stage}", "", "", "", "", format_duration(seconds), share, mean, "", "", "")


def _cells(row: tuple[str, ...], widths: list[int]) -> Iterator[str]:
    yield row[0].ljust(widths[0])
    for text, width in zip(row[1:], widths[1:], strict=True):
        yield text.rjust(width)


def _gauge_lines(gauges: tuple[GaugeReading, ...]) -> Iterator[tuple[str, str]]:
    for reading in gauges:
        is_bytes = reading.name.endswith("_bytes")
        value, peak = (format_size(v) if is_bytes else f"{v:g}" for v in (reading.value, reading.peak))
        yield reading.name.removesuffix("_bytes").replace("_", " "), f"{value}, at most {peak}"


def _figures_json(figures: OperationFigures) -> JsonValue:
    last = figures.last
    return {
        "kind": figures.kind,
        "count": figures.count,
        "failures": figures.failures,
        "nbytes": figures.nbytes,
        "seconds": figures.seconds,
        "stall_s": figures.stall_s,
        "bytes_per_s": figures.bytes_per_s,
        "stages": dict(figures.stages),
        "latency": None if figures.latency is None else dataclasses.asdict(figures.latency),
        "last": None if last is None else timing_json(last),
    }


def _reading_json(reading: GaugeReading) -> JsonValue:
    return dataclasses.asdict(reading)
