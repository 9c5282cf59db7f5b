"""What metrics cost: to log, to keep, and to ask for.

    python -m benchmarks.metrics [--points 100000000] [--seconds 30] [--dir DIR] [--only log,sustained,ask,best]

*log*: one call with one value, and with five, in the thread that calls it; beside TensorBoard's SummaryWriter and
MLflow's log_metric to a local SQLite store, where they are installed, in turn. *sustained*: two processes that log more
than was promised, how much of it was durable in how long, the end included, and what was found afterwards. *ask*:
questions to as many points on disk. *best*: the best of 10,000 checkpoints by every kind of criterion.

Every answer is checked. Exits with 1 if a promise is not kept.
"""

from __future__ import annotations

import argparse
import importlib.util
import operator
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np

import model_checkpoint as mc
from benchmarks.catalog import make_infos
from benchmarks.target import Target
from model_checkpoint.analytics.best_model_selector import BestModelSelector, Selection
from model_checkpoint.analytics.candidates import Candidates
from model_checkpoint.analytics.criteria import Custom, Goal
from model_checkpoint.analytics.reader import MetricsReader
from model_checkpoint.analytics.segment import write_segment
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database import Catalog, Listing, MetricTable
from model_checkpoint.database.metric_table import SeriesKey

CALLS = 20_000
ROUNDS = 7
SERIES = 20
RATE = 110_000
"""Points a second that each of the two processes logs: a tenth more than is promised to be durable in time."""


# --- log --------------------------------------------------------------------------------------------------------------

Log = Callable[[int, dict[str, float]], object]


def ours(directory: str, stack: ExitStack) -> Log:
    ckpts = stack.enter_context(mc.CheckpointManager(directory, experiment="exp", progress=False))
    return ckpts.log


def tensorboard(directory: str, stack: ExitStack) -> Log:
    from torch.utils.tensorboard import SummaryWriter

    writer = stack.enter_context(SummaryWriter(directory))

    def log(step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    return log


def mlflow(directory: str, stack: ExitStack) -> Log:
    mlflow: Any = __import__("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{directory}/mlflow.db")
    stack.enter_context(mlflow.start_run())
    return lambda step, values: [mlflow.log_metric(name, value, step=step) for name, value in values.items()]


LOGGERS: dict[str, tuple[Callable[[str, ExitStack], Log], str, int]] = {
    "model_checkpoint": (ours, "model_checkpoint", CALLS),
    "TensorBoard SummaryWriter": (tensorboard, "tensorboard", CALLS // 10),
    "MLflow log_metric, SQLite": (mlflow, "mlflow", 100),
}


def microseconds_a_point(log: Log, calls: int, values: dict[str, float], first: int) -> float:
    began = time.perf_counter()
    for step in range(first, first + calls):
        log(step, values)
    return (time.perf_counter() - began) / calls / len(values) * 1e6


def log_in_turn(directory: str, values: dict[str, float]) -> dict[str, list[float]]:
    """Microseconds a point of each logger that is installed, in several rounds after a warm-up."""
    samples: dict[str, list[float]] = {}
    with ExitStack() as stack:
        loggers = {
            name: (make(tempfile.mkdtemp(dir=directory), stack), calls)
            for name, (make, module, calls) in LOGGERS.items()
            if importlib.util.find_spec(module) is not None
        }
        for turn in range(ROUNDS + 1):
            for name, (log, calls) in loggers.items():
                samples.setdefault(name, []).append(microseconds_a_point(log, calls, values, turn * calls))
    return {name: found[1:] for name, found in samples.items()}


def measure_log(directory: str) -> list[Target]:
    targets = []
    for width in (1, 5):
        found = log_in_turn(directory, {f"metric{number}": 0.5 + number for number in range(width)})
        medians = {name: statistics.median(samples) for name, samples in found.items()}
        for name, samples in found.items():
            spread = (max(samples) - min(samples)) / 2 / medians[name]
            print(f"  {name:30} {width} value(s) a call {medians[name]:10.2f} us a point  ±{spread:.0%}")
        own = medians.pop("model_checkpoint")
        targets.append(Target(f"log, {width} value(s) a call", own, 2.0, "us", at_least=False))
        bounds = {"TensorBoard SummaryWriter": 1.0, "MLflow log_metric, SQLite": 10.0}
        targets += [
            Target(f"{peer} / ours, {width} value(s)", cost / own, bounds[peer]) for peer, cost in medians.items()
        ]
    return targets


# --- sustained --------------------------------------------------------------------------------------------------------

LOGGER = """
import resource, sys, time
import model_checkpoint as mc
root, name, seconds, rate = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
with mc.CheckpointManager(root, experiment="exp", progress=False) as ckpts:
    begin, step = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - begin) < seconds:
        while step * 5 < elapsed * rate:
            ckpts.log(step, {f"{name}{n}": step + n for n in range(5)})
            step += 1
        time.sleep(0.001)
    logged = time.perf_counter() - begin
print(step * 5, logged, time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def measure_sustained(directory: str, seconds: float) -> list[Target]:
    root = tempfile.mkdtemp(dir=directory)
    command = [sys.executable, "-c", LOGGER, root]
    processes = [
        subprocess.Popen([*command, name, str(seconds), str(RATE)], stdout=subprocess.PIPE, text=True)
        for name in ("a", "b")
    ]
    said = [process.communicate()[0].split() for process in processes]
    points = sum(int(words[0]) for words in said)
    logged, closed = (max(float(words[column]) for words in said) for column in (1, 2))
    memory = max(int(words[3]) for words in said)
    with MetricsReader.open(root) as reader:
        totals = reader.summary("exp").to_pylist()
    found = sum(row["count"] for row in totals)
    for row in totals:
        assert row["max"] - row["min"] == row["count"] - 1, row  # each step once: nothing lost, nothing doubled
    print(f"  {points:,} points in {logged:.1f} s, all durable after {closed:.1f} s; found {found:,}")
    return [
        Target("points a second from two processes, durable", points / closed / 1000, 200, "k"),
        Target("of them found afterwards", found / points * 100, 100, "%"),
        Target("seconds from the last point to durable", closed - logged, 5.0, "s", at_least=False),
        Target("memory of a process, at most", memory / 1024, 512, "MiB", at_least=False),
    ]


# --- ask --------------------------------------------------------------------------------------------------------------


def segments(points: int) -> Iterator[Any]:
    """Tables of a million points each: losses that fall with noise, as float32 gives them, a step every 50 ms."""
    import pyarrow as pa

    rng, per_segment = np.random.default_rng(0), 1_000_000
    steps_each = per_segment // SERIES
    now = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1e6)
    for number in range(points // per_segment):
        first = number * steps_each
        steps = np.repeat(np.arange(first, first + steps_each), SERIES)
        codes = np.tile(np.arange(SERIES, dtype=np.int32), steps_each)
        values = (1 / np.sqrt(steps + 1) + rng.normal(0, 0.01, per_segment)).astype(np.float32).astype(np.float64)
        jitter = rng.integers(0, 2000, steps_each).repeat(SERIES)
        constant = np.zeros(per_segment, np.int32)
        yield pa.table(
            {
                "name": pa.DictionaryArray.from_arrays(codes, [f"metric{n:02}" for n in range(SERIES)]),
                "split": pa.DictionaryArray.from_arrays(constant, [""]),
                "tags": pa.DictionaryArray.from_arrays(constant, ["{}"]),
                "step": steps,
                "value": values,
                "time": pa.array(now + steps * 50_000 + jitter).cast(pa.timestamp("us", tz="UTC")),
                "epoch": pa.nulls(per_segment, pa.float64()),
                "id": np.arange(number * per_segment + 1, (number + 1) * per_segment + 1),
            }
        )


def fill(root: str, points: int) -> int:
    """Bytes on disk of so many points."""
    nbytes = 0
    with Workspace.open(root) as workspace:
        workspace.join("exp", monitor=None, mode="min", keep=None)
        table = MetricTable(workspace.catalog)
        os.makedirs(os.path.join(root, "exp", ".metrics"), exist_ok=True)
        keys = [SeriesKey(f"metric{n:02}") for n in range(SERIES)]
        for number, points_table in enumerate(segments(points), start=1):
            info = write_segment(root, "exp", points_table)
            listed = [segment.path for segment in table.segments()]
            table.adopt_segment(info, keys=keys, last_id=number * 1_000_000, held=(), replaced=(), expected=listed)
            nbytes += info.nbytes
    return nbytes


def median_s(question: Callable[[], Any], check: Callable[[Any], bool], repeats: int = 5) -> float:
    samples = []
    for _ in range(repeats):
        began = time.perf_counter()
        answer = question()
        samples.append(time.perf_counter() - began)
        assert check(answer)
    return statistics.median(samples)


_FIRST = """
import sys, time
import duckdb, pyarrow.compute, pyarrow.parquet
from model_checkpoint.analytics.reader import MetricsReader
middle, began = int(sys.argv[2]), time.perf_counter()
with MetricsReader.open(sys.argv[1]) as reader:
    {}
print(time.perf_counter() - began)
"""
FIRST_QUESTIONS = {
    "totals of every series": _FIRST.format('reader.summary("exp")'),
    "a window of 1,000 steps of one series": _FIRST.format(
        'reader.metrics("exp", "metric07", first_step=middle, last_step=middle + 999)'
    ),
}


def measure_ask(directory: str, points: int) -> list[Target]:
    root = tempfile.mkdtemp(dir=directory)
    points -= points % 1_000_000
    nbytes, each = fill(root, points), points // SERIES
    sql = "SELECT name, count(*) AS n, avg(value) AS mean, min(value), max(value) FROM metrics GROUP BY name ORDER BY 1"
    middle = each // 2
    with MetricsReader.open(root) as reader:
        answers = {
            "an aggregate of every series": (
                lambda: reader.query(sql).to_pylist(),
                lambda rows: [row["n"] for row in rows] == [each] * SERIES,
                1.0,
            ),
            "totals of every series": (
                lambda: reader.summary("exp").to_pylist(),
                lambda rows: [row["count"] for row in rows] == [each] * SERIES,
                1.0,
            ),
            "a window of 1,000 steps of one series": (
                lambda: reader.metrics("exp", "metric07", first_step=middle, last_step=middle + 999).to_numpy(),
                lambda columns: np.array_equal(columns["step"], np.arange(middle, middle + 1000)),
                0.05,
            ),
        }
        targets = [Target("bytes a point", nbytes / points, 10, "B", at_least=False)]
        for name, (question, check, bound) in answers.items():
            seconds = median_s(question, check)
            what = f"{name}, of {points:,} points"
            targets.append(Target(what, seconds * 1e3, bound * 1e3, "ms", at_least=False))
    for name, program in FIRST_QUESTIONS.items():  # which compare what they read with its digest
        seconds = statistics.median(in_fresh_process(program, root, str(middle)) for _ in range(5))
        bound = answers[name][2]
        what = f"{name}, of {points:,} points, a process's first"
        targets.append(Target(what, seconds * 1e3, bound * 1e3, "ms", at_least=False))
    return targets


# --- best -------------------------------------------------------------------------------------------------------------

_GOALS = Goal("val_loss", weight=2), Goal("accuracy", "max", tolerance=0.01)
SELECTORS = {
    "one metric": BestModelSelector.by("val_loss"),
    "one metric, smoothed": BestModelSelector.by("val_loss", smoothing=5),
    "one metric under a constraint": BestModelSelector.by("val_loss", where=["accuracy > 0.9"]),
    "weighted": BestModelSelector.weighted(*_GOALS),
    "lexicographic": BestModelSelector.lexicographic(*_GOALS[::-1]),
    "Pareto front": BestModelSelector.pareto(*_GOALS),
    "a function": BestModelSelector(Custom(lambda m: m["accuracy"] - m["val_loss"], ("accuracy", "val_loss"))),
}

FIRST_BEST = """
import sys, time
from benchmarks.metrics import SELECTORS, Listing, ask_best
began = time.perf_counter()
with Listing.open(sys.argv[1]) as listing:
    ask_best(SELECTORS[sys.argv[2]], listing)
print(time.perf_counter() - began)
"""


def ask_best(selector: BestModelSelector, listing: Listing) -> Selection:
    return selector.best(Candidates.of_catalog(listing, "gpt2", selector.metrics))


def measure_best(directory: str, checkpoints: int = 16_000) -> list[Target]:
    """Five of eight checkpoints are of one experiment, so 10,000 are."""
    root = tempfile.mkdtemp(dir=directory)
    infos = make_infos(checkpoints)
    mine = [info for info in infos if info.experiment == "gpt2"]
    targets = []
    with Catalog.open(root) as catalog:
        catalog.add(*infos)
    for name, selector in SELECTORS.items():
        with Listing.open(root) as listing:
            warm = median_s(partial(ask_best, selector, listing), partial(operator.eq, selector.best(mine)), repeats=15)
        what = f"best of {len(mine):,} checkpoints: {name}"
        targets.append(Target(what, warm * 1e3, 20, "ms", at_least=False))
        fresh = statistics.median(in_fresh_process(FIRST_BEST, root, name) for _ in range(5))
        targets.append(Target(f"{what}, a process's first", fresh * 1e3, 20, "ms", at_least=False))
    return targets


def in_fresh_process(program: str, *arguments: str) -> float:
    """The number that a program prints."""
    command = [sys.executable, "-c", program, *arguments]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--points", type=int, default=100_000_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--dir", default=".")
    parser.add_argument("--only", default="log,sustained,ask,best")
    given = parser.parse_args()
    targets: list[Target] = []
    with tempfile.TemporaryDirectory(dir=given.dir, prefix="bench-metrics-") as directory:
        groups: dict[str, Callable[[], list[Target]]] = {
            "log": lambda: measure_log(directory),
            "sustained": lambda: measure_sustained(directory, given.seconds),
            "ask": lambda: measure_ask(directory, given.points),
            "best": lambda: measure_best(directory),
        }
        for name in given.only.split(","):
            print(f"\n{name}")
            for target in groups[name]():
                print(f"  {target}", flush=True)
                targets.append(target)
    return 0 if all(target.met for target in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
