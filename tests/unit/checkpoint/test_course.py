"""The manager follows what was decided: what is the best, when to save, when to stop."""

from __future__ import annotations

import functools
import itertools
import json
import os
import shutil
import signal
from datetime import timedelta

import numpy as np
import pytest

import model_checkpoint as mc
from model_checkpoint.analytics.criteria import Custom
from model_checkpoint.analytics.decision import Decision
from model_checkpoint.checkpoint.course import Course
from model_checkpoint.checkpoint.save_when import SaveHistory
from model_checkpoint.checkpoint.starts import read_starts
from model_checkpoint.checkpoint.step_clock import StepClock
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.cli import main
from model_checkpoint.events import CheckpointSaved, RetentionFailed

FAST = mc.BestModelSelector.by("loss", where=["ms < 50"])
NEARLY = mc.BestModelSelector.lexicographic(mc.Goal("loss", tolerance=0.05), mc.Goal("ms"))


class Events(list):
    def emit(self, event):
        self.append(event)


@pytest.fixture
def open_run(tmp_path):
    """Opens a manager of one experiment that tracks a small array."""

    def opener(root=None, **options):
        ckpts = mc.CheckpointManager(root or tmp_path / "runs", experiment="exp", progress=False, **options)
        ckpts.track(weight=np.zeros(4))
        return ckpts

    return opener


def save_all(ckpts, values):
    for step, (loss, ms) in enumerate(values):
        ckpts.save(step, metrics={"loss": loss, "ms": ms}, block=True)


# --- the best ---------------------------------------------------------------------------------------------------------


def test_the_best_is_the_best_by_the_criterion(open_run):
    """``best``, ``info("best")``, ``load("best")`` and the event agree, and ``rank`` says why."""
    heard = Events()
    with open_run(monitor=FAST, sinks=[heard]) as ckpts:
        save_all(ckpts, [(0.5, 20), (0.3, 90), (0.4, 30)])
        assert ckpts.best.step == ckpts.info("best").step == 2
        assert ckpts.load("best").keys() == {"weight", "rng"}
        assert ckpts.monitor == "loss"
        assert [found.step for found in ckpts.rank()] == [2, 0]
        assert ckpts.rank(limit=1)[0].why == "loss 0.4 is the least of 2; the next is 0.5 (with ms < 50)"
        assert ckpts.rank(by=mc.BestModelSelector.by("ms", "max"))[0].step == 1
    saved = [(event.checkpoint.step, event.best) for event in heard if isinstance(event, CheckpointSaved)]
    assert saved == [(0, True), (1, False), (2, True)]


def test_the_criterion_survives_resume_a_moved_directory_and_a_lost_catalog(open_run, tmp_path, capsys):
    """It is stored with the experiment: whoever opens it next, the command line included, goes by it."""
    with open_run(monitor=NEARLY) as ckpts:
        save_all(ckpts, [(0.40, 90), (0.41, 20), (0.70, 1)])
    moved = shutil.move(tmp_path / "runs", tmp_path / "elsewhere")
    with open_run(moved) as ckpts:
        assert ckpts.best.step == 1
        assert ckpts.resume("best").step == 1
    for name in ("catalog.db", "catalog.db-journal", "catalog.db-wal", "catalog.db-shm"):
        (moved / name).unlink(missing_ok=True)
    with open_run(moved) as ckpts:
        assert ckpts.best.step == 1
        assert ckpts.info("exp:best").step == 1
    assert main(["-C", str(moved), "show", "exp:best", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 1


def test_a_metric_replaces_a_criterion_that_was_stored(open_run):
    """What is said last counts."""
    with open_run(monitor=FAST) as ckpts:
        save_all(ckpts, [(0.5, 20), (0.3, 90)])
        assert ckpts.best.step == 0
    with open_run(monitor="loss") as ckpts:
        assert ckpts.best.step == 1
    with open_run() as ckpts:
        assert ckpts.info("best").step == 1


def test_values_that_come_late_rerank_what_is_best_and_kept(open_run):
    """A latency measured after the save makes its checkpoint eligible; the next cleanup protects it."""
    with open_run(monitor=FAST, keep=mc.Keep.last(1)) as ckpts:
        ckpts.save(0, metrics={"loss": 0.5, "ms": 20}, block=True)
        ckpts.save(1, metrics={"loss": 0.1}, block=True)
        assert ckpts.best.step == 0
        ckpts.attach_metrics(1, ms=10)
        assert ckpts.best.step == 1
        assert "best" in ckpts.prune().reasons(ckpts.info(1).id)
        ckpts.save(2, metrics={"loss": 0.9, "ms": 5}, block=True)
        ckpts.wait()
        assert [info.step for info in ckpts.list()] == [2, 1]


def test_what_satisfies_no_constraint_is_not_the_best(open_run):
    """There is none then; asking for it by name says by what."""
    with open_run(monitor=FAST) as ckpts:
        save_all(ckpts, [(0.5, 60), (float("nan"), 10)])
        assert ckpts.best is None
        assert ckpts.rank() == ()
        with pytest.raises(mc.CheckpointNotFoundError, match="ms < 50"):
            ckpts.info("best")


def test_a_function_of_ones_own_is_known_only_to_the_program(open_run, caplog):
    """The program goes by it; others say that they cannot, and remove nothing by a guess."""
    with open_run(monitor=mc.BestModelSelector(Custom(lambda values: -abs(values["loss"]), ("loss",)))) as ckpts:
        save_all(ckpts, [(-3.0, 1), (0.5, 1), (2.0, 1)])
        assert ckpts.best.step == 1
    heard = Events()
    with open_run(keep=mc.Keep.last(1), sinks=[heard]) as ckpts:
        assert "not known here" in caplog.text
        assert ckpts.best is None
        with pytest.raises(mc.CheckpointNotFoundError, match="custom"):
            ckpts.info("best")
        ckpts.save(3, block=True)
        ckpts.wait()
        assert len(ckpts.list()) == 4
    assert any(isinstance(event, RetentionFailed) for event in heard)


# --- saving -----------------------------------------------------------------------------------------------------------


def test_a_step_logs_saves_and_says_why(open_run):
    """The values are in the series and in the checkpoint; between saves the reasons say what is waited for."""
    with open_run(monitor="loss", save_when=mc.SaveWhen.every(steps=2)) as ckpts:
        found = [ckpts.step(step, loss=1.0 / (step + 1)) for step in range(5)]
        ckpts.wait()
        assert [bool(one.save) for one in found] == [False, False, True, False, True]
        assert found[3].save.reasons == ("every(steps=2): due at step 4",)
        assert found[4].handle.result().metrics == {"loss": 0.2}
        assert ckpts.metrics("loss").to_numpy()["value"].tolist() == [1.0, 0.5, 1 / 3, 0.25, 0.2]
        assert not found[4].stop


def test_a_step_without_policies_only_logs(open_run):
    """Nothing is saved, nothing stops, and asking for either is an error."""
    with open_run() as ckpts:
        assert not ckpts.step(0, {"loss": 1.0}).save
        assert ckpts.list() == ()
        assert ckpts.overhead == 0.0
        with pytest.raises(mc.ConfigurationError, match="save_when"):
            ckpts.should_save(0)
        with pytest.raises(mc.ConfigurationError, match="stop_when"):
            ckpts.should_stop(0)


def test_a_value_attached_later_is_to_be_beaten(open_run):
    """An improvement is one over what was measured after the saves, too."""
    with open_run(monitor="loss", save_when=mc.SaveWhen.improved()) as ckpts:
        assert ckpts.step(0, loss=1.0).save
        ckpts.attach_metrics(0, loss=0.5)
        assert not ckpts.step(1, loss=0.6).save
        assert ckpts.step(2, loss=0.4).save


def test_sigterm_saves_once_and_says_so(open_run):
    """With a flag, the policy can ask for one more save; the loop is told to stop."""
    policy = mc.SaveWhen.every(steps=1000) | mc.SaveWhen.notified()
    with open_run(save_when=policy, on_sigterm="flag") as ckpts:
        assert not ckpts.step(1).stop
        os.kill(os.getpid(), signal.SIGTERM)
        first, second = ckpts.step(2), ckpts.step(3)
        assert first.save.reasons == ("notified(): the process is going to be ended",)
        assert first.stop.reasons == ("SIGTERM came",)
        assert not second.save


def test_a_clock_of_steps_finds_what_a_save_costs_those_beside_it():
    """Ten steps of a second, a save that is waited for two seconds, four steps of one and a half beside it."""
    times = itertools.accumulate([0.0, *[1.0] * 10, 2.0 + 1.5, 1.5, 1.5, 1.5, 1.0])
    clock = StepClock(functools.partial(next, times))
    for _ in range(11):
        assert clock.tick(is_saving=False) == timedelta()
    clock.waited(2.0)
    assert [clock.tick(is_saving=True) for _ in range(3)] == [timedelta()] * 3
    assert clock.tick(is_saving=False) == timedelta(seconds=2.0)
    assert clock.tick(is_saving=False) == timedelta()


def test_what_a_save_costs_the_steps_beside_it_is_counted(monkeypatch):
    """The policy knows it from the first step on that ends after the save."""
    times = itertools.accumulate([0.0, *[1.0] * 10, 2.0 + 1.5, 1.5])
    monkeypatch.setattr(
        "model_checkpoint.checkpoint.course.StepClock", lambda: StepClock(functools.partial(next, times))
    )
    course = Course(
        mc.SaveWhen.every(steps=1000), None, goal=None, past=lambda at: SaveHistory(last_at=at, begun_at=at)
    )
    for step in range(11):
        course.should_save(step, {}, is_saving=False, notice_at=None)
    course.saved(10, {}, waited_s=2.0)
    course.should_save(11, {}, is_saving=True, notice_at=None)
    assert course.history.waited == timedelta(seconds=2)
    course.should_save(12, {}, is_saving=False, notice_at=None)
    assert course.history.waited == course.history.next_wait == timedelta(seconds=3)


def test_starts_are_remembered_when_checkpoints_are_not(open_run, tmp_path):
    """How often a run had to be resumed is known although a cleanup has removed what it resumed from."""
    for _ in range(3):
        with open_run(keep=mc.Keep.last(1)) as ckpts:
            first = ckpts.resume().next_step
            for step in range(first, first + 2):
                ckpts.save(step, block=True)
    with Workspace.open(tmp_path / "runs") as workspace:
        assert len(workspace.catalog.list("exp")) <= 2
        starts = read_starts(workspace.catalog, "exp")
        assert [start.saved_at is not None for start in starts] == [False, True, True]
        assert read_starts(workspace.catalog, "other") == ()


def test_the_resume_that_has_just_been_is_a_failure_too(open_run):
    """It was counted from the next resume on only: until then, young_daly() went by a failure a day."""
    seen = []

    class Noting(mc.SaveWhen):
        def decide(self, history, moment):
            seen.append((history.failed, history.failed.mean_time_between(now=moment.at)))
            return Decision(True, ("always",))

    for step in (1, 2, 3):
        with open_run(save_when=Noting()) as ckpts:
            ckpts.resume()
            ckpts.step(step)
    assert [record.failures for record, _ in seen] == [0, 1, 2]
    assert seen[0][1] is None
    assert timedelta() < seen[1][1] < timedelta(minutes=1)


# --- stopping ---------------------------------------------------------------------------------------------------------

RULE = mc.EarlyStopping(mc.BestModelSelector.by("val_loss"), patience=3)


def test_training_stops_when_the_rule_says_so(open_run):
    """Steps without an evaluation count for nothing."""
    losses = {0: 5.0, 2: 4.0, 4: 4.5, 6: 4.5, 8: 4.5}
    with open_run(stop_when=RULE) as ckpts:
        decisions = {s: ckpts.step(s, {"val_loss": losses[s]} if s in losses else {"loss": 1.0}).stop for s in range(9)}
    assert [step for step, stop in decisions.items() if stop] == [8]
    assert decisions[8].reasons == ("the best is val_loss 4 at step 2, 3 of 3 evaluations ago",)


def test_patience_goes_on_after_a_resume(open_run):
    """What was logged until the checkpoint counts, what the killed run did after it does not."""
    with open_run(stop_when=RULE) as ckpts:
        for step, loss in enumerate([4.0, 3.0, 3.5, 3.5, 2.0]):
            assert not ckpts.step(step, val_loss=loss).stop
            if step == 2:
                ckpts.save(step, block=True)
    with open_run(stop_when=RULE) as ckpts:
        assert ckpts.resume().next_step == 3
        assert not ckpts.step(3, val_loss=3.6).stop
        assert ckpts.step(4, val_loss=3.6).stop


def test_without_logged_values_those_of_checkpoints_count(open_run):
    """A loop that only saves its evaluations stops as well after a resume."""
    with open_run(stop_when=RULE) as ckpts:
        for step, loss in enumerate([3.0, 3.5, 3.5]):
            assert not ckpts.should_stop(step, {"val_loss": loss})
            ckpts.save(step, metrics={"val_loss": loss}, block=True)
    with open_run(stop_when=RULE) as ckpts:
        ckpts.resume()
        assert ckpts.should_stop(3, {"val_loss": 3.2})


def test_what_was_evaluated_after_the_checkpoint_does_not_count(open_run):
    """A run that goes back to an older checkpoint has not seen the better ones after it."""
    with open_run(stop_when=RULE) as ckpts:
        for step, loss in enumerate([3.0, 4.0, 1.0, 1.0]):
            ckpts.save(step, metrics={"val_loss": loss}, block=True)
    with open_run(stop_when=RULE) as ckpts:
        ckpts.resume(1)
        decision = ckpts.should_stop(2, {"val_loss": 2.0})
        assert decision.reasons == ("the best is val_loss 2 at step 2, 0 of 3 evaluations ago",)
