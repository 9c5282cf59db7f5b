"""The figures of some operations, exactly: what a monitor keeps of all of them, within 1%."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from types import MappingProxyType

from model_checkpoint.errors import ConfigurationError
from model_checkpoint.monitoring.histogram import Percentiles
from model_checkpoint.monitoring.report import OperationFigures
from model_checkpoint.monitoring.stages import STAGES
from model_checkpoint.monitoring.timing import OperationTiming

__all__ = ["exact_percentiles", "figures_of"]


def figures_of(timings: Sequence[OperationTiming]) -> OperationFigures:
    """The figures of operations of one kind, oldest first.

    Raises:
        ConfigurationError: There are none, or they are of several kinds.
    """
    kinds = {timing.kind for timing in timings}
    if len(kinds) != 1:
        raise ConfigurationError(f"figures are of operations of one kind, not of {', '.join(sorted(kinds)) or 'none'}")
    stages: dict[str, float] = {}
    for timing in timings:
        for stage, seconds in timing.stages.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    known = [stage for stage in STAGES if stage in stages]
    ordered = [*known, *(stage for stage in stages if stage not in STAGES)]  # of a later version
    return OperationFigures(
        kind=kinds.pop(),
        count=len(timings),
        failures=0,
        nbytes=sum(timing.nbytes for timing in timings),
        seconds=math.fsum(timing.seconds for timing in timings),
        stall_s=math.fsum(timing.stall_s or 0.0 for timing in timings),
        stages=MappingProxyType({stage: stages[stage] for stage in ordered}),
        latency=exact_percentiles(timing.seconds for timing in timings),
        last=timings[-1],
    )


def exact_percentiles(values: Iterable[float]) -> Percentiles:
    """Percentiles of at least one duration by nearest rank: each is one of the durations."""
    ordered = sorted(values)

    def at(percent: float) -> float:
        return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]

    return Percentiles(len(ordered), at(50), at(90), at(95), at(99), at(99.9), ordered[-1])
