"""What a report of a long run costs: to make, and to open in a real browser.

    python -m benchmarks.html_report [--points 10000000] [--series 1,20] [--dir DIR] [--rounds 5]

A store with so many points in one series, and the same in several; `mckpt report --html` as a process of its own; then
the page in Chromium, from navigation to the first drawn chart, and to all charts drawn, each round in a new context
(nothing cached). The spikes that were hidden among the points must be in the page. Exits with 1 if a promise is not
kept.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.target import Target
from model_checkpoint.analytics.segment import write_segment
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database import MetricTable
from model_checkpoint.database.metric_table import SeriesKey
from tests.harness.browser import browser

PER_SEGMENT = 1_000_000
SPIKE = 99.0
FIRST_CHART = "performance.getEntriesByName('first-chart')[0].startTime"


def segments(points: int, series: int) -> Iterator[pa.Table]:
    """A falling curve with noise in each series; in the middle of all, one spike."""
    rng, each = np.random.default_rng(0), PER_SEGMENT // series
    now = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1e6)
    for number in range(points // PER_SEGMENT):
        steps = np.repeat(np.arange(number * each, (number + 1) * each), series)
        values = 1 / np.sqrt(steps / 1000 + 1) + rng.normal(0, 0.03, steps.size)
        if number == points // PER_SEGMENT // 2:
            values[: series * 100 : 100 * series] = SPIKE
        names = pa.DictionaryArray.from_arrays(
            np.tile(np.arange(series, dtype=np.int32), each), [key.name for key in keys(series)]
        )
        none = np.zeros(steps.size, np.int32)
        yield pa.table(
            {
                "name": names,
                "split": pa.DictionaryArray.from_arrays(none, [""]),
                "tags": pa.DictionaryArray.from_arrays(none, ["{}"]),
                "step": steps,
                "value": values,
                "time": pa.array(now + steps * 50_000).cast(pa.timestamp("us", tz="UTC")),
                "epoch": pa.nulls(steps.size, pa.float64()),
                "id": np.arange(steps.size) + number * PER_SEGMENT + 1,
            }
        )


def keys(series: int) -> list[SeriesKey]:
    return [SeriesKey(f"metric{number:02}") for number in range(series)]


def fill(root: str, points: int, series: int) -> None:
    with Workspace.open(root) as workspace:
        workspace.join("exp", monitor=None, mode="min", keep=None)
        table = MetricTable(workspace.catalog)
        os.makedirs(os.path.join(root, "exp", ".metrics"), exist_ok=True)
        for number, found in enumerate(segments(points, series), start=1):
            info = write_segment(root, "exp", found)
            listed = [segment.path for segment in table.segments("exp")]
            last_id = number * PER_SEGMENT
            table.adopt_segment(info, keys=keys(series), last_id=last_id, held=(), replaced=(), expected=listed)


def make_page(root: str, page: Path) -> float:
    """Seconds of `mckpt report` as a process."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "model_checkpoint.cli", "-C", root, "report", "--html", str(page)]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def open_page(started: Any, page: Path) -> tuple[float, float]:
    """Seconds from navigation to the first chart, and to all of them."""
    context = started.new_context(viewport={"width": 1280, "height": 900})
    try:
        tab = context.new_page()
        began = time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_selector("svg.chart path.line")
        tab.evaluate("drawAll()")
        return float(tab.evaluate(FIRST_CHART)) / 1e3, time.perf_counter() - began
    finally:
        context.close()


def greatest_value(page: Path) -> float:
    text = page.read_text(encoding="utf-8")
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    return max(
        float(value) for chart in data["charts"] for line in chart["lines"] for value in line["y"] if value is not None
    )


def measure(started: Any, directory: str, points: int, series: int, rounds: int) -> list[Target]:
    root, page = tempfile.mkdtemp(dir=directory), Path(directory) / f"{series}.html"
    fill(root, points, series)
    made = statistics.median(make_page(root, page) for _ in range(3))
    assert greatest_value(page) == SPIKE
    first, whole = zip(*(open_page(started, page) for _ in range(rounds)), strict=True)
    what = f"{points:,} points in {series} series"
    print(f"  {what}: page of {page.stat().st_size / 1e6:.2f} MB")
    return [
        Target(f"{what}: mckpt report --html", made, 10.0, "s", at_least=False),
        Target(f"{what}: first chart", statistics.median(first), 2.0, "s", at_least=False),
        Target(f"{what}: all charts", statistics.median(whole), 2.0, "s", at_least=False),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--series", default="1,20")
    parser.add_argument("--dir", default=".")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    targets: list[Target] = []
    with tempfile.TemporaryDirectory(dir=given.dir, prefix="bench-report-") as directory, browser() as started:
        for series in map(int, given.series.split(",")):
            for target in measure(started, directory, given.points, series, given.rounds):
                print(f"  {target}", flush=True)
                targets.append(target)
    return 0 if all(target.met for target in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
