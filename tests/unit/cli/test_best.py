"""`mckpt best` by several metrics."""

from __future__ import annotations

import math

import pytest

from model_checkpoint import CheckpointManager
from model_checkpoint.analytics.best_model_selector import BestModelSelector
from model_checkpoint.analytics.criteria import Goal

# step: val_loss, latency_ms, quality
VALUES = {
    0: (0.90, 10.0, 1.0),
    10: (0.50, 60.0, 2.0),
    20: (0.40, 45.0, 3.0),
    30: (0.41, 20.0, 2.5),
    40: (0.30, 90.0, math.nan),
    50: (0.60, 30.0, 1.5),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """`digits` with three metrics, `bare` with none."""
    root = tmp_path_factory.mktemp("best") / "runs"
    with CheckpointManager(root, experiment="digits", monitor="val_loss", progress=False) as manager:
        manager.track(state={"x": 1})
        for step, (loss, latency, quality) in VALUES.items():
            manager.save(step, metrics={"val_loss": loss, "latency_ms": latency, "wow": quality}, block=True)
    with CheckpointManager(root, experiment="bare", progress=False) as manager:
        manager.track(state={"x": 1})
        manager.save(7, metrics={"other": 1}, block=True)
    return root


@pytest.fixture
def best(mckpt, root):
    """Run `mckpt best digits` and return the one experiment of its JSON."""

    def ask(*words):
        done = mckpt("-C", root, "best", "digits", *words, "--json")
        assert (done.code, done.err) == (0, "")
        (found,) = done.json["experiments"]
        return found

    return ask


def steps(found):
    return [checkpoint["step"] for checkpoint in found["checkpoints"]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--by", "val_loss", "-n", 6], [40, 20, 30, 10, 50, 0]),
        (["--by", "val_loss:min:0.12", "--by", "latency_ms", "-n", 3], [30, 20, 40]),
        (["--by", "latency_ms:max", "-n", 2], [40, 10]),
        (["--weight", "val_loss=0.5", "--weight", "latency_ms:min=0.5"], [30]),
        (["--weight", "val_loss=0.99", "--weight", "latency_ms=0.01"], [40]),
        (["--where", "latency_ms < 50"], [20]),
        (["--where", "latency_ms < 50", "--where", "val_loss != 0.4"], [30]),
        (["--by", "wow:max", "--where", "latency_ms<=90"], [20]),
        (["--smooth", 3], [40]),
        (["--smooth", 3, "-m", "latency_ms"], [0]),
    ],
)
def test_each_way_to_rank_has_its_option(best, words, expected):
    """One metric after the other with tolerances, weights, constraints, smoothing; NaN never wins."""
    assert steps(best(*words)) == expected


def test_a_front_has_all_that_nothing_beats(best):
    """With commas or as several options; all of it, unless a count is given."""
    assert sorted(steps(best("--pareto", "val_loss,latency_ms"))) == [0, 20, 30, 40]
    assert best("--pareto", "val_loss", "--pareto", "latency_ms:min") == best("--pareto", "val_loss:min,latency_ms")
    assert len(steps(best("--pareto", "val_loss,latency_ms", "-n", 2))) == 2


def test_history_is_who_led_when(best):
    """Oldest first; with a count, the last changes."""
    assert steps(best("--history")) == [0, 10, 20, 40]
    assert steps(best("--history", "-n", 2)) == [20, 40]
    assert steps(best("--history", "--where", "latency_ms < 50")) == [0, 20]


def test_reasons_are_given_when_asked_for(best):
    """In words, with the numbers that they rest on."""
    (winner,) = best("--why")["checkpoints"]
    assert winner["why"] == "val_loss 0.3 is the least of 6; the next is 0.4"
    (winner,) = best("--why", "--where", "latency_ms < 50")["checkpoints"]
    assert winner["why"].endswith("(with latency_ms < 50)")
    assert "why" not in best()["checkpoints"][0]


def test_what_was_asked_is_said_above_the_table(mckpt, root):
    """The title has the criterion and the constraints; the columns are what was looked at."""
    words = ["best", "digits", "--by", "val_loss:min:0.12", "--by", "latency_ms", "--where", "wow > 1"]
    title, heading, winner = mckpt("-C", root, *words).out.splitlines()
    assert title == "digits · least val_loss within 0.12, then least latency_ms · with wow > 1"
    assert heading.split()[:6] == ["STEP", "ID", "AGE", "val_loss", "latency_ms", "wow"]
    assert winner.split()[0] == "30"
    front = mckpt("-C", root, "best", "digits", "--pareto", "val_loss,latency_ms", "--why").out.splitlines()
    assert front[0] == "digits · beaten by none in least val_loss and least latency_ms"
    assert "on the front by distance to the ideal" in front[2]
    assert front[-1] == "4 of 6 checkpoints are on the front"


def test_experiments_without_the_metrics_are_passed_over(mckpt, root):
    """As long as one of them has them."""
    found = mckpt("-C", root, "best", "--by", "val_loss", "--json").json["experiments"]
    assert [experiment["name"] for experiment in found] == ["digits"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--by", "val_los"], 3, "no metric 'val_los'; there is val_loss, latency_ms, wow"),
        (["--where", "latncy_ms < 5"], 3, "no metric 'latncy_ms'; there is latency_ms,"),
        (["--where", "latency_ms < 5", "--where", "val_loss < 0.5"], 3,
         "0 of 6 have latency_ms < 5, 3 of 6 have val_loss < 0.5"),
        (["--where", "latency_ms"], 2, "'latency_ms' is no constraint such as 'latency_ms < 50'"),
        (["--by", "wow"], 2, "whether less or more of 'wow' is better is not known"),
        (["--by", "val_loss", "--weight", "latency_ms=1"], 2, "--by and --weight contradict each other"),
        (["--pareto", "val_loss,latency_ms", "--mode", "min"], 2, "--pareto and --mode contradict each other"),
        (["--by", "val_loss", "--smooth", 3], 2, "--smooth and --by contradict each other"),
        (["--pareto", "val_loss"], 2, "'val_loss' is only one"),
        (["--pareto", "val_loss:min:1,latency_ms"], 2, "--pareto takes no tolerances"),
        (["--weight", "val_loss"], 2, "'val_loss' is no weight such as 'val_loss=0.7'"),
        (["--weight", "val_loss=much"], 2, "'much', which is no number"),
        (["--weight", "val_loss=-1"], 2, "weights are above 0"),
        (["--by", "val_loss:min:x"], 2, "the tolerance of 'val_loss:min:x' is 'x'"),
        (["--by", "val_loss", "--by", "val_loss:max"], 2, "goals are different metrics"),
        (["--by", ""], 2, "'' names no metric"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_said(mckpt, root, words, code, message):
    """Each mistake has its exit code and a message that names it."""
    done = mckpt("-C", root, "best", "digits", *words)
    assert (done.code, done.out) == (code, "")
    assert message in done.err


def test_an_experiment_goes_by_its_own_criterion(mckpt, tmp_path):
    """Where nothing else is asked for; constraints that are given come on top of its own."""
    selector = BestModelSelector.lexicographic(
        Goal("val_loss", tolerance=0.12), Goal("latency_ms"), where=["latency_ms > 15"]
    )
    with CheckpointManager(tmp_path, experiment="digits", monitor=selector, progress=False) as manager:
        manager.track(state={"x": 1})
        for step, (loss, latency, quality) in VALUES.items():
            manager.save(step, metrics={"val_loss": loss, "latency_ms": latency, "wow": quality}, block=True)

    def chosen(*words):
        (found,) = mckpt("-C", tmp_path, "best", *words, "--json").json["experiments"]
        return steps(found)

    assert chosen() == [30]
    assert chosen("--where", "latency_ms > 30") == [20]
    assert chosen("-m", "val_loss") == [40]
    assert mckpt("-C", tmp_path, "best").out.startswith("digits · lexicographic(Goal('val_loss'")
