"""The manager over real files, a real catalog and real torch."""

# ruff: noqa: NPY002 - the global random state is what is restored

import errno
import json
import logging
import math
import os
import random
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import model_checkpoint as mc
from model_checkpoint.events import CheckpointSaved, CheckpointTrashed, RetentionFailed, SaveFailed


class Recorder:
    """Remembers all events."""

    def __init__(self):
        self.events = []

    def emit(self, event):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


class Batches:
    """A shuffled loader that can be resumed in the middle of an epoch."""

    def __init__(self, count=11, batch=3):
        self.data = torch.arange(count * 4.0).view(count, 4)
        self.batch = batch
        self.order, self.position = [], 0

    def __next__(self):
        if self.position >= len(self.order):
            self.order, self.position = torch.randperm(len(self.data)).tolist(), 0
        chosen = self.order[self.position : self.position + self.batch]
        self.position += self.batch
        return self.data[chosen]

    def state_dict(self):
        return {"order": self.order, "position": self.position}

    def load_state_dict(self, state):
        self.order, self.position = state["order"], state["position"]


class Training:
    """A small run with everything that has state: dropout, momentum, schedule, shuffling, all three generators."""

    def __init__(self):
        torch.manual_seed(7)
        random.seed(7)
        np.random.seed(7)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1)
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.05)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 40)
        self.data = Batches()
        self.losses = []

    def track(self, ckpts):
        ckpts.track(model=self.model, optimizer=self.optimizer, scheduler=self.scheduler, data=self.data)

    def step(self):
        x = next(self.data)
        noise = random.gauss(0, 0.1) + float(np.random.randn())
        loss = (self.model(x) - x.sum(1, keepdim=True) * 0.01 - noise).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        self.losses.append(loss.item())


@pytest.fixture
def weight():
    return torch.zeros(1000)


@pytest.fixture
def open_manager(tmp_path):
    """Opens managers on one store."""

    def open_manager(**options):
        return mc.CheckpointManager(tmp_path / "runs", **({"experiment": "exp"} | options))

    return open_manager


def steps_of(ckpts):
    return sorted(info.step for info in ckpts.list())


# --- resuming ---------------------------------------------------------------------------------------------------------


def test_a_resumed_run_is_the_run_that_never_stopped(open_manager):
    """Model, optimizer, schedule, shuffled data and random state continue bit for bit, in the middle of an epoch."""
    reference = Training()
    for _ in range(20):
        reference.step()

    first = Training()
    with open_manager() as ckpts:
        first.track(ckpts)
        assert ckpts.resume().next_step == 0
        for step in range(12):
            first.step()
            if step == 10:
                ckpts.save(step)
    assert first.losses == reference.losses[:12]

    second = Training()
    for _ in range(5):  # whatever happened before resuming does not matter
        second.step()
    second.losses.clear()
    with open_manager() as ckpts:
        second.track(ckpts)
        report = ckpts.resume(strict=True)
        assert report.restored == ("model", "optimizer", "scheduler", "data", "rng")
        assert report.is_complete
        for _ in range(report.next_step, 20):
            second.step()
    assert second.losses == reference.losses[11:]
    for name, value in reference.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


def test_nothing_to_resume_is_no_error(open_manager):
    """A new experiment starts at step 0 with an empty report."""
    with open_manager() as ckpts:
        ckpts.track(model=torch.nn.Linear(1, 1))
        report = ckpts.resume()
    assert (report.next_step, report.step, report.restored, report.checkpoint) == (0, None, (), None)


def test_a_named_reference_must_exist(open_manager):
    """Only "latest" may find nothing; a reference that was asked for must be there."""
    with open_manager() as ckpts:
        ckpts.track(model=torch.nn.Linear(1, 1))
        with pytest.raises(mc.CheckpointNotFoundError):
            ckpts.resume("best")
        with pytest.raises(mc.CheckpointNotFoundError):
            ckpts.load()


def test_resume_can_go_back(open_manager, weight):
    """resume(ref) restores an older checkpoint, and what is saved then names it as its parent."""
    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        for step in range(3):
            weight.fill_(step)
            ckpts.save(step).result()
        report = ckpts.resume(1)
        assert (report.step, weight[0].item()) == (1, 1.0)
        child = ckpts.save(2).result()
        assert child.parent == report.checkpoint.id
        assert [info.step for info in ckpts.list()] == [2, 2, 1, 0]


def test_a_mismatch_is_reported_or_raised(open_manager):
    """Without strict, what fits is restored and the rest is named; with it, nothing changes."""
    with open_manager() as ckpts:
        ckpts.track(model=torch.nn.Linear(2, 2), extra={"a": 1})
        ckpts.save(0).result()
    other = torch.nn.Linear(2, 3)
    with open_manager() as ckpts:
        ckpts.track(model=other, ema=torch.zeros(1))
        with pytest.raises(mc.StateMismatchError, match="nothing was changed"):
            ckpts.resume(strict=True)
        report = ckpts.resume()
    assert report.missing == ("ema",)
    assert report.unexpected == ("extra",)
    assert len(report.changed) == 2


def test_a_damaged_checkpoint_is_not_resumed(open_manager, weight, tmp_path):
    """One flipped bit fails the resume, names file and tensor, and changes nothing; the one before still loads."""
    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        for step in (1, 2):
            weight.fill_(step)
            info = ckpts.save(step).result()
    path = next((tmp_path / "runs" / info.path).glob("*.safetensors"))
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(raw)
    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        with pytest.raises(mc.CorruptionError) as caught:
            ckpts.resume()
        assert any("exp:1-" in note for note in caught.value.__notes__)
        assert weight[0].item() == 2.0
        assert ckpts.resume(1).step == 1
        assert weight[0].item() == 1.0


# --- saving -----------------------------------------------------------------------------------------------------------


def test_what_changes_after_save_returned_is_not_saved(open_manager):
    """The snapshot is taken before save() returns: tensors, arrays, numbers and random state alike."""
    tensor, strided, array = torch.ones(5000), torch.ones(40, 50).t(), np.ones(300)
    meta = {"epoch": 1, "list": [1, 2]}
    with open_manager() as ckpts:
        ckpts.track(t=tensor, s=strided, a=array, meta=meta)
        expected = None
        for step in range(5):
            handle = ckpts.save(step)
            expected = random.random()
            tensor.fill_(-step)
            strided.fill_(-step)
            array[...] = -step
            meta["epoch"] = -step
            meta["list"].append(step)
            handle.result()
            state = ckpts.load(step)
            before = 1 if step == 0 else 1 - step
            assert (
                set(state["t"].tolist()) == set(state["s"].flatten().tolist()) == set(state["a"].tolist()) == {before}
            )
            assert state["meta"]["epoch"] == before
            assert len(state["meta"]["list"]) == 2 + step
            assert state["s"].shape == (50, 40)
        ckpts.resume()
        assert random.random() == expected


def test_save_returns_before_it_is_written(open_manager, weight, monkeypatch):
    """The write happens behind the caller; result() gives the checkpoint, and log and events tell of it."""
    gate, recorder = hold_writes(monkeypatch), Recorder()
    with open_manager(sinks=(recorder,)) as ckpts:
        ckpts.track(weight=weight)
        handle = ckpts.save(5, metrics={"loss": 0.5}, metadata={"who": "me"}, tags={"k": "v"}, alias="first")
        assert not handle.done()
        assert not handle.wait(0.01)
        assert ckpts.latest is None
        assert ckpts.list() == ()
        gate.set()
        info = handle.result(30)
        assert handle.done()
        assert ckpts.latest == ckpts.info("first") == ckpts.info(info.id) == info
    assert (info.step, dict(info.metrics), dict(info.tags), info.aliases) == (5, {"loss": 0.5}, {"k": "v"}, ("first",))
    event = recorder.of(CheckpointSaved)[0]
    assert (event.checkpoint.id, event.background) == (info.id, True)


def hold_writes(monkeypatch):
    """Lets no tensor be written until the event is set."""
    from model_checkpoint import _native

    gate, write = threading.Event(), _native.write_segments

    def held(*args, **kwargs):
        assert gate.wait(30)
        return write(*args, **kwargs)

    monkeypatch.setattr(_native, "write_segments", held)
    return gate


def test_a_busy_manager_waits(open_manager, weight, monkeypatch):
    """With when_busy="wait" a second save begins when the first has ended; both are kept."""
    gate = hold_writes(monkeypatch)
    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        first = ckpts.save(1)
        threading.Timer(0.05, gate.set).start()
        second = ckpts.save(2)
        assert first.done()
        assert second.result().step == 2
        assert steps_of(ckpts) == [1, 2]


def test_a_busy_manager_skips(open_manager, weight, monkeypatch):
    """With when_busy="skip" a second save is given up at once, and says so."""
    gate = hold_writes(monkeypatch)
    with open_manager(when_busy="skip") as ckpts:
        ckpts.track(weight=weight)
        first = ckpts.save(1)
        second = ckpts.save(2)
        assert second.done()
        with pytest.raises(mc.SaveSkippedError):
            second.result()
        gate.set()
        first.result()
        third = ckpts.save(3)
        third.result()
        assert steps_of(ckpts) == [1, 3]


def test_block_writes_before_it_returns(open_manager, weight):
    """save(block=True) takes no copy, and the handle that it returns is done."""
    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        handle = ckpts.save(1, block=True)
        assert handle.done()
        assert ckpts.latest == handle.result()


def test_beyond_the_memory_budget_saves_block(open_manager, weight):
    """A state larger than the budget is written from the tensors themselves, before save() returns."""
    recorder = Recorder()
    with open_manager(memory_budget_bytes=1000, sinks=(recorder,)) as ckpts:
        ckpts.track(weight=weight)
        assert ckpts.save(1).done()
        assert torch.equal(ckpts.load(1)["weight"], weight)
    assert [event.background for event in recorder.of(CheckpointSaved)] == [False]


def test_files_are_stored_beside_the_tensors(open_manager, weight, tmp_path):
    """files= puts bytes and copies of files into the checkpoint's directory."""
    (tmp_path / "tokens.txt").write_text("a b c")
    with open_manager() as ckpts:
        ckpts.track(model=torch.nn.Linear(2, 2))
        info = ckpts.save(1, files={"config.json": b"{}", "tokens.txt": tmp_path / "tokens.txt"}).result()
    directory = tmp_path / "runs" / info.path
    assert (directory / "config.json").read_bytes() == b"{}"
    assert (directory / "tokens.txt").read_text() == "a b c"
    assert sorted(mc.load_file(directory / "model.safetensors")) == ["bias", "weight"]


def test_equal_steps_are_two_checkpoints(open_manager, weight):
    """Saving a step again keeps both; the step means the newer one."""
    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        first = ckpts.save(1).result()
        weight.fill_(1)
        second = ckpts.save(1).result()
        assert ckpts.info(1) == second
        assert {info.id for info in ckpts.list()} == {first.id, second.id}


@pytest.mark.parametrize("step", [-1, 1.5, "1", True, None])
def test_a_step_is_a_number_from_zero(open_manager, weight, step):
    """Other steps are refused before anything is written."""
    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        with pytest.raises(mc.ConfigurationError, match="step"):
            ckpts.save(step)


def test_a_manager_without_parts_has_nothing_to_save(open_manager):
    """Saving before track() is a mistake, and so is a part of a reserved or impossible name, or one that is tracked."""
    with open_manager() as ckpts:
        with pytest.raises(mc.ConfigurationError, match="track"):
            ckpts.save(1)
        for name in ("rng", "a/b", ".hidden"):
            with pytest.raises(mc.ConfigurationError):
                ckpts.track(**{name: torch.zeros(1)})
        ckpts.track(w=torch.zeros(1))
        with pytest.raises(mc.ConfigurationError, match="already"):
            ckpts.track(w=torch.zeros(1))


def test_unsupported_state_is_found_before_save_returns(open_manager):
    """A value that cannot be stored raises at once, with its path, and leaves the manager as it was."""

    class Odd:
        value = object()

        def state_dict(self):
            return {"hook": self.value}

        def load_state_dict(self, state):
            pass

    odd = Odd()
    with open_manager() as ckpts:
        ckpts.track(odd=odd)
        with pytest.raises(mc.UnsupportedStateError, match=r"odd\.hook"):
            ckpts.save(1)
        odd.value = 3
        assert ckpts.save(2).result().step == 2


def test_a_closed_manager_refuses(open_manager, weight):
    """After close() every call raises; closing twice is fine."""
    ckpts = open_manager()
    ckpts.track(weight=weight)
    ckpts.close()
    ckpts.close()
    for call in (lambda: ckpts.save(1), ckpts.list, ckpts.load, ckpts.resume, lambda: ckpts.log(1, a=1)):
        with pytest.raises(mc.ConfigurationError, match="closed"):
            call()


# --- failures ---------------------------------------------------------------------------------------------------------


def fail_writes(monkeypatch, error):
    """Makes the next write of tensors fail."""
    from model_checkpoint import _native

    write, pending = _native.write_segments, [error]

    def failing(*args, **kwargs):
        if pending:
            raise pending.pop()
        return write(*args, **kwargs)

    monkeypatch.setattr(_native, "write_segments", failing)


def test_a_failed_save_is_raised_at_the_next_call(open_manager, weight, monkeypatch, tmp_path):
    """Whatever is called next hears of it, once; earlier checkpoints and later saves are fine."""
    recorder = Recorder()
    with open_manager(sinks=(recorder,)) as ckpts:
        ckpts.track(weight=weight)
        ckpts.save(1).result()
        fail_writes(monkeypatch, mc.DiskFullError("no space left", path="x"))
        ckpts.save(2).wait()
        with pytest.raises(mc.SaveError, match="step 2 was not saved: no space left") as caught:
            ckpts.list()
        assert isinstance(caught.value.__cause__, mc.DiskFullError)
        assert ckpts.save(3).result().step == 3
        assert steps_of(ckpts) == [1, 3]
        ckpts.load(1)
    assert [type(event.error) for event in recorder.of(SaveFailed)] == [mc.DiskFullError]
    assert not list((tmp_path / "runs").glob(".staging/*"))


def test_a_failed_save_is_raised_at_close(open_manager, weight, monkeypatch):
    """The last save's failure leaves the with block as an exception."""
    fail_writes(monkeypatch, mc.DiskFullError("no space left"))
    with pytest.raises(mc.SaveError, match="step 1"), open_manager() as ckpts:
        ckpts.track(weight=weight)
        ckpts.save(1)


def test_a_failed_save_does_not_hide_the_users_exception(open_manager, weight, monkeypatch, caplog):
    """If the block fails itself, that is what is raised, and the failed save is logged."""
    fail_writes(monkeypatch, mc.DiskFullError("no space left"))
    with pytest.raises(ZeroDivisionError), open_manager() as ckpts:
        ckpts.track(weight=weight)
        ckpts.save(1)
        1 / 0  # noqa: B018
    assert "exp:step-1 was not saved: no space left" in caplog.text


def test_an_exception_in_the_block_still_ends_the_save(open_manager, weight):
    """The save under way is finished before the exception leaves the block."""
    with pytest.raises(ZeroDivisionError), open_manager() as ckpts:
        ckpts.track(weight=weight)
        ckpts.save(1)
        1 / 0  # noqa: B018
    with open_manager() as ckpts:
        assert steps_of(ckpts) == [1]


def test_a_failure_that_the_handle_told_is_not_raised_again(open_manager, weight, monkeypatch):
    """Who caught it at the handle goes on."""
    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        fail_writes(monkeypatch, mc.DiskFullError("no space left"))
        with pytest.raises(mc.SaveError):
            ckpts.save(1).result()
        assert ckpts.list() == ()


def test_a_full_disk_leaves_what_there_was(weight, tmp_path):
    """On a file system without room the save fails with DiskFullError; the one before loads, the next one works."""
    small = tmp_path / "small"
    small.mkdir()
    if os.system(f"mount -t tmpfs -o size=12m tmpfs {small} 2>/dev/null") != 0:
        pytest.skip("cannot mount a file system here")
    try:
        big = torch.zeros(1_000_000)
        with mc.CheckpointManager(small / "runs") as ckpts:
            ckpts.track(w=weight, big=big)
            first = ckpts.save(1).result()
            (small / "filler").write_bytes(bytes(7 << 20))
            with pytest.raises(mc.SaveError) as caught:
                ckpts.save(2).result()
            assert isinstance(caught.value.__cause__, mc.DiskFullError)
            assert ckpts.verify(first.id).id == first.id
            (small / "filler").unlink()
            assert ckpts.save(3).result().step == 3
    finally:
        os.system(f"umount {small}")


def test_a_sink_that_raises_costs_nothing(open_manager, weight, caplog):
    """Listeners' errors are logged; the save is not theirs to fail."""

    class Broken:
        def emit(self, event):
            raise RuntimeError("deaf")

    with open_manager(sinks=(Broken(),)) as ckpts:
        ckpts.track(weight=weight)
        assert ckpts.save(1).result().step == 1
    assert "deaf" in caplog.text


# --- keeping ----------------------------------------------------------------------------------------------------------


def test_a_worsening_run_keeps_the_best_and_the_newest(open_manager, weight):
    """Over 30 saves of a metric that only gets worse, best(2) | last(1) keeps 0, 1 and always the newest."""
    with open_manager(monitor="loss", keep=mc.Keep.best(2) | mc.Keep.last(1)) as ckpts:
        ckpts.track(weight=weight)
        for step in range(30):
            weight.fill_(step)
            ckpts.save(step, metrics={"loss": float(step)})
            assert ckpts.info("latest").step == step
        assert steps_of(ckpts) == [0, 1, 29]
        assert ckpts.best.step == 0
        weight.zero_()
        assert ckpts.resume().next_step == 30
        assert weight[0].item() == 29


def test_nan_is_never_the_best(open_manager, weight):
    """NaN is stored as such, and neither is the best nor keeps anything."""
    with open_manager(monitor="loss", keep=mc.Keep.best(1)) as ckpts:
        ckpts.track(weight=weight)
        for step, loss in enumerate([2.0, math.nan, 1.0, math.nan, 3.0]):
            ckpts.save(step, metrics={"loss": loss}).result()
        ckpts.wait()
        assert ckpts.best.step == 2
        assert steps_of(ckpts) == [2, 4]
        info = ckpts.save(5, metrics={"loss": math.nan}).result()
        assert math.isnan(ckpts.info(info.id).metrics["loss"])


def test_pins_aliases_and_the_resumed_one_are_kept(open_manager, weight):
    """last(1) leaves what was pinned, named, or resumed from."""
    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        for step in range(5):
            ckpts.save(step).result()
        ckpts.pin(0)
        ckpts.alias(1, "prod")
    with open_manager(keep=mc.Keep.last(1)) as ckpts:
        ckpts.track(weight=weight)
        ckpts.resume(2)
        ckpts.save(9).result()
        ckpts.wait()
        assert steps_of(ckpts) == [0, 1, 2, 9]
        ckpts.unpin(0)
        ckpts.unalias("prod")
        ckpts.save(10).result()
        ckpts.wait()
        assert steps_of(ckpts) == [2, 10]


def test_a_dry_run_says_why_and_removes_nothing(open_manager, weight):
    """prune() gives reasons for each checkpoint; only dry_run=False removes."""
    with open_manager(monitor="loss") as ckpts:
        ckpts.track(weight=weight)
        for step in range(4):
            ckpts.save(step, metrics={"loss": abs(step - 1)}).result()
        plan = ckpts.prune(keep=mc.Keep.last(2))
        assert {d.checkpoint.step: d.reasons for d in plan.decisions} == {
            0: (),
            1: ("best",),
            2: ("last(2)",),
            3: ("latest", "last(2)"),
        }
        assert steps_of(ckpts) == [0, 1, 2, 3]
        assert plan.freed_bytes == ckpts.info(0).nbytes
        assert ckpts.prune(keep=mc.Keep.last(2), dry_run=False) == plan
        assert steps_of(ckpts) == [1, 2, 3]


def test_what_somebody_reads_is_kept(open_manager, weight, tmp_path):
    """A checkpoint whose manifest is locked by a reader is in use."""
    from model_checkpoint.storage.contents import open_contents

    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        infos = [ckpts.save(step).result() for step in range(3)]
        reader = open_contents(tmp_path / "runs" / infos[0].path)
        plan = ckpts.prune(keep=mc.Keep.last(1), dry_run=False)
        assert plan.reasons(infos[0].id) == ("in use",)
        assert steps_of(ckpts) == [0, 2]
        del reader
        ckpts.prune(keep=mc.Keep.last(1), dry_run=False)
        assert steps_of(ckpts) == [2]


def test_a_failing_cleanup_fails_no_save(open_manager, weight):
    """A cleanup that would remove too much at once is refused, told, and the save stands."""
    recorder = Recorder()
    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        for step in range(13):
            ckpts.save(step).result()
    with open_manager(keep=mc.Keep.last(1), sinks=(recorder,)) as ckpts:
        ckpts.track(weight=weight)
        assert ckpts.save(99).result().step == 99
        ckpts.wait()
        assert len(ckpts.list()) == 14
        assert isinstance(recorder.of(RetentionFailed)[0].error, mc.RetentionError)
        with pytest.raises(mc.RetentionError):
            ckpts.prune(dry_run=False)
        assert len(ckpts.prune(dry_run=False, force=True).removed) == 13
        assert steps_of(ckpts) == [99]


def test_removed_checkpoints_wait_in_the_trash(open_manager, weight, tmp_path):
    """With trash_for_s a removed checkpoint can come back, with all that was said of it."""
    recorder = Recorder()
    with open_manager(trash_for_s=3600, keep=mc.Keep.last(1), sinks=(recorder,)) as ckpts:
        ckpts.track(weight=weight)
        first = ckpts.save(0, metrics={"loss": 1.0}, tags={"a": "b"}).result()
        ckpts.save(1).result()
        ckpts.wait()
        assert steps_of(ckpts) == [1]
        assert [event.checkpoint.id for event in recorder.of(CheckpointTrashed)] == [first.id]
        assert not (tmp_path / "runs" / first.path).exists()
        assert ckpts.restore(first.id) == first
        assert steps_of(ckpts) == [0, 1]
        assert torch.equal(ckpts.load(0)["weight"], weight)


def test_without_trash_time_the_bytes_are_gone(open_manager, weight, tmp_path):
    """trash_for_s=0 frees the space at once."""
    with open_manager(keep=mc.Keep.last(1)) as ckpts:
        ckpts.track(weight=weight)
        ckpts.save(0).result()
        ckpts.save(1).result()
    assert list((tmp_path / "runs").glob(".trash/*")) == []


# --- asking -----------------------------------------------------------------------------------------------------------


def test_best_and_latest_survive_a_restart(open_manager, weight):
    """Best is a question to the catalog: a new manager without monitor still knows it from the experiment."""
    with open_manager(monitor="acc", mode="max") as ckpts:
        ckpts.track(weight=weight)
        for step, acc in enumerate([0.1, 0.9, 0.5]):
            ckpts.save(step, metrics={"acc": acc})
    with open_manager() as ckpts:
        assert (ckpts.best.step, ckpts.latest.step) == (1, 2)
        assert ckpts.info("best") == ckpts.best
        assert ckpts.info("best@acc:min").step == 0


def test_a_moved_root_has_all_it_had(open_manager, weight, tmp_path):
    """After moving the directory: best, latest, pins, aliases, late metrics and resume work."""
    with open_manager(monitor="loss") as ckpts:
        ckpts.track(weight=weight)
        for step in range(3):
            weight.fill_(step)
            ckpts.save(step, metrics={"loss": 1.0 + step}).result()
        ckpts.alias(1, "prod")
        ckpts.pin(0)
        ckpts.attach_metrics(2, loss=0.5)
        before = ckpts.list()
    shutil.move(tmp_path / "runs", tmp_path / "elsewhere")
    with mc.CheckpointManager(tmp_path / "elsewhere", experiment="exp") as ckpts:
        ckpts.track(weight=weight)
        assert ckpts.list() == before
        assert (ckpts.best.step, ckpts.latest.step, ckpts.info("prod").step) == (2, 2, 1)
        weight.zero_()
        assert ckpts.resume().step == 2
        assert weight[0].item() == 2


def test_late_metrics_change_what_is_best(open_manager, weight):
    """A metric that is measured after the save counts as one that was given to it."""
    with open_manager(monitor="acc", mode="max") as ckpts:
        ckpts.track(weight=weight)
        for step in range(3):
            ckpts.save(step).result()
        assert ckpts.best is None
        ckpts.attach_metrics("latest", acc=0.5)
        ckpts.attach_metrics(1, acc=0.7, f1=0.1)
        assert ckpts.best.step == 1
        assert dict(ckpts.info(1).metrics) == {"acc": 0.7, "f1": 0.1}


def test_an_alias_moves_and_goes(open_manager, weight):
    """One alias names one checkpoint; unalias takes it away for good, also after a reindex."""
    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        for step in range(2):
            ckpts.save(step).result()
        ckpts.alias(0, "prod")
        ckpts.alias(1, "prod")
        assert ckpts.info("prod").step == 1
        assert ckpts.info(0).aliases == ()
        ckpts.unalias("prod")
        with pytest.raises(mc.CheckpointNotFoundError):
            ckpts.info("prod")
        root = ckpts.root
    mc.reindex(root)
    with open_manager() as ckpts, pytest.raises(mc.CheckpointNotFoundError):
        ckpts.info("prod")


@pytest.fixture
def interrupted_move(open_manager, weight, monkeypatch):
    """A store where "prod" went from 0 to 1, and the process died before 0 was told."""
    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        for step in range(3):
            ckpts.save(step).result()
        ckpts.alias(0, "prod")
        with monkeypatch.context() as patch:
            patch.setattr("model_checkpoint.checkpoint.remarks.Remarks._drop_alias", lambda *_: None)
            ckpts.alias(1, "prod")
        return ckpts.root


def test_an_alias_stays_away_although_its_last_move_was_interrupted(interrupted_move, open_manager):
    """A power cut between the two annotations of a move left a claim, which a reindex found after unalias()."""
    with open_manager() as ckpts:
        ckpts.unalias("prod")
    mc.reindex(interrupted_move)
    with open_manager() as ckpts, pytest.raises(mc.CheckpointNotFoundError):
        ckpts.info("prod")


def test_restoring_a_checkpoint_does_not_bring_back_a_name_that_has_moved_on(interrupted_move, open_manager):
    """The claim of the checkpoint that comes back from the trash is older than that of the one that has the name."""
    with open_manager(trash_for_s=1000) as ckpts:
        ckpts.prune(dry_run=False, keep=mc.Keep.last(1))
        assert [info.step for info in ckpts.list()] == [2, 1]
        ckpts.restore(0)
        assert ckpts.info("prod").step == 1


def test_what_was_said_by_somebody_who_was_killed_is_heard_when_a_store_is_opened(open_manager, weight, monkeypatch):
    """A pin whose process died before the catalog was told: `ls` and `best` knew nothing of it until a cleanup."""
    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        for step in range(2):
            ckpts.save(step, metrics={"loss": step}).result()
        with monkeypatch.context() as patch:
            patch.setattr("model_checkpoint.checkpoint.workspace.Workspace.retell", lambda _, known: ckpts.info(0))
            ckpts.pin(0)
            ckpts.attach_metrics(0, acc=0.5)
            ckpts.tag(0, k="v")
            ckpts.alias(0, "prod")
        assert not ckpts.info(0).pinned
    with open_manager() as ckpts:
        info = ckpts.info("prod")
        assert (info.step, info.pinned, dict(info.metrics), dict(info.tags)) == (
            0,
            True,
            {"loss": 0, "acc": 0.5},
            {"k": "v"},
        )


def test_a_damaged_annotation_does_not_keep_a_store_from_being_opened(open_manager, weight):
    """It says nothing; the checkpoint is as the catalog has it."""
    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        ckpts.save(0).result()
        ckpts.pin(0)
        (path,) = Path(ckpts.root, ckpts.experiment, ".annotations").glob("*.json")
    path.write_text("{")
    with open_manager() as ckpts:
        assert ckpts.info(0).pinned


def test_tags_are_texts_that_can_be_changed(open_manager, weight):
    """tag() adds and replaces."""
    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        ckpts.save(0, tags={"a": "1"}).result()
        ckpts.tag("latest", a="2", b="3")
        assert dict(ckpts.latest.tags) == {"a": "2", "b": "3"}


def test_verify_reads_every_byte_and_remembers(open_manager, weight, tmp_path):
    """verify() stamps an intact checkpoint; a damaged one raises and keeps no stamp."""
    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        good, bad = ckpts.save(0).result(), ckpts.save(1).result()
        assert good.verified_at is None
        assert ckpts.verify(0).verified_at is not None
        assert ckpts.info(0).verified_at is not None
        path = next((tmp_path / "runs" / bad.path).glob("*.safetensors"))
        path.chmod(0o644)
        raw = bytearray(path.read_bytes())
        raw[-2000] ^= 4
        path.write_bytes(raw)
        with pytest.raises(mc.CorruptionError):
            ckpts.verify(1)
        assert ckpts.info(1).verified_at is None


def test_a_load_that_checks_everything_counts_as_verification(open_manager, weight):
    """A whole, full load stamps the checkpoint; a part of it, or a weaker check, does not."""
    with open_manager() as ckpts:
        ckpts.track(weight=weight, other=[1])
        for step in range(4):
            ckpts.save(step).result()
        ckpts.load(0)
        ckpts.load(1, verify="fast")
        ckpts.load(2, components=["other"])
        ckpts.load(2, into={"weight": weight})
        ckpts.resume(3)
        assert [info.verified_at is not None for info in ckpts.list()] == [True, False, False, True]


def test_a_forked_child_dies_by_sigterm(open_manager):
    """Worker processes that inherit the handler are not the ones that save and stop."""
    import signal

    with open_manager(on_sigterm="flag") as ckpts:
        child = os.fork()
        if child == 0:
            signal.raise_signal(signal.SIGTERM)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        assert not ckpts.stopping


def test_should_save_asks_the_policy(open_manager, weight):
    """The policy knows the saves of this run, also while one is under way."""
    policy = mc.SaveWhen.every(steps=10) | mc.SaveWhen.improved()
    with open_manager(monitor="loss", save_when=policy) as ckpts:
        ckpts.track(weight=weight)
        saved = []
        for step in range(25):
            metrics = {"loss": 5.0 if step != 13 else 1.0}
            if ckpts.should_save(step, metrics):
                ckpts.save(step, metrics=metrics)
                saved.append(step)
        assert saved == [0, 10, 13, 20]
    with open_manager() as ckpts, pytest.raises(mc.ConfigurationError, match="save_when"):
        ckpts.should_save(1)


def test_logged_metrics_reach_the_catalog(open_manager, weight, tmp_path):
    """log() keeps series; they are there after close()."""
    from model_checkpoint.database import Catalog, MetricTable

    with open_manager() as ckpts:
        for step in range(5):
            ckpts.log(step, loss=step / 2, lr=torch.tensor(0.1))
    with Catalog.open(tmp_path / "runs") as catalog:
        table = MetricTable(catalog)
        names = {number: key.name for number, key in table.series("exp").items()}
        points = [(names[series], step, value) for _, series, step, value, *_ in table.points("exp").tolist()]
    assert [(step, value) for name, step, value in points if name == "loss"] == [(s, s / 2) for s in range(5)]


# --- loading ----------------------------------------------------------------------------------------------------------


def test_load_by_every_kind_of_reference(open_manager, weight):
    """latest, best, a step, an alias, an id and its beginning name checkpoints; others are not found."""
    with open_manager(monitor="loss") as ckpts:
        ckpts.track(weight=weight)
        for step in range(3):
            weight.fill_(step)
            info = ckpts.save(step, metrics={"loss": -step}, alias=f"v{step}").result()
        for ref in ("latest", "best", 2, "2", "v2", info.id, info.id[:8], info.ref, "exp:2"):
            assert ckpts.load(ref)["weight"][0].item() == 2, ref
        with pytest.raises(mc.CheckpointNotFoundError, match="9999"):
            ckpts.load(9999)


def test_load_some_components(open_manager, weight):
    """components= reads only what is asked for."""
    with open_manager() as ckpts:
        ckpts.track(weight=weight, other=torch.ones(3))
        ckpts.save(0).result()
        assert list(ckpts.load(components=["other"])) == ["other"]


def test_load_into_fills_in_place(open_manager):
    """into= changes the objects given."""
    model = torch.nn.Linear(2, 2)
    with open_manager() as ckpts:
        ckpts.track(model=model)
        ckpts.save(0).result()
        other = torch.nn.Linear(2, 2)
        weight = other.weight
        ckpts.load(into={"model": other})
    assert torch.equal(weight, model.weight)
    assert other.weight is weight


def test_the_cache_answers_without_reading(open_manager, weight, tmp_path):
    """What was saved or loaded lately comes back although its files are gone, and cannot be corrupted by anyone."""
    cache = mc.CheckpointCache(10_000_000)
    with open_manager(cache=cache) as ckpts:
        ckpts.track(weight=weight)
        info = ckpts.save(0).result()
        ckpts.wait()
        for path in (tmp_path / "runs" / info.path).glob("*.safetensors"):
            path.unlink()
        first = ckpts.load()
        first["weight"].fill_(9)
        assert torch.equal(ckpts.load()["weight"], torch.zeros(1000))
        assert cache.stats.hits == 2
        with pytest.raises(mc.CorruptionError):
            ckpts.verify("latest")


# --- the store --------------------------------------------------------------------------------------------------------


def rows(root):
    from model_checkpoint.database import Catalog

    with Catalog.open(root) as catalog:
        return catalog.list(), catalog.experiments()


def test_reindex_rebuilds_the_catalog_identically(open_manager, weight, tmp_path):
    """From the files alone: metrics, pins, aliases, tags, late metrics, verification times and settings."""
    with open_manager(monitor="loss", mode="min", keep=mc.Keep.last(50) | mc.Keep.best(2)) as ckpts:
        ckpts.track(weight=weight)
        for step in range(4):
            ckpts.save(step, metrics={"loss": math.nan if step == 2 else step}, tags={"n": str(step)}).result()
        ckpts.pin(0)
        ckpts.alias(1, "prod")
        ckpts.attach_metrics(3, acc=0.5, loss=7.0)
        ckpts.verify(2)
        ckpts.resume(1)
        ckpts.save(5, alias="last").result()
    before = rows(tmp_path / "runs")
    for name in ("catalog.db", "catalog.db-wal", "catalog.db-shm"):
        (tmp_path / "runs" / name).unlink(missing_ok=True)
    mc.reindex(tmp_path / "runs")
    after = rows(tmp_path / "runs")
    assert str(after) == str(before)  # as text: NaN is not equal to itself
    assert len(after[0]) == 5


@pytest.mark.parametrize("damage", ["missing", "garbage", "torn"])
def test_a_damaged_catalog_is_rebuilt_at_open(open_manager, weight, tmp_path, damage, caplog):
    """A manager repairs it from the manifests, says so, and keeps the damaged file aside."""
    with open_manager(monitor="loss") as ckpts:
        ckpts.track(weight=weight)
        for step in range(3):
            ckpts.save(step, metrics={"loss": step}).result()
        ckpts.alias(1, "prod")
        before = ckpts.list()
    catalog = tmp_path / "runs" / "catalog.db"
    for name in ("catalog.db-wal", "catalog.db-shm"):
        (tmp_path / "runs" / name).unlink(missing_ok=True)
    if damage == "missing":
        catalog.unlink()
    elif damage == "garbage":
        catalog.write_bytes(b"not a database at all" * 100)
    else:
        raw = catalog.read_bytes()
        catalog.write_bytes(raw[:4096] + os.urandom(len(raw) - 4096))
    caplog.set_level(logging.WARNING)
    with open_manager() as ckpts:
        assert ckpts.list() == before
        assert ckpts.info("prod").step == 1
        assert ckpts.best.step == 0
    assert "rebuilt" in caplog.text
    kept = list((tmp_path / "runs").glob("catalog.db.damaged-*"))
    assert bool(kept) == (damage != "missing")


def test_what_the_catalog_missed_is_adopted(open_manager, weight, tmp_path):
    """A checkpoint that was committed but never recorded (a crash in between) is there at the next open."""
    from model_checkpoint.database import Catalog

    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        infos = [ckpts.save(step).result() for step in range(3)]
        ckpts.tag(2, a="b")
        expected = ckpts.list()
    with Catalog.open(tmp_path / "runs") as catalog:
        catalog.remove([infos[1].id, infos[2].id])
    with open_manager() as ckpts:
        assert ckpts.list() == expected


def test_what_the_catalog_has_can_be_loaded_from_a_full_disk(open_manager, weight, tmp_path, monkeypatch, caplog):
    """A save that was refused after its rename cannot be adopted then: it kept the store from being opened."""
    from model_checkpoint.database import Catalog

    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        infos = [ckpts.save(step).result() for step in range(2)]
    with Catalog.open(tmp_path / "runs") as catalog:
        catalog.remove([infos[1].id])

    def refuse(catalog, *_, **__):
        raise mc.DiskFullError("cannot write the catalog", path=catalog.location, errno=errno.ENOSPC)

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(Catalog, "add", refuse)
        with open_manager() as ckpts:
            assert ckpts.latest == infos[0]
            assert (ckpts.load(0)["weight"] == weight).all()
    assert "does not have all that is there" in caplog.text
    with open_manager() as ckpts:
        assert ckpts.latest == infos[1]


def test_a_sync_that_fails_when_a_store_is_opened_is_raised(open_manager, weight, tmp_path, monkeypatch):
    """A disk without room is no reason to trust what may not be durable: it was only logged."""
    from model_checkpoint.database import Catalog
    from model_checkpoint.storage.store import Store

    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        info = ckpts.save(0).result()
    with Catalog.open(tmp_path / "runs") as catalog:
        catalog.remove([info.id])

    def refuse(store, experiment):
        raise mc.DiskFullError("cannot sync the directory", path=f"{store.root}/{experiment}", errno=errno.ENOSPC)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "settle", refuse)
        with pytest.raises(mc.DiskFullError, match="cannot sync"):
            open_manager()
    with open_manager() as ckpts:
        assert ckpts.latest == info


def test_what_the_store_lost_is_marked(open_manager, weight, tmp_path):
    """A row whose directory is gone is LOST, no longer the latest, and committed again when the directory is back."""
    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        infos = [ckpts.save(step).result() for step in range(2)]
    shutil.move(tmp_path / "runs" / infos[1].path, tmp_path / "hidden")
    with open_manager() as ckpts:
        assert ckpts.latest.step == 0
        with pytest.raises(mc.CheckpointNotFoundError, match="lost"):
            ckpts.load(1)
    shutil.move(tmp_path / "hidden", tmp_path / "runs" / infos[1].path)
    with open_manager() as ckpts:
        assert ckpts.latest == infos[1]


def test_a_directory_with_a_bad_manifest_is_left_alone(open_manager, weight, tmp_path, caplog):
    """Nothing is removed that cannot be read: it is reported, and not offered."""
    with open_manager() as ckpts:
        ckpts.track(weight=weight)
        infos = [ckpts.save(step).result() for step in range(2)]
    manifest = tmp_path / "runs" / infos[1].path / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text(manifest.read_text().replace('"step":1', '"step":7').replace('"step": 1', '"step": 7'))
    mc.reindex(tmp_path / "runs")
    with open_manager() as ckpts:
        assert steps_of(ckpts) == [0]
    assert manifest.exists()
    assert infos[1].path in caplog.text


def test_the_experiment_file_holds_the_settings(open_manager, tmp_path):
    """Monitor, mode and policy are stored beside the checkpoints, where commands read them; None leaves them be."""
    with open_manager(monitor="loss", mode="max", keep=mc.Keep.last(3) | mc.Keep.best(2)):
        pass
    with open_manager() as ckpts:
        assert ckpts.monitor == "loss"
    settings = json.loads((tmp_path / "runs" / "exp" / "experiment.json").read_text())
    assert (settings["monitor"], settings["mode"], settings["keep"]) == ("loss", "max", "last(3) | best(2)")
    with open_manager(monitor="acc", mode="max"):
        pass
    settings = json.loads((tmp_path / "runs" / "exp" / "experiment.json").read_text())
    assert (settings["monitor"], settings["keep"]) == ("acc", "last(3) | best(2)")


def test_a_backend_of_ones_own(open_manager, weight, tmp_path):
    """A registered backend writes the state to one file, which is committed, digested and loaded like any other."""

    @mc.register_backend("npz-test")
    class NpzBackend(mc.BaseStorageBackend):
        extension = ".npz"

        def save(self, data, path):
            with open(path, "wb") as file:
                np.savez(file, weight=data["weight"].numpy())

        def load(self, path):
            with np.load(path) as arrays:
                return {"weight": torch.from_numpy(arrays["weight"])}

    with open_manager(backend="npz-test") as ckpts:
        ckpts.track(weight=weight)
        weight.fill_(3)
        handle = ckpts.save(0)
        weight.fill_(4)
        info = handle.result()
        assert info.backend == "npz-test"
        assert ckpts.load()["weight"][0].item() == 3
        path = next((tmp_path / "runs" / info.path).glob("*.npz"))
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(mc.CorruptionError):
            ckpts.load()


def test_the_pytorch_backend_resumes(open_manager):
    """A run on the pytorch backend resumes as one on safetensors does."""
    first, second = Training(), Training()
    with open_manager(backend="pytorch") as ckpts:
        first.track(ckpts)
        for _ in range(5):
            first.step()
        ckpts.save(4).result()
        first.step()
    with open_manager(backend="pytorch") as ckpts:
        second.track(ckpts)
        assert ckpts.resume(strict=True).next_step == 5
        second.step()
    assert second.losses[-1] == first.losses[-1]


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "up"},
        {"when_busy": "panic"},
        {"experiment": "a/b"},
        {"experiment": ".hidden"},
        {"keep": mc.Keep.best(1)},
        {"keep": "last(3)"},
        {"save_when": mc.SaveWhen.improved()},
        {"memory_budget_bytes": -1},
        {"backend": "none-such"},
        {"on_sigterm": "panic"},
        {"trash_for_s": -1.0},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_that_make_no_sense_are_refused(open_manager, options):
    """Mistakes are found when the manager is made, before training begins."""
    with pytest.raises(mc.ConfigurationError):
        open_manager(**options)


def test_a_subclass_is_a_manager(tmp_path, weight):
    """Users can derive from it, under either name."""

    class Mine(mc.EnhancedCheckpointManager):
        def save(self, step, **options):
            return super().save(step, **({"tags": {"by": "mine"}} | options))

    with Mine(tmp_path / "runs") as ckpts:
        assert isinstance(ckpts, mc.CheckpointManager)
        ckpts.track(weight=weight)
        assert dict(ckpts.save(0).result().tags) == {"by": "mine"}
