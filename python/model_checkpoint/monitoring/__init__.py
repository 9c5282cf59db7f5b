"""Where the time goes: spans in every layer, percentiles, thresholds, exports.

Every layer below and beside calls `model_checkpoint.monitoring.span`, so importing the package imports nothing else:
names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model_checkpoint.monitoring.monitor import PerformanceMonitor
    from model_checkpoint.monitoring.opentelemetry_exporter import OpenTelemetryExporter
    from model_checkpoint.monitoring.prometheus_collector import PrometheusCollector
    from model_checkpoint.monitoring.report import PerformanceReport
    from model_checkpoint.monitoring.thresholds import PercentileAbove, SlowerThan, StallAbove, ThroughputBelow
    from model_checkpoint.monitoring.timing import OperationTiming
    from model_checkpoint.monitoring.timing_log import TimingLog

__all__ = [
    "OpenTelemetryExporter",
    "OperationTiming",
    "PercentileAbove",
    "PerformanceMonitor",
    "PerformanceReport",
    "PrometheusCollector",
    "SlowerThan",
    "StallAbove",
    "ThroughputBelow",
    "TimingLog",
]

_HOMES = {
    "OpenTelemetryExporter": "opentelemetry_exporter",
    "OperationTiming": "timing",
    "PercentileAbove": "thresholds",
    "PerformanceMonitor": "monitor",
    "PerformanceReport": "report",
    "PrometheusCollector": "prometheus_collector",
    "SlowerThan": "thresholds",
    "StallAbove": "thresholds",
    "ThroughputBelow": "thresholds",
    "TimingLog": "timing_log",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
