"""`mckpt compare`."""

from __future__ import annotations

import math

import pytest

from model_checkpoint import CheckpointManager


@pytest.fixture
def sweep(tmp_path):
    """Three runs with different rates, one of which says nothing, and one that only has NaN."""
    root = tmp_path / "sweep"
    for name, rate in (("slow", 0.01), ("fast", 0.1), ("silent", 0.5)):
        config = {"lr": rate, "model": {"depth": 2}, "seed": 1}
        with CheckpointManager(root, experiment=name, monitor="loss", config=config, progress=False) as ckpts:
            for step in range(0 if name == "silent" else 200 if name == "fast" else 100):
                ckpts.log(step, loss=math.exp(-rate * step / 2))
    with CheckpointManager(root, experiment="lost", config={"lr": 9}, progress=False) as ckpts:
        ckpts.log(0, loss=math.nan)
    return root


def test_experiments_are_ranked_on_one_scale(mckpt, sweep):
    """The best first; courses share their axis and their scale; settings that differ are shown."""
    done = mckpt("-C", sweep, "compare")
    assert done.code == 0
    assert done.out.splitlines() == [
        "loss, less is better",
        "EXPERIMENT       BEST  AT STEP       LAST  STEPS  LATELY     COURSE",
        "fast        4.773e-05      199  4.773e-05    199  improving  █▆▅▄▃▂▂▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁",
        "slow           0.6096       99     0.6096     99  improving  █████▇▇▇▇▆▆▆▆▆▆▅",
        "lost                -                   -      1",
        "silent              -                   -      0",
        "",
        "what they were made with",
        "EXPERIMENT  lr    model.depth  seed",
        "fast        0.1   2            1",
        "slow        0.01  2            1",
        "lost        9     -            -",
        "silent      0.5   2            1",
    ]


@pytest.fixture
def seeds(tmp_path):
    """Two rates, four seeds each, whose outcomes do not overlap."""
    root = tmp_path / "seeds"
    for rate in (0.1, 0.2):
        for seed in range(4):
            config = {"lr": rate, "seed": seed}
            with CheckpointManager(
                root, experiment=f"{rate}-{seed}", monitor="loss", config=config, progress=False
            ) as ckpts:
                ckpts.log(0, loss=rate + seed / 100)
    return root


def test_runs_that_differ_in_their_seed_are_set_against_others(mckpt, seeds):
    """By the median, with how likely chance does as much; the smallest p-value of four against four is 2/70."""
    lines = mckpt("-C", seeds, "compare").out.splitlines()
    begin = lines.index("over seeds")
    assert lines[begin : begin + 4] == [
        "over seeds",
        "SETTINGS  RUNS  MEDIAN  DIFFERENCE      P",
        "lr 0.1       4  0.1150",
        "lr 0.2       4  0.2150        +0.1  0.029",
    ]
    best, other = mckpt("-C", seeds, "compare", "--json").json["groups"]
    assert (best["experiments"], best["difference"]) == (["0.1-0", "0.1-1", "0.1-2", "0.1-3"], None)
    assert other["difference"] == pytest.approx(0.1)
    assert other["p_value"] == pytest.approx(2 / 70)


def test_too_few_seeds_are_said_to_be_too_few(mckpt, seeds):
    """Instead of a p-value that could not have been small."""
    named = [f"{rate}-{seed}" for rate in (0.1, 0.2) for seed in range(2)]
    assert mckpt("-C", seeds, "compare", *named).out.splitlines()[-1].endswith("too few")


def test_some_experiments_and_another_order(mckpt, sweep):
    """By name, and with more being better."""
    found = mckpt("-C", sweep, "compare", "slow", "fast", "--mode", "max", "--json").json
    assert sorted((run["name"], run["best"], run["best_step"]) for run in found["experiments"]) == [
        ("fast", 1.0, 0),
        ("slow", 1.0, 0),
    ]
    assert found["experiments"][0]["settings"]["model"] == {"depth": 2}


def test_what_cannot_be_compared_is_said(mckpt, root):
    """An unknown experiment, no metric to go by, no telling what is better."""
    assert mckpt("-C", root, "compare", "digit").code == 3
    done = mckpt("-C", root, "compare", "other")
    assert (done.code, done.err) == (2, "mckpt: no experiment monitors a metric; name one with --metric\n")
    assert "--mode min or max" in mckpt("-C", root, "compare", "-m", "wibble").err


def test_values_of_checkpoints_are_compared_where_nothing_was_logged(mckpt, root):
    """A metric that was only given at saves has a course of its saves."""
    found = mckpt("-C", root, "compare", "digits", "-m", "val_loss", "--json").json["experiments"]
    assert [(run["points"], run["best"], run["best_step"], run["last"]) for run in found] == [(6, 1.0, 10, 2.5)]


def test_a_metric_that_nobody_has_is_named_with_the_nearest(mckpt, sweep):
    """The name, and what there is; a split that does not exist is one too."""
    done = mckpt("-C", sweep, "compare", "-m", "los", "--mode", "min")
    assert (done.code, done.err) == (3, "mckpt: no metric 'los'; there is loss\n")
    done = mckpt("-C", sweep, "compare", "--split", "val")
    assert (done.code, done.err) == (3, "mckpt: no metric 'loss[val]'; there is loss\n")


@pytest.fixture
def tokens(tmp_path):
    """Two runs that see other numbers of tokens in a step, and one that does not say."""
    root = tmp_path / "tokens"
    for name, batch in (("large", 80), ("small", 10), ("silent", 0)):
        with CheckpointManager(root, experiment=name, monitor="loss", progress=False) as ckpts:
            for step in range(40):
                ckpts.log(step, loss=1.0 - step / 100)
                if batch and step % 3 == 0:
                    ckpts.log(step, tokens=step * batch)
    return root


def test_courses_are_set_side_by_side_by_tokens(mckpt, tokens):
    """Who sees an eighth of the tokens comes to an eighth of the axis; who does not say has no course."""
    lines = mckpt("-C", tokens, "compare", "--by", "tokens").out.splitlines()
    assert lines[0] == "loss, less is better, by tokens"
    courses = {line.split()[0]: line.split()[-1] for line in lines[2:5]}
    assert (len(courses["large"]), len(courses["small"])) == (32, 4)
    assert courses["silent"].isascii()
    done = mckpt("-C", tokens, "compare", "--by", "tokns")
    assert (done.code, "no metric 'tokns'; there is tokens" in done.err) == (3, True)
    assert mckpt("-C", tokens, "compare", "--by", "time").out.startswith("loss, less is better, by time")


def test_settings_that_go_with_the_outcome_are_shown(mckpt, tmp_path):
    """From five runs on, the strongest first, raised for how many were looked at."""
    for n in range(6):
        config = {"lr": n / 10, "seed": (n * 3) % 7}
        name = f"run{n}"
        with CheckpointManager(tmp_path, experiment=name, monitor="loss", config=config, progress=False) as ckpts:
            ckpts.log(1, loss=1 - n / 10)
    lines = mckpt("-C", tmp_path, "compare").out.splitlines()
    place = lines.index("what goes with the best value")
    assert lines[place + 2].split()[:2] == ["lr", "-1.00"]
    effects = mckpt("-C", tmp_path, "compare", "--json").json["effects"]
    assert [effect["setting"] for effect in effects] == ["lr", "seed"]
    assert all(0 <= effect["p_value"] <= 1 for effect in effects)
