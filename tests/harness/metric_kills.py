"""Killing what moves metrics from the catalog to segments, and seeing what readers and the next one find.

Runs in a nursery, see `nursery`, which asks for `warm_up` first.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb  # noqa: F401 - what a killed process uses is imported before it is forked
import pyarrow.compute
import pyarrow.parquet

from model_checkpoint.analytics.compaction import Compactor
from model_checkpoint.analytics.engine import Engine
from model_checkpoint.database import Catalog, MetricTable
from model_checkpoint.database.metric_table import SeriesKey
from model_checkpoint.storage.store import Store
from model_checkpoint.types import ExperimentInfo
from model_checkpoint.utils.clock import utc_now
from tests.harness import strace
from tests.harness.nursery import isolated
from tests.harness.strace import Injection, Kill

__all__ = ["OPERATIONS", "count", "kill_at", "warm_up"]

_WHICH = {"every": strace.every, "changes": strace.changes}
_EACH = 40
_LOSS = SeriesKey("loss", "train")


# --- stores -----------------------------------------------------------------------------------------------------------


def _log(root: str, first: int) -> None:
    with Catalog.open(root) as catalog:
        catalog.add_experiment(ExperimentInfo("exp", utc_now()))
        points = [(step, step / 3, 1_000_000 + step, None) for step in range(first, first + _EACH)]
        MetricTable(catalog).append("exp", {_LOSS: points})


def _compact(root: str) -> None:
    with Catalog.open(root) as catalog:
        Compactor(root, MetricTable(catalog)).compact("exp")


def _with_points(root: str) -> int:
    """Points that are in the catalog."""
    os.mkdir(root)
    _log(root, 0)
    return _EACH


def _with_segments(root: str) -> int:
    """Seven segments, and points for the eighth: it will merge them."""
    for number in range(7):
        os.makedirs(root, exist_ok=True)
        _log(root, number * _EACH)
        _compact(root)
    _log(root, 7 * _EACH)
    return 8 * _EACH


def _without_catalog(root: str) -> int:
    """Two segments that a new catalog does not know."""
    os.mkdir(root)
    for number in range(2):
        _log(root, number * _EACH)
        _compact(root)
    os.unlink(os.path.join(root, "catalog.db"))
    with Catalog.open(root) as catalog:
        catalog.add_experiment(ExperimentInfo("exp", utc_now()))
    return 2 * _EACH


OPERATIONS: dict[str, Callable[[str], int]] = {
    "moving metrics to a segment": _with_points,
    "merging segments of metrics": _with_segments,
    "listing segments that a new catalog does not know": _without_catalog,
}


@functools.cache
def _place() -> tempfile.TemporaryDirectory[str]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return tempfile.TemporaryDirectory(dir=memory, prefix="mckpt-metric-kills-")


@functools.cache
def _template(operation: str) -> tuple[str, int]:
    root = os.path.join(_place().name, operation.replace(" ", "-"))
    return root, isolated(OPERATIONS[operation], root)


def _copy(operation: str) -> tuple[str, int]:
    template, points = _template(operation)
    root = os.path.join(_place().name, "trial")
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(template, root)
    return root, points


# --- killing ----------------------------------------------------------------------------------------------------------


def warm_up() -> None:
    """The first thing to ask for."""
    pyarrow.set_cpu_count(1)
    for operation in OPERATIONS:
        _template(operation)
    assert len(os.listdir("/proc/self/task")) == 1, "whoever is to be forked must have no threads"


def count(operation: str, which: str) -> int:
    """How many system calls an operation makes when it is left alone."""
    root, _ = _copy(operation)
    trace = _follow(root, Injection(Kill(), at=0, which=_WHICH[which]))
    assert trace.status == 0
    return len(trace.calls)


def kill_at(operation: str, at: int, which: str) -> tuple[str | None, list[str]]:
    """Kill an operation at one of its system calls; returns the call, if it was reached, and what was wrong then."""
    root, points = _copy(operation)
    trace = _follow(root, Injection(Kill(), at, _WHICH[which]))
    if trace.status not in {0, -9}:
        return trace.injected, [f"it ended with status {trace.status}"]
    lists_all = operation != "listing segments that a new catalog does not know"
    return trace.injected, isolated(lambda: list(_problems(root, points, lists_all=lists_all)))


def _follow(root: str, injection: Injection) -> strace.Trace:
    def prepare() -> Callable[[], None]:
        catalog = Catalog.open(root)
        compactor = Compactor(root, MetricTable(catalog))
        return lambda: (compactor.compact("exp"), compactor.settle("exp"), catalog.close())[-1]

    return strace.follow(prepare, injection)


def _problems(root: str, points: int, *, lists_all: bool) -> Iterator[str]:
    """What is wrong with a store after a kill: at once, after the next compaction, and after another one."""
    with Catalog.open(root) as catalog:
        if lists_all and (wrong := _wrong(root, catalog, points)):
            yield f"at once: {wrong}"
        compactor = Compactor(root, MetricTable(catalog))
        compactor.settle("exp")
        if wrong := _wrong(root, catalog, points):
            yield f"settled: {wrong}"
        compactor.compact("exp")
    _log(root, points)
    with Catalog.open(root) as catalog:
        table = MetricTable(catalog)
        Compactor(root, table).compact("exp")
        if wrong := _wrong(root, catalog, points + _EACH):
            yield f"after the next: {wrong}"
        there = {f"exp/.metrics/{path.name}" for path in _after_a_day(root)}
        if there != {segment.path for segment in table.segments()}:
            yield f"files that are not listed, or the other way round: {sorted(there)}"


def _after_a_day(root: str) -> list[Path]:
    """The files beside the segments, as the first recovery of the next day leaves them."""
    directory = Path(root, "exp", ".metrics")
    for path in directory.iterdir():
        os.utime(path, (0, 0))
    Store(root).recover()
    return list(directory.iterdir())


def _wrong(root: str, catalog: Catalog, points: int) -> str:
    found = Engine(root, catalog).run("SELECT step, value FROM points ORDER BY step, id", experiments=["exp"])
    if found["step"].to_pylist() != list(range(points)):
        return f"{found.num_rows} points, not {points}"
    return "" if found["value"].to_pylist() == [step / 3 for step in range(points)] else "other values"
