"""Processes that log metrics, and are killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest

from model_checkpoint.analytics.compaction import Compactor
from model_checkpoint.analytics.engine import Engine
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database import MetricTable
from tests.harness.metric_kills import OPERATIONS
from tests.harness.nursery import Nursery

pytestmark = pytest.mark.crash

INTERVAL_S = 0.05

# Logs each step's number, says which steps were logged and which are written, and compacts all the time.
LOGGER = f"""
import os, sys, time
from model_checkpoint.analytics.collector import MetricsCollector
from model_checkpoint.analytics.compaction import Compactor
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database import MetricTable

with Workspace.open(sys.argv[1]) as workspace:
    workspace.join("exp", monitor=None, mode="min", keep=None)
    table = MetricTable(workspace.catalog)
    compactor = Compactor(workspace.store.root, table)

    def write(experiment, points):
        table.append(experiment, points)
        (series,) = points.values()
        os.write(1, f"written {{series[-1][0]}} {{time.monotonic()}}\\n".encode())
        compactor.compact(experiment, least=200)

    collector = MetricsCollector("exp", write, flush_interval_s={INTERVAL_S})
    for step in range(int(sys.argv[2]), 10**9):
        collector.log(step, value=step)
        if step % 100 == 99:
            os.write(1, f"logged {{step}} {{time.monotonic()}}\\n".encode())
            time.sleep(0.005)
"""


def log_and_be_killed(root, first, *, writes, seconds):
    """What a process said that lived for a while after it had written so often: for each word, steps and moments."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", LOGGER, str(root), str(first)], stdout=pipe, text=True)
    lines = [process.stdout.readline()]
    while sum(line.startswith("written") for line in lines) < writes:
        lines.append(process.stdout.readline())
        assert lines[-1], "it ended by itself"
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    lines += process.stdout.read().splitlines(keepends=True)
    process.stdout.close()
    process.wait()
    said = {"logged": [], "written": []}
    for word, step, at in (line.split() for line in lines if line.endswith("\n")):  # the last one may be torn
        said[word].append((int(step), float(at)))
    return said


def test_a_killed_process_loses_only_what_it_had_not_written_yet(tmp_path, trials, evidence):
    """What was written is there, each value exactly once, in order; the next process goes on."""
    rng, lost, first, unwritten_s = random.Random(7), 0, 0, 0.0
    kills = trials(ci=5, proof=50, full=300)
    for kill in range(kills):
        said = log_and_be_killed(tmp_path, first, writes=kill % 3, seconds=rng.uniform(0, 0.4))
        with Workspace.open(tmp_path) as workspace:
            Compactor(workspace.store.root, MetricTable(workspace.catalog)).settle("exp")
            sql = "SELECT step, value FROM points ORDER BY id"
            found = Engine(workspace.store.root, workspace.catalog).run(sql, experiments=["exp"])
        steps = found["step"].to_pylist()
        assert steps == sorted(set(steps)), "doubled or out of order"
        assert found["value"].to_pylist() == steps
        written = said["written"][-1][0] if said["written"] else -1
        lost += not set(range(first, written + 1)) <= set(steps)
        missing = [at for step, at in said["logged"] if step > max(steps, default=-1)]
        unwritten_s = max(unwritten_s, said["logged"][-1][1] - missing[0] if missing else 0.0)
        first = max([first - 1, *steps, *(step for step, _ in said["logged"])]) + 1
    evidence(
        threat="a kill while metrics are logged and compacted",
        promise="Metrics that were written are there, each exactly once; what was logged since then is lost",
        trials=kills,
        unit="kills",
        violations=lost,
        detail=f"written every {INTERVAL_S * 1000:.0f} ms; at most {unwritten_s * 1000:.0f} ms of metrics were lost",
    )
    assert lost == 0
    assert steps, "nothing was ever written"


# --- kills at system calls --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ask_metrics(nursery):
    """Asks for a function of `tests.harness.metric_kills`, in a process that Arrow and BLAS give no threads to."""
    assert nursery is not None  # where nothing can be traced it has skipped the test
    with Nursery(JE_ARROW_MALLOC_CONF="background_thread:false", OMP_NUM_THREADS="1") as alone:
        alone.ask("tests.harness.metric_kills", "warm_up")
        yield partial(alone.ask, "tests.harness.metric_kills")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_kill_at_any_system_call_of_a_compaction_loses_and_doubles_nothing(ask_metrics, scale, evidence, operation):
    """Readers see each point once, at once and after the next compaction, and nothing is left behind."""
    which = "every" if scale == "full" else "changes"
    length = ask_metrics("count", operation=operation, which=which)
    numbers = sorted({1 + round(i * (length - 1) / 2) for i in range(3)}) if scale == "ci" else range(1, length + 3)
    done, violations = 0, []
    for number in numbers:
        call, problems = ask_metrics("kill_at", operation=operation, at=number, which=which)
        done += call is not None
        violations += [f"killed at call {number}, {call}: {problem}" for problem in problems]
    calls = "system call" if scale == "full" else "system call that changes files"
    evidence(
        threat=f"a kill at {'one' if scale == 'ci' else 'every'} {calls} of {operation}",
        promise="Each point is read exactly once, at once and after the next compaction, and nothing is left behind",
        trials=done,
        unit="kills",
        violations=len(violations),
        detail=f"left alone, it makes {length} such calls",
        exhaustive=scale != "ci",
    )
    assert violations == []
    assert done >= len(numbers) * 2 // 3


# --- several at once --------------------------------------------------------------------------------------------------

APPENDER = """
import os, sys
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database import MetricTable
from model_checkpoint.database.metric_table import SeriesKey

with Workspace.open(sys.argv[1]) as workspace:
    workspace.join("exp", monitor=None, mode="min", keep=None)
    table, step = MetricTable(workspace.catalog), int(sys.argv[2])
    while True:
        table.append("exp", {SeriesKey("loss"): [(n, float(n), n, None) for n in range(step, step + 20)]})
        step += 20
        os.write(1, f"{step}\\n".encode())
"""
COMPACTOR = """
import os, sys
from model_checkpoint.analytics.compaction import Compactor
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database import MetricTable

with Workspace.open(sys.argv[1]) as workspace:
    compactor = Compactor(workspace.store.root, MetricTable(workspace.catalog))
    while True:
        compactor.compact("exp", least=20)
        os.write(1, b"compacted\\n")
"""


@contextmanager
def running(program, *arguments):
    """A process that is dead when the block ends."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_two_compactors_that_are_killed_leave_each_point_once(memory_path, trials, evidence):
    """Whoever reads meanwhile sees each point that was written exactly once; so does who reads in the end."""
    rng, kills, written, reads = random.Random(11), trials(ci=2, proof=30, full=200), 0, 0
    with Workspace.open(memory_path) as workspace:
        workspace.join("exp", monitor=None, mode="min", keep=None)
        engine = Engine(workspace.store.root, workspace.catalog)

        def read():
            return engine.run("SELECT step FROM points ORDER BY id", experiments=["exp"])["step"].to_pylist()

        for _ in range(kills):
            with ExitStack() as stack:
                appender = stack.enter_context(running(APPENDER, memory_path, written))
                compactors = [stack.enter_context(running(COMPACTOR, memory_path)) for _ in range(2)]
                for process in (appender, *compactors):  # all are at work now
                    assert process.stdout.readline(), process.stderr.read()
                until = time.monotonic() + rng.uniform(0.05, 0.5)
                while time.monotonic() < until:
                    steps = read()
                    assert steps == list(range(len(steps))), "doubled, lost or out of order"
                    reads += 1
                for process in rng.sample([appender, *compactors], 3):
                    process.kill()
                said, _ = appender.communicate()
                for process in compactors:
                    assert process.communicate()[1] == ""
            acknowledged = int(said.split()[-1]) if said.split() else written
            written = len(read())
            assert read() == list(range(written))
            assert written >= acknowledged
        Compactor(workspace.store.root, MetricTable(workspace.catalog)).compact("exp")
        assert read() == list(range(written))
        there = {path.name for path in (memory_path / "exp" / ".metrics").glob("*.parquet")}
        segments = MetricTable(workspace.catalog).segments("exp")
        assert there == {os.path.basename(segment.path) for segment in segments}
    evidence(
        threat="two compactors and a logger at once, all killed at a random moment",
        promise="Each point that was written is read exactly once, meanwhile and afterwards",
        trials=kills,
        unit="kills",
        violations=0,
        detail=f"{written:,} points in {len(segments)} segments; read {reads:,} times meanwhile",
    )
