"""`mckpt replay`: what other policies would have cost."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta

import pytest

from model_checkpoint.checkpoint.manager import CheckpointManager
from model_checkpoint.database.catalog import Catalog
from model_checkpoint.database.metric_table import MetricTable, SeriesKey
from model_checkpoint.utils.clock import to_microseconds, utc_now

pytest.importorskip("duckdb")

STEPS = 300


@pytest.fixture
def logged(root):
    """The store, with a run of `digits` that did a step a second, and nothing for an hour in its middle."""
    times = itertools.accumulate([1_000_000] * 150 + [3600 * 1_000_000] + [1_000_000] * 149)
    points = [(step, 1 / (step + 1), time, None) for step, time in enumerate(times)]
    with Catalog.open(root) as catalog:
        MetricTable(catalog).append("digits", {SeriesKey("val_loss"): points})
    return root


def test_policies_are_compared_by_what_they_cost(mckpt, logged):
    """The least overhead comes first; the pause is no step; the bar shows saving and lost work."""
    done = mckpt("-C", logged, "replay", "digits", "--mtbf", "100s", "--save-cost", "1s", "--restart", "2s")
    assert done.code == 0, done.err
    title, heading, *rows, legend = done.out.splitlines()
    assert title.startswith(
        "digits · 299 steps in 4 min 59 s · a save costs 1.0 s (given) · a failure every 1 min 40 s"
    )
    assert heading.split() == ["POLICY", "SAVES", "SAVING", "LOST", "OVERHEAD"]
    overheads = [float(row.split("%")[0].split()[-1]) for row in rows]
    assert overheads == sorted(overheads)
    assert rows[0].startswith("young_daly(mtbf_hours=0.0278)")
    assert "░" in rows[-1]
    assert "20 runs" in legend


def test_a_policy_with_which_the_run_never_ends_hides_no_other(mckpt, logged):
    """It was refused, and all the others with it."""
    done = mckpt("-C", logged, "replay", "digits", "--mtbf", "10s", "--save-cost", "0s", "--restart", "0s",
                 "-p", "every(steps=1)", "-p", "every(steps=250)", "--trials", 2)  # fmt: skip
    assert done.code == 0, done.err
    _, _, first, second, _ = done.out.splitlines()
    assert first.startswith("every(steps=1) ")
    assert "░" in first
    assert second.split() == ["every(steps=250)", *"never ends: it fails before it saves".split()]


def test_the_figures_are_there_as_json(mckpt, logged):
    """Without failures, saving is all there is, and it is what the policy asked for."""
    done = mckpt("-C", logged, "replay", "digits", "--mtbf", "10000d", "--save-cost", "500ms", "--json",
                 "-p", "every(steps=100)", "-p", "improved() | every(minutes=1)", "--trials", 2)  # fmt: skip
    answer = json.loads(done.out)
    assert (answer["steps"], answer["work_seconds"]) == (299, 299.0)
    first, second = answer["policies"]
    assert (first["policy"], first["saves"], first["saving_seconds"], first["lost_seconds"]) == (
        "every(steps=100)", 2, 1.0, 0.0,
    )  # fmt: skip
    assert second["policy"] == "improved() | every(minutes=1)"
    assert second["saves"] == 299


def test_what_was_measured_is_taken_if_nothing_is_said(mckpt, logged):
    """The stall of the saves, and how often the experiment was resumed: twice in three days, until the last step."""
    with CheckpointManager(logged, experiment="digits", progress=False) as ckpts:
        ckpts.track(state={"a": 1})
        ckpts.resume()
        ckpts.save(1000, block=True)
    last = utc_now() + timedelta(days=3)
    with Catalog.open(logged) as catalog:
        MetricTable(catalog).append("digits", {SeriesKey("val_loss"): [(1001, 0.1, to_microseconds(last), None)]})
    done = mckpt("-C", logged, "replay", "digits", "--trials", 1, "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert answer["save_seconds"] > 0
    assert answer["between_failures_seconds"] == pytest.approx(1.5 * 86400, rel=0.01)
    assert "(observed)" in mckpt("-C", logged, "replay", "digits", "--trials", 1).out


def test_a_run_that_logged_nothing_is_replayed_from_save_to_save(mckpt, root):
    """Its checkpoints have steps and times, too."""
    done = mckpt("-C", root, "replay", "digits", "--save-cost", "1s", "--mtbf", "1h", "--trials", 1, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["steps"] == 5


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["digits", "-p", "every(seconds=1)"], 2, "every"),
        (["digits", "--mtbf", "1ns"], 2, "1ns"),
        (["unknown"], 3, "unknown"),
        (["other"], 3, "no two steps"),
        (["digits", "--mtbf", "1s", "-p", "every(steps=250)"], 2, "fails before it saves"),
        (["digits", "--mtbf", "1ms"], 2, "a step and its save take 2.0 s"),
    ],
)
def test_what_cannot_be_replayed_is_refused(mckpt, logged, words, code, message):
    """With what is wrong, and the exit code of its kind."""
    done = mckpt("-C", logged, "replay", *words, "--save-cost", "1s", "--trials", 1)
    assert done.code == code
    assert message in done.err


def test_a_cost_that_was_never_measured_must_be_said(mckpt, logged):
    """Nothing is made up."""
    (logged / ".timings.jsonl").unlink(missing_ok=True)
    done = mckpt("-C", logged, "replay", "digits")
    assert done.code == 2
    assert "--save-cost" in done.err


def test_it_is_drawn_where_matplotlib_is(mckpt, logged, tmp_path):
    """A PNG with a point for each policy."""
    pytest.importorskip("matplotlib")
    done = mckpt("-C", logged, "replay", "digits", "--save-cost", "1s", "--trials", 1, "--png", tmp_path / "out.png")
    assert done.code == 0, done.err
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
