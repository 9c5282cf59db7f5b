"""What managers measure: each save, load and verification, from the call to the disk."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import model_checkpoint as mc
from model_checkpoint import CheckpointManager, PerformanceMonitor
from model_checkpoint.events import CheckpointSaved, PerformanceThresholdExceeded
from model_checkpoint.monitoring import SlowerThan, TimingLog
from model_checkpoint.monitoring.operation import Operation
from model_checkpoint.storage import commit as commits
from model_checkpoint.storage import durable
from model_checkpoint.storage.safetensors.plain_file import open_plain

STATE_BYTES = 8 * 1024 * 1024


class Listener(list):
    """Keeps events; may take its time."""

    def __init__(self, seconds=0.0):
        super().__init__()
        self.seconds = seconds

    def emit(self, event):
        time.sleep(self.seconds)
        self.append(event)


def manager(root, **options):
    ckpts = CheckpointManager(root, experiment="gpt2", progress=False, **options)
    ckpts.track(weights={"w": np.ones(STATE_BYTES, np.uint8)})
    return ckpts


def notes(root, kind=None):
    return TimingLog(root).read(kind=kind)


def test_a_background_save_is_measured_in_both_of_its_threads(tmp_path):
    """The copy in the caller's thread, the rest in its own; what the caller does meanwhile is not counted."""
    with manager(tmp_path) as ckpts:
        before = datetime.now(UTC)
        handle = ckpts.save(5)
        saved = handle.result()
    (timing,) = notes(tmp_path)
    assert (timing.kind, timing.experiment, timing.checkpoint, timing.step) == ("save", "gpt2", saved.ref, 5)
    assert timing.nbytes == saved.nbytes > STATE_BYTES
    assert timing.stages.keys() >= {"wait", "snapshot", "hash", "write", "fsync", "commit", "catalog"}
    assert all(timing.stages[stage] > 0 for stage in ("snapshot", "hash", "write", "fsync", "commit", "catalog"))
    assert math.fsum(timing.stages.values()) <= timing.seconds
    assert timing.stages["snapshot"] <= timing.stall_s <= timing.seconds
    assert before - timedelta(seconds=1) <= timing.at <= datetime.now(UTC)


def test_a_foreground_save_makes_the_caller_wait_for_all_of_it(tmp_path):
    """Its stall is the whole of it."""
    with manager(tmp_path) as ckpts:
        ckpts.save(5, block=True)
    (timing,) = notes(tmp_path)
    assert timing.stall_s == pytest.approx(timing.seconds, rel=0.5)
    assert {"hash", "write", "fsync"} <= timing.stages.keys()


def test_the_wait_for_the_save_before_belongs_to_the_stall(tmp_path, monkeypatch):
    """A save that comes too early says that it waited, and for how long."""
    hold, real = threading.Event(), commits._publish

    def publish(*given):
        assert hold.wait(30)
        real(*given)

    monkeypatch.setattr(commits, "_publish", publish)
    with manager(tmp_path) as ckpts:
        ckpts.save(1)
        threading.Timer(0.2, hold.set).start()
        ckpts.save(2)
    first, second = notes(tmp_path)
    assert first.stages["wait"] < 0.1 < second.stages["wait"] <= second.stall_s


def test_slow_syncs_show_as_syncs(tmp_path, monkeypatch):
    """Time goes to the stage that spends it, and to no other."""

    class Slow:
        def __getattr__(self, name):
            return getattr(real, name)

        def sync_directory(self, path):
            time.sleep(0.1)
            real.sync_directory(path)

    real = durable._native
    with manager(tmp_path) as ckpts:
        monkeypatch.setattr(durable, "_native", Slow())
        ckpts.save(1, block=True)
    timing = notes(tmp_path)[-1]
    assert timing.stages["fsync"] >= 0.3
    assert timing.stages["commit"] < 0.1 + timing.stages["fsync"]


def test_writes_that_are_read_back_count_as_verified(tmp_path):
    """Reading them is no load: the stages of a save stay what they were."""
    with manager(tmp_path, verify_writes=True) as ckpts:
        ckpts.save(1, block=True)
    stages = notes(tmp_path)[-1].stages
    assert stages["verify"] > 0
    assert stages.get("read", 0.0) < stages["verify"]


@pytest.mark.parametrize("mmap", [False, True])
def test_a_load_is_measured(tmp_path, mmap):
    """Reading and hashing are told apart, also in a mapping."""
    with manager(tmp_path) as ckpts:
        saved = ckpts.save(5).result()
        ckpts.load(mmap=mmap)
    (timing,) = notes(tmp_path, "load")
    assert (timing.checkpoint, timing.step, timing.nbytes) == (saved.ref, 5, saved.nbytes)
    assert timing.stall_s is None
    assert min(timing.stages["read"], timing.stages["hash"]) > 0
    assert math.fsum(timing.stages.values()) <= timing.seconds


def test_checking_a_mapping_tells_page_faults_from_hashing(tmp_path):
    """The core says of each of its calls what it did: reading is part of a check in place, too."""
    path = tmp_path / "weights.safetensors"
    mc.save_file({"w": np.ones(STATE_BYTES, np.uint8)}, path)
    plain, monitor = open_plain(path), PerformanceMonitor(percentiles=False)
    with monitor.operation("load"):
        plain.map(["w"], "sha256")
    assert monitor.report().of("load").stages.keys() == {"read", "hash"}


def test_a_load_of_one_part_counts_its_own_bytes(tmp_path):
    """A throughput over bytes that nobody read would say nothing."""
    with manager(tmp_path) as ckpts:
        ckpts.track(small={"b": np.ones(10, np.uint8)})
        ckpts.save(1).result()
        ckpts.load(components=["small"])
    assert notes(tmp_path, "load")[0].nbytes < 100_000


def test_resume_and_verify_are_measured(tmp_path):
    """The one is a load into what is there, the other reads every byte."""
    with manager(tmp_path) as ckpts:
        ckpts.save(5)
        ckpts.wait()
        ckpts.resume()
        ckpts.verify()
    save, load, verify = notes(tmp_path)
    assert (save.kind, load.kind, verify.kind) == ("save", "load", "verify")
    assert load.stages["copy"] > 0
    assert verify.stages["hash"] > 0


def test_what_comes_from_the_cache_is_no_load(tmp_path):
    """It reads nothing, and would spoil every throughput."""
    with manager(tmp_path, cache=mc.CheckpointCache(max_bytes=10 * STATE_BYTES)) as ckpts:
        ckpts.save(5)
        ckpts.wait()
        ckpts.load()
        assert ckpts.performance.of("load") is None
    assert notes(tmp_path, "load") == ()


def test_a_failed_save_is_counted_and_not_noted(tmp_path, monkeypatch):
    """A timing of half a save is none."""

    def publish(*_):
        raise mc.StorageError("no")

    monkeypatch.setattr(commits, "_publish", publish)
    with manager(tmp_path) as ckpts:
        with pytest.raises(mc.SaveError):
            ckpts.save(1, block=True)
        figures = ckpts.performance.of("save")
        readings = {reading.name: reading.value for reading in ckpts.performance.gauges}
    assert (figures.count, figures.failures) == (0, 1)
    assert readings["operations_in_flight"] == 0
    assert notes(tmp_path) == ()


def test_listeners_hear_of_thresholds_and_are_measured_themselves(tmp_path):
    """The event comes after the save's own, and a slow listener shows as hook."""
    listener = Listener(seconds=0.02)
    monitor = PerformanceMonitor(percentiles=False, thresholds=[SlowerThan("save", 1e-6)])
    with manager(tmp_path, sinks=[listener], performance=monitor) as ckpts:
        ckpts.save(7)
    saved, exceeded = [event for event in listener if isinstance(event, CheckpointSaved | PerformanceThresholdExceeded)]
    assert saved.checkpoint.step == exceeded.step == 7
    assert (exceeded.experiment, exceeded.kind) == ("gpt2", "save")
    assert notes(tmp_path)[-1].stages["hook"] >= 0.04


def test_two_managers_share_a_monitor(tmp_path):
    """Sums are of both, notes are each store's own, and gauges go with their manager."""
    monitor = PerformanceMonitor()
    with manager(tmp_path / "a", performance=monitor) as a, manager(tmp_path / "b", performance=monitor) as b:
        a.save(1)
        b.save(1)
        a.wait()
        b.wait()
        names = {reading.name: reading.value for reading in monitor.report().gauges}
        assert names["arena_bytes"] >= 2 * STATE_BYTES
    assert monitor.report().of("save").count == 2
    assert "arena_bytes" not in {reading.name for reading in monitor.report().gauges}
    assert len(notes(tmp_path / "a")) == len(notes(tmp_path / "b")) == 1


def test_a_monitor_may_leave_the_store_alone(tmp_path):
    """Without the log nothing is written but checkpoints."""
    with manager(tmp_path, performance=PerformanceMonitor(percentiles=False, log=False)) as ckpts:
        ckpts.save(1)
    assert not (tmp_path / ".timings.jsonl").exists()


def test_questions_are_measured_and_not_noted(tmp_path):
    """They are short and many: the monitor has them, the store does not."""
    pytest.importorskip("duckdb")
    with manager(tmp_path, performance=PerformanceMonitor()) as ckpts:
        ckpts.log(1, loss=0.5)
        ckpts.metrics("loss")
        report = ckpts.performance
    assert report.of("query").stages["query"] > 0
    assert report.stages["query"].count >= 1
    assert notes(tmp_path) == ()


def test_the_operation_of_a_store_without_a_manager_can_be_measured(tmp_path):
    """Functions of the package are measured where somebody asks for it."""
    monitor = PerformanceMonitor()
    with monitor.operation("save") as operation:
        operation.nbytes = mc.save({"w": np.ones(STATE_BYTES, np.uint8)}, tmp_path / "checkpoint").nbytes
    with monitor.operation("load", nbytes=operation.nbytes):
        mc.load(tmp_path / "checkpoint")
    report = monitor.report()
    assert isinstance(operation, Operation)
    assert {"hash", "write", "fsync", "commit"} <= report.of("save").stages.keys()
    assert {"read", "hash"} <= report.of("load").stages.keys()


def test_a_read_only_store_is_loaded_from_all_the_same(tmp_path, caplog):
    """The note is lost, which the log says at DEBUG; the load is not."""
    with manager(tmp_path) as ckpts:
        ckpts.save(1)
        ckpts.wait()
        log = tmp_path / ".timings.jsonl"
        log.unlink()
        log.mkdir()
        with caplog.at_level(logging.DEBUG, logger="model_checkpoint"):
            assert ckpts.load()["weights"]["w"].sum() == STATE_BYTES
    assert "not noted in" in caplog.text
    assert os.listdir(log) == []
