"""The best is the same one, whoever asks."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import model_checkpoint as mc
from model_checkpoint.analytics.criteria import Custom
from model_checkpoint.errors import CheckpointNotFoundError

SAVED = [(0.1, 100, 0.5), (0.2, 10, 0.9), (0.15, 30, 0.7), (math.nan, 1, 0.1), (0.3, 5, 0.95)]  # loss, ms, accuracy
SELECTORS = [
    mc.BestModelSelector.by("accuracy", "max"),
    mc.BestModelSelector.by("loss", where=["ms < 50"]),
    mc.BestModelSelector.by("loss", smoothing=2),
    mc.BestModelSelector.weighted(mc.Goal("loss"), mc.Goal("ms", weight=3)),
    mc.BestModelSelector.lexicographic(mc.Goal("loss", tolerance=0.06), mc.Goal("ms")),
    mc.BestModelSelector.pareto(mc.Goal("loss"), mc.Goal("ms")),
]
COMMANDS = (("show",), ("verify",), ("pin",), ("unpin",), ("alias", "chosen"), ("export", "{outside}"))


@pytest.fixture
def open_run(tmp_path):
    """Opens a manager of `exp`, beside which there is another experiment."""
    with mc.CheckpointManager(tmp_path / "runs", experiment="other", progress=False) as other:
        other.track(weight=np.zeros(3))
        other.save(77, block=True)

    def opener(monitor):
        options = {"monitor": monitor, "progress": False, "trash_for_s": 3600}
        ckpts = mc.CheckpointManager(tmp_path / "runs", experiment="exp", **options)
        ckpts.track(weight=np.zeros(3))
        for step, (loss, ms, accuracy) in enumerate(SAVED):
            ckpts.save(step, metrics={"loss": loss, "ms": ms, "accuracy": accuracy}, block=True)
        return ckpts

    return opener


@pytest.mark.parametrize("selector", SELECTORS, ids=str)
def test_every_command_and_every_method_mean_the_same_best(open_run, mckpt, tmp_path, selector):
    """By a metric, constraints, smoothing, weights, tolerances, or as the first of a front."""
    with open_run(selector) as ckpts:
        expected = ckpts.rank()[0].step
        assert {ckpts.best.step, ckpts.info("best").step, ckpts.info("exp:best").step} == {expected}
        ckpts.scrub("best")
        assert _verified(ckpts) == [expected]
        assert {ckpts.verify("best").step, ckpts.pin("best").step, ckpts.resume("best").step} == {expected}
    ranked = mckpt("-C", tmp_path / "runs", "best", "exp", "--json").json["experiments"][0]["checkpoints"]
    assert ranked[0]["step"] == expected
    for command, *more in COMMANDS:
        words = [word.format(outside=tmp_path / "outside") for word in more]
        done = mckpt("-C", tmp_path / "runs", command, "exp:best", *words, "--json")
        assert (done.code, _steps(done.json)) == (0, {expected}), command


@pytest.mark.parametrize("selector", SELECTORS, ids=str)
def test_the_best_of_what_is_in_the_trash_comes_back(open_run, mckpt, selector):
    """By the same criterion, from the program and from the command line."""
    with open_run(selector) as ckpts:
        expected = ckpts.rank()[0].step
        for step in (8, 9):
            ckpts.save(step, metrics={"loss": 0.01, "ms": 1, "accuracy": 0.99}, block=True)
        ckpts.prune(keep=mc.Keep.last(2), dry_run=False, force=True)
        assert expected not in [info.step for info in ckpts.list()]
        done = mckpt("-C", ckpts.root, "restore", "exp:best", "--json")
        assert done.code == 0, done
        assert done.json["step"] == expected


def test_a_function_of_the_users_own_decides_where_it_is_known(open_run, mckpt, tmp_path):
    """In the program that has it, for every reference to its experiment; elsewhere it cannot be told."""
    own = mc.BestModelSelector(Custom(lambda metrics: metrics["accuracy"] - metrics["ms"] / 100, ("accuracy", "ms")))
    with open_run(own) as ckpts:
        assert ckpts.best.step == ckpts.info("best").step == ckpts.info("exp:best").step == 4
        ckpts.scrub("best")
        assert _verified(ckpts) == [4]
        assert ckpts.verify("best").step == ckpts.resume("best").step == 4
        with pytest.raises(CheckpointNotFoundError, match="monitors no metric"):
            ckpts.info("other:best")
    done = mckpt("-C", tmp_path / "runs", "show", "exp:best")
    assert done.code == 3
    assert "cannot be told here" in done.err
    assert mckpt("-C", tmp_path / "runs", "show", "exp:best@loss").code == 0


def test_the_best_that_is_not_in_the_trash_is_said_to_be_elsewhere(open_run, mckpt, tmp_path):
    """Rather than that nothing satisfies the criterion."""
    with open_run(SELECTORS[1]) as ckpts:
        best = ckpts.best
    done = mckpt("-C", tmp_path / "runs", "restore", "exp:best")
    assert (done.code, f"{best.ref} is committed" in done.err) == (3, True)


def _verified(ckpts):
    return [info.step for info in ckpts.list() if info.verified_at is not None]


def _steps(answer):
    """The steps of all checkpoints that an answer tells of."""
    text = json.dumps(answer)
    found = {int(ref.split("-")[0]) for ref in text.split('"exp:')[1:]}
    return found or {answer["step"]}
