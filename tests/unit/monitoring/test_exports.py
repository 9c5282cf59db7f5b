"""Prometheus and OpenTelemetry, read back by their own libraries."""

from __future__ import annotations

import sys
import time
import urllib.request
from datetime import timedelta

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from model_checkpoint.errors import MissingDependencyError
from model_checkpoint.monitoring import OpenTelemetryExporter, PerformanceMonitor, PrometheusCollector
from model_checkpoint.monitoring.span import span
from model_checkpoint.utils.clock import to_microseconds


def measure(monitor):
    """A save of three spans, the second in the first, and a load that fails."""
    with monitor.operation("save", experiment="gpt2", step=5, nbytes=1000) as operation:
        with span("commit"):
            time.sleep(0.002)
            with span("fsync"):
                time.sleep(0.002)
        with span("hook"):
            pass
        operation.stall_s = 0.25
    with pytest.raises(OSError, match="gone"), monitor.operation("load"):
        raise OSError("gone")


def samples(families):
    return {(sample.name, *sorted(sample.labels.items())): sample.value for one in families for sample in one.samples}


def test_prometheus_reads_the_exposition_back():
    """Counters, quantiles and gauges have the values of the report."""
    monitor = PerformanceMonitor()
    measure(monitor)
    found = samples(parse(PrometheusCollector(monitor).exposition()))
    report = monitor.report()
    save, fsync = report.of("save"), report.stages["fsync"]
    kind = ("kind", "save")
    assert found["mckpt_operations_total", kind] == 1
    assert found["mckpt_operation_failures_total", ("kind", "load")] == 1
    assert found["mckpt_operation_bytes_total", kind] == 1000
    assert found["mckpt_stall_seconds_total", kind] == 0.25
    assert found["mckpt_stage_seconds_total", kind, ("stage", "fsync")] == save.stages["fsync"]
    assert found["mckpt_operation_duration_seconds", kind, ("quantile", "0.999")] == save.latency.p999
    assert found["mckpt_operation_duration_seconds_sum", kind] == save.seconds
    assert found["mckpt_operation_duration_seconds_count", kind] == 1
    assert found["mckpt_span_duration_seconds", ("quantile", "0.5"), ("stage", "fsync")] == fsync.p50
    assert found["mckpt_operations_in_flight_peak",] == 1
    assert found["mckpt_rss_bytes",] > 1_000_000


def test_a_scrape_over_http_gets_the_figures_of_that_moment():
    """Registered once, asked as often as the server likes."""
    registry, monitor = CollectorRegistry(), PerformanceMonitor()
    registry.register(PrometheusCollector(monitor))
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        for count in (1, 2):
            measure(monitor)
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as answer:
                found = samples(parse(answer.read().decode()))
            assert found["mckpt_operations_total", ("kind", "save")] == count
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_stricter_openmetrics_format_reads_back_too():
    """Its parser refuses what breaks its rules."""
    registry, monitor = CollectorRegistry(), PerformanceMonitor()
    registry.register(PrometheusCollector(monitor))
    measure(monitor)
    found = samples(parse_openmetrics(generate_openmetrics(registry).decode()))
    assert found["mckpt_operations_total", ("kind", "save")] == 1


def test_opentelemetry_gets_a_span_with_those_of_the_stages_inside():
    """Where they were, when they were, and what of."""
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    exporter = OpenTelemetryExporter(tracer_provider=provider, meter_provider=MeterProvider())
    monitor = PerformanceMonitor(percentiles=False, exporters=[exporter])
    measure(monitor)
    found = {one.name: one for one in spans.get_finished_spans()}
    save, commit, fsync, hook = (found[f"mckpt.{name}"] for name in ("save", "commit", "fsync", "hook"))
    timing = monitor.report().of("save").last
    assert save.parent is None
    assert (commit.parent.span_id, fsync.parent.span_id) == (save.context.span_id, commit.context.span_id)
    assert hook.parent.span_id == save.context.span_id
    assert save.start_time == to_microseconds(timing.at) * 1000
    assert save.end_time == to_microseconds(timing.at + timedelta(seconds=timing.seconds)) * 1000
    assert save.start_time <= commit.start_time < fsync.start_time < fsync.end_time <= commit.end_time
    assert commit.end_time <= save.end_time + 1000
    assert fsync.end_time - fsync.start_time >= 2_000_000
    assert save.attributes["mckpt.experiment"] == "gpt2"
    assert (save.attributes["mckpt.step"], save.attributes["mckpt.bytes"]) == (5, 1000)
    assert save.attributes["mckpt.stage.fsync_s"] == timing.stages["fsync"]
    assert "mckpt.checkpoint" not in save.attributes


def test_opentelemetry_gets_the_metrics():
    """Sums by kind, experiment and stage, and a histogram of durations."""
    reader = InMemoryMetricReader()
    exporter = OpenTelemetryExporter(tracer_provider=TracerProvider(), meter_provider=MeterProvider([reader]))
    monitor = PerformanceMonitor(percentiles=False, exporters=[exporter])
    measure(monitor)
    measure(monitor)
    (resource,) = reader.get_metrics_data().resource_metrics
    (scope,) = resource.scope_metrics
    points = {metric.name: list(metric.data.data_points) for metric in scope.metrics}
    (durations,) = points["mckpt.operation.duration"]
    assert dict(durations.attributes) == {"kind": "save", "experiment": "gpt2"}
    assert (durations.count, durations.sum) == (2, pytest.approx(monitor.report().of("save").seconds))
    assert points["mckpt.operation.size"][0].value == 2000
    assert points["mckpt.stall.time"][0].value == 0.5
    stages = {point.attributes["stage"]: point.value for point in points["mckpt.stage.time"]}
    assert stages == pytest.approx(dict(monitor.report().of("save").stages))


@pytest.mark.parametrize(
    "make", [lambda: PrometheusCollector(PerformanceMonitor(percentiles=False)), OpenTelemetryExporter]
)
def test_without_the_libraries_the_extra_is_named(monkeypatch, make):
    """When the export is made, and not when it is asked."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("opentelemetry", "prometheus_client")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "site-packages" not in entry])
    with pytest.raises(MissingDependencyError, match=r"model-checkpoint-engine\[monitoring\]"):
        make()
