"""A monitor's figures for Prometheus, through the library ``prometheus_client``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from model_checkpoint.monitoring.histogram import Percentiles
from model_checkpoint.monitoring.monitor import PerformanceMonitor
from model_checkpoint.monitoring.report import OperationFigures, PerformanceReport
from model_checkpoint.utils.optional_import import require

__all__ = ["PrometheusCollector"]

_QUANTILES = (("0.5", "p50"), ("0.9", "p90"), ("0.95", "p95"), ("0.99", "p99"), ("0.999", "p999"))


class PrometheusCollector:
    """What ``prometheus_client.REGISTRY.register`` takes: each scrape gets the monitor's figures of that moment.

    Args:
        monitor: Whose.

    Raises:
        MissingDependencyError: The extra ``monitoring`` is not installed.
    """

    def __init__(self, monitor: PerformanceMonitor) -> None:
        self._monitor = monitor
        self._library: Any = require("prometheus_client", extra="monitoring")
        self._families: Any = require("prometheus_client.core", extra="monitoring")

    def exposition(self) -> str:
        """The figures in Prometheus' text format, for a file that its node exporter reads, say."""
        registry = self._library.CollectorRegistry()
        registry.register(self)
        return str(self._library.generate_latest(registry).decode("utf-8"))

    def collect(self) -> Iterator[Any]:
        """The metric families, as the library calls them."""
        report = self._monitor.report()
        yield from self._counters(report)
        yield self._operation_durations(report)
        yield self._span_durations(report)
        for reading in report.gauges:
            yield self._gauge(reading.name, "Its value now.", reading.value)
            yield self._gauge(f"{reading.name}_peak", "The largest value that was seen.", reading.peak)

    def _counters(self, report: PerformanceReport) -> Iterator[Any]:
        counters = (
            ("operations", "Operations that went well.", "count"),
            ("operation_failures", "Operations that failed.", "failures"),
            ("operation_bytes", "Bytes of state that operations were about.", "nbytes"),
            ("stall_seconds", "How long training waited for operations.", "stall_s"),
        )
        for name, documentation, attribute in counters:
            family = self._families.CounterMetricFamily(f"mckpt_{name}", documentation, labels=["kind"])
            for figures in report.operations:
                family.add_metric([figures.kind], getattr(figures, attribute))
            yield family
        documentation = "Wall time of operations by what it was spent on."
        family = self._families.CounterMetricFamily("mckpt_stage_seconds", documentation, labels=["kind", "stage"])
        for figures in report.operations:
            for stage, seconds in figures.stages.items():
                family.add_metric([figures.kind, stage], seconds)
        yield family

    def _operation_durations(self, report: PerformanceReport) -> Any:
        family = self._summary("mckpt_operation_duration_seconds", "How long operations took.")
        for figures in report.operations:
            labels = {"kind": figures.kind}
            self._add_quantiles(family, labels, figures.latency)
            self._add_totals(family, labels, figures)
        return family

    def _span_durations(self, report: PerformanceReport) -> Any:
        family = self._summary("mckpt_span_duration_seconds", "How long single spans of a stage took.")
        for stage, latency in report.stages.items():
            self._add_quantiles(family, {"stage": stage}, latency)
            family.add_sample(f"{family.name}_count", {"stage": stage}, latency.count)
        return family

    def _summary(self, name: str, documentation: str) -> Any:
        """A family with quantiles, which the library's own class for summaries lacks."""
        return self._families.Metric(name, documentation, "summary")

    @staticmethod
    def _add_quantiles(family: Any, labels: dict[str, str], latency: Percentiles | None) -> None:
        if latency is not None:
            for quantile, attribute in _QUANTILES:
                family.add_sample(family.name, {**labels, "quantile": quantile}, getattr(latency, attribute))

    @staticmethod
    def _add_totals(family: Any, labels: dict[str, str], figures: OperationFigures) -> None:
        family.add_sample(f"{family.name}_count", labels, figures.count)
        family.add_sample(f"{family.name}_sum", labels, figures.seconds)

    def _gauge(self, name: str, documentation: str, value: float) -> Any:
        return self._families.GaugeMetricFamily(f"mckpt_{name}", documentation, value=value)
