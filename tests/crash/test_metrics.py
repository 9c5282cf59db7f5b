"""Processes that log metrics, and are killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from model_checkpoint.analytics.compaction import Compactor
from model_checkpoint.analytics.engine import Engine
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database import MetricTable

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


def log_and_be_killed(root, first, seconds):
    """What a process said that lived for a while after its first words: for each word, its steps and their moments."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", LOGGER, str(root), str(first)], stdout=pipe, text=True)
    lines = [process.stdout.readline()]
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
    for _ in range(kills):
        said = log_and_be_killed(tmp_path, first, rng.uniform(0, 0.6))
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
        first = max([*steps, said["logged"][-1][0]]) + 1
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
