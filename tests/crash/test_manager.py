"""Processes that train, save all the time, and are killed at any moment."""

from __future__ import annotations

import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

import model_checkpoint as mc
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.cli import main
from tests.harness.sample_store import age

pytestmark = pytest.mark.crash

# Step s has the weight s everywhere, so that a mixture of two steps is seen; the policy removes old ones all the time.
# The imports take far longer than the training lives, so a nursery does them once and forks each training.
NURSERY = """
import os
import sys
import torch
import model_checkpoint as mc
import model_checkpoint.checkpoint.manager, model_checkpoint.storage.safetensors.torch_adapter

def train(root):
    weight, meta = torch.zeros(60_000), {"step": 0}
    keep = mc.Keep.last(2) | mc.Keep.best(1)
    with mc.CheckpointManager(root, experiment="exp", monitor="loss", keep=keep) as ckpts:
        ckpts.track(weight=weight, meta=meta)
        report = ckpts.resume(strict=True)
        print("start", report.next_step, flush=True)
        for step in range(report.next_step, 10**9):
            weight.fill_(step % 1000)
            meta["step"] = step
            handle = ckpts.save(step, metrics={"loss": (step * 7) % 11}, alias=f"s{step % 3}")
            print("saved", handle.result().step, flush=True)

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        try:
            train(line.strip())
        finally:
            os._exit(1)
    print("pid", pid, flush=True)
    os.waitpid(pid, 0)
    print("\\nend", flush=True)
"""


class Trainings:
    """Starts training processes and hears what they acknowledge."""

    def __init__(self, root: pathlib.Path) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-c", NURSERY], stdin=pipe, stdout=pipe, text=True, bufsize=1)
        self.root = root
        self.acknowledged = -1

    def train_and_kill(self, saves: int, seconds: float) -> int:
        """Let a training save so often, and for a while, and kill it; returns the step at which it started."""
        watchdog = threading.Timer(300, self.process.kill)
        watchdog.start()
        try:
            return self._train_and_kill(saves, seconds)
        finally:
            watchdog.cancel()

    def _train_and_kill(self, saves: int, seconds: float) -> int:
        self.process.stdin.write(f"{self.root}\n")
        words = dict(line.split() for line in (self._line(), self._line()))  # in either order
        for _ in range(saves):  # however busy the machine is, there is something to lose
            self._hear(self._line())
        time.sleep(seconds)
        os.kill(int(words["pid"]), signal.SIGKILL)
        while (line := self._line()) != "end\n":
            self._hear(line)
        return int(words["start"])

    def _hear(self, line: str) -> None:
        if line.startswith("saved ") and line.endswith("\n"):  # the last one may be torn
            self.acknowledged = max(self.acknowledged, int(line.split()[1]))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def _line(self) -> str:
        line = self.process.stdout.readline()
        assert line, "the nursery ended by itself"
        return line


def check_store(root: pathlib.Path, acknowledged: int) -> None:
    """Every checkpoint that is offered is whole, and nothing that was acknowledged is lost."""
    weight, meta = torch.zeros(60_000), {"step": -1}
    with mc.CheckpointManager(root, experiment="exp") as ckpts:
        ckpts.track(weight=weight, meta=meta)
        infos = ckpts.list()
        assert max(info.step for info in infos) >= acknowledged
        for info in infos:
            state = ckpts.load(info.id)
            assert state["meta"]["step"] == info.step
            assert state["weight"].unique().tolist() == [info.step % 1000]
        report = ckpts.resume(strict=True)
        assert report.step == infos[0].step >= acknowledged
        assert meta["step"] == report.step
        assert ckpts.best is not None
        best = min((step * 7) % 11 for step in range(acknowledged + 1))
        assert ckpts.best.metrics["loss"] <= best
        ckpts.prune(dry_run=False, force=True)  # what the killed ones had no time for, by the stored policy
        assert len(ckpts.list()) <= 7  # last(2), best, newest verified, three aliases
        assert ckpts.latest.id == infos[0].id
    assert main(["-C", str(root), "doctor"]) == 0
    assert list(root.glob(".staging/*")) == []


def check_that_nothing_is_left(root: pathlib.Path) -> None:
    """An hour later, there is only what belongs to the checkpoints that are listed."""
    age(str(root))
    with mc.CheckpointManager(root, experiment="exp") as ckpts:
        infos = ckpts.list()
    ours = {".staging", ".trash", ".timings.jsonl", "catalog.db", "catalog.db-journal", "exp"}
    assert {path.name for path in root.iterdir()} <= ours
    assert [*root.glob(".staging/*"), *root.glob(".trash/*"), *root.rglob("*.tmp")] == []
    assert {str(path.relative_to(root)) for path in root.glob("exp/step-*")} == {info.path for info in infos}
    assert {path.stem for path in root.glob("exp/.annotations/*.json")} <= {info.id for info in infos}


def kill_again_and_again(root: pathlib.Path, kills: int) -> int:
    """Returns how many saves were acknowledged."""
    rng, trainings = random.Random(kills), Trainings(root)
    try:
        for _ in range(kills):
            before = trainings.acknowledged
            assert trainings.train_and_kill(rng.randrange(3), rng.uniform(0, 0.2)) > before
            if trainings.acknowledged >= 0:
                check_store(root, trainings.acknowledged)
    finally:
        trainings.close()
    check_that_nothing_is_left(root)
    assert trainings.acknowledged > kills // 4
    return trainings.acknowledged + 1


def test_killed_processes_lose_nothing_that_was_acknowledged(tmp_path, trials, evidence):
    """SIGKILL at random moments: what was acknowledged loads and verifies, and the next training goes on."""
    kills = trials(ci=15, proof=200, full=1000)
    acknowledged = kill_again_and_again(tmp_path / "runs", kills)
    evidence(
        threat="a kill at a random moment of a training that saves and cleans up all the time",
        promise=(
            "No acknowledged checkpoint is lost, none is half there, the catalog opens, the next training resumes and "
            "saves, and nothing is left behind."
        ),
        trials=kills,
        unit="kills",
        violations=0,
        detail=f"of one store, among {acknowledged} acknowledged saves",
    )


def test_a_process_killed_between_commit_and_catalog_loses_nothing(tmp_path):
    """The directory is in place, the catalog has no row: the next manager adopts it, with its tags."""
    script = """
import os, sys, torch
import model_checkpoint as mc
from model_checkpoint.database.catalog import Catalog

with mc.CheckpointManager(sys.argv[1]) as ckpts:
    ckpts.track(weight=torch.ones(10))
    ckpts.save(1).result()
    Catalog.add = lambda *_: os._exit(9)
    ckpts.save(2, tags={"a": "b"}, alias="second").result()
"""
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path / "runs")], check=False).returncode == 9
    with mc.CheckpointManager(tmp_path / "runs") as ckpts:
        assert [info.step for info in ckpts.list()] == [2, 1]
        assert (dict(ckpts.latest.tags), ckpts.latest.aliases) == ({"a": "b"}, ("second",))
        assert ckpts.load("second")["weight"].sum() == 10


@pytest.mark.parametrize("moment", ["after_the_row", "after_the_rename", "before_the_last_row"])
def test_a_process_killed_in_a_cleanup_leaves_whole_checkpoints(tmp_path, moment):
    """Wherever a removal is cut short, the checkpoint is there or gone, and store and catalog agree again."""
    script = """
import os, sys, torch
import model_checkpoint as mc
from model_checkpoint.database.catalog import Catalog
from model_checkpoint.storage.store import Store

moment, delete, remove = sys.argv[2], Store.delete, Catalog.remove

def dying_delete(self, info, **options):
    if moment == "after_the_row":
        os._exit(9)
    delete(self, info, **options)
    os._exit(9)

def dying_remove(self, ids):
    os._exit(9)

with mc.CheckpointManager(sys.argv[1], trash_for_s=0) as ckpts:
    ckpts.track(weight=torch.ones(10))
    for step in range(3):
        ckpts.save(step).result()
    if moment == "before_the_last_row":
        Catalog.remove = dying_remove
    else:
        Store.delete = dying_delete
    ckpts.prune(dry_run=False, keep=mc.Keep.last(2))
"""
    root = tmp_path / "runs"
    assert subprocess.run([sys.executable, "-c", script, str(root), moment], check=False).returncode == 9
    expected = [2, 1, 0] if moment == "after_the_row" else [2, 1]
    with mc.CheckpointManager(root) as ckpts:
        assert [info.step for info in ckpts.list()] == expected
        for info in ckpts.list():
            ckpts.verify(info.id)
    assert len(list(root.glob("default/step-*"))) == len(expected)
    assert list(root.glob(".trash/*")) == []
    with Workspace.open(root) as workspace:
        found = workspace.store.scan()
        listed = workspace.catalog.list(states=tuple(mc.CheckpointState))
        assert {info.id for info in found.checkpoints} == {info.id for info in listed}


SIGTERM = """
import sys, time, torch
import model_checkpoint as mc

weight = torch.zeros(1000)
with mc.CheckpointManager(sys.argv[1], on_sigterm=sys.argv[2], save_when=mc.SaveWhen.every(steps=10**6)) as ckpts:
    ckpts.track(weight=weight)
    print("ready", flush=True)
    for step in range(10**6):
        time.sleep(0.01)
        weight.fill_(step)
        if sys.argv[2] == "flag" and ckpts.stopping:
            ckpts.save(step, block=True)
            print("stopped", step, flush=True)
            break
        if ckpts.should_save(step):
            print("saving", step, flush=True)
            ckpts.save(step)
            print("not reached", flush=True)
"""


@pytest.mark.parametrize(("how", "code", "word"), [("save", 143, "saving"), ("flag", 0, "stopped")])
def test_sigterm_saves_and_stops(tmp_path, how, code, word):
    """With "save" the next save is durable and ends the program by 143; with "flag" the loop decides."""
    process = subprocess.Popen(
        [sys.executable, "-c", SIGTERM, str(tmp_path / "runs"), how], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert output.split()[0] == word
    assert "not reached" not in output
    step = int(output.split()[1])
    with mc.CheckpointManager(tmp_path / "runs") as ckpts:
        assert ckpts.latest.step == step
        assert ckpts.load()["weight"][0].item() == step


def test_a_program_that_forgets_to_close_still_saves(tmp_path):
    """The save under way at the end of a program is finished."""
    script = """
import sys, torch
import model_checkpoint as mc
ckpts = mc.CheckpointManager(sys.argv[1])
ckpts.track(weight=torch.ones(1_000_000))
ckpts.save(1)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script, str(tmp_path / "runs")], check=True)
    with mc.CheckpointManager(tmp_path / "runs") as ckpts:
        assert ckpts.verify("latest").step == 1


def test_ctrl_c_in_a_blocking_save_is_clean(tmp_path):
    """KeyboardInterrupt passes through, nothing half is left, and the block still closes."""
    script = """
import os, signal, sys, threading, torch
import model_checkpoint as mc
from model_checkpoint import _native

signal.signal(signal.SIGINT, signal.default_int_handler)  # who is started in the background inherits that it is ignored
write = _native.write_segments
def slow(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGINT)
    return write(*args, **kwargs)
with mc.CheckpointManager(sys.argv[1]) as ckpts:
    ckpts.track(weight=torch.ones(10))
    ckpts.save(1).result()
    _native.write_segments = slow
    try:
        ckpts.save(2, block=True)
    except KeyboardInterrupt:
        print("interrupted")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "runs")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "interrupted\n"
    assert os.listdir(tmp_path / "runs" / "default").count(".annotations") <= 1
    with mc.CheckpointManager(tmp_path / "runs") as ckpts:
        assert [info.step for info in ckpts.list()] == [1]
    assert not list((tmp_path / "runs").glob(".staging/*"))
