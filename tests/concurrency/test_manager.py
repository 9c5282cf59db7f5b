"""Several managers on one store."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import torch

import model_checkpoint as mc
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database import MetricTable

pytestmark = pytest.mark.concurrency


def run_all(functions):
    """Run functions in threads that start together; raise what one of them raised."""
    barrier, errors = threading.Barrier(len(functions)), []

    def run(function):
        barrier.wait()
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def train(root, experiment, steps, **options):
    weight = torch.zeros(2000)
    with mc.CheckpointManager(root, experiment=experiment, **options) as ckpts:
        ckpts.track(weight=weight)
        for step in range(steps):
            weight.fill_(step)
            ckpts.save(step, metrics={"loss": -step})


def test_two_managers_save_into_one_experiment(tmp_path):
    """Both save the same steps at the same time: every save is a checkpoint of its own, in one commit order."""
    root = tmp_path / "runs"
    run_all([lambda: train(root, "exp", 6), lambda: train(root, "exp", 6)])
    with mc.CheckpointManager(root, experiment="exp") as ckpts:
        infos = ckpts.list()
        assert sorted(info.step for info in infos) == sorted([*range(6)] * 2)
        assert [info.seq for info in infos] == sorted({info.seq for info in infos}, reverse=True)
        for info in infos:
            assert ckpts.load(info.id)["weight"][0].item() == info.step


def test_two_managers_clean_up_one_experiment(tmp_path):
    """Each removes what it does not keep while the other saves: no error, and newest and best are always there."""
    root = tmp_path / "runs"
    options = {"monitor": "loss", "keep": mc.Keep.last(2)}
    run_all([lambda: train(root, "exp", 8, **options), lambda: train(root, "exp", 8, **options)])
    with mc.CheckpointManager(root, experiment="exp") as ckpts:
        infos = ckpts.list()
        assert ckpts.best.step == 7
        assert infos[0].step == 7
        for info in infos:
            ckpts.verify(info.id)
    with Workspace.open(root) as workspace:
        assert {info.id for info in workspace.store.scan().checkpoints} == {info.id for info in infos}


def test_processes_share_a_store(tmp_path):
    """Four processes with an experiment each, created at the same moment, write one catalog."""
    script = """
import sys, torch
import model_checkpoint as mc
with mc.CheckpointManager(sys.argv[1], experiment=sys.argv[2], keep=mc.Keep.last(2)) as ckpts:
    ckpts.track(weight=torch.full((1000,), float(sys.argv[2][-1])))
    for step in range(5):
        ckpts.save(step)
        ckpts.log(step, loss=step)
"""
    root = tmp_path / "runs"
    processes = [subprocess.Popen([sys.executable, "-c", script, str(root), f"exp{n}"]) for n in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    with Workspace.open(root) as workspace:
        assert sorted(info.name for info in workspace.catalog.experiments()) == [f"exp{n}" for n in range(4)]
        for n in range(4):
            assert [info.step for info in workspace.catalog.list(f"exp{n}")] == [4, 3]
            assert MetricTable(workspace.catalog).count(f"exp{n}") == 5
        found = workspace.store.scan()
        assert not found.quarantined
        assert len(found.checkpoints) == 8


def test_an_evaluator_reads_what_a_trainer_cleans_up(tmp_path):
    """Loading "latest" while the trainer saves and removes never fails, and never mixes two steps."""
    root, done, seen = tmp_path / "runs", threading.Event(), []
    train(root, "exp", 1)

    def trainer():
        try:
            train(root, "exp", 25, keep=mc.Keep.last(1))
        finally:
            done.set()

    def evaluator():
        with mc.CheckpointManager(root, experiment="exp") as ckpts:
            while not done.is_set():
                try:
                    state = ckpts.load("latest")
                except mc.CheckpointNotFoundError:
                    continue  # it went between the question and the opening
                seen.append(state["weight"].unique().tolist())

    run_all([trainer, evaluator])
    assert seen
    assert all(len(values) == 1 for values in seen)


def test_late_metrics_and_aliases_from_many_threads_are_all_kept(tmp_path):
    """Remarks of several managers on one checkpoint do not overwrite each other, in the catalog and in the files."""
    root = tmp_path / "runs"
    train(root, "exp", 1)

    def judge(n):
        with mc.CheckpointManager(root, experiment="exp") as ckpts:
            for index in range(5):
                ckpts.attach_metrics("latest", **{f"m{n}{index}": n})
                ckpts.tag("latest", **{f"t{n}": str(index)})
            ckpts.alias("latest", f"alias-{n}")

    run_all([lambda n=n: judge(n) for n in range(3)])
    mc.reindex(root)
    with mc.CheckpointManager(root, experiment="exp") as ckpts:
        info = ckpts.latest
    assert set(info.metrics) == {"loss", *(f"m{n}{index}" for n in range(3) for index in range(5))}
    assert dict(info.tags) == {f"t{n}": "4" for n in range(3)}
    assert info.aliases == ("alias-0", "alias-1", "alias-2")


def test_opening_a_damaged_catalog_at_once_rebuilds_it_once(tmp_path):
    """Many managers that meet a damaged catalog agree on one new one, and lose nothing that is saved meanwhile."""
    root = tmp_path / "runs"
    train(root, "exp", 3)
    for name in ("catalog.db-wal", "catalog.db-shm"):
        (root / name).unlink(missing_ok=True)
    (root / "catalog.db").write_bytes(b"garbage" * 1000)

    def save(n):
        with mc.CheckpointManager(root, experiment="exp") as ckpts:
            ckpts.track(weight=torch.zeros(10))
            ckpts.save(10 + n)

    run_all([lambda n=n: save(n) for n in range(4)])
    with mc.CheckpointManager(root, experiment="exp") as ckpts:
        assert sorted(info.step for info in ckpts.list()) == [0, 1, 2, 10, 11, 12, 13]
    assert len([path for path in root.glob("catalog.db.damaged-*") if path.name.endswith("Z")]) == 1
