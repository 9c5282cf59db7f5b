"""`mckpt report`."""

from __future__ import annotations

import math
import re

import pytest

from model_checkpoint import CheckpointManager, Keep


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A run that was resumed, one that diverged and has a NaN, and one that has said nothing."""
    root = tmp_path_factory.mktemp("report") / "runs"
    keep = Keep.last(1) | Keep.best(1)
    for first, last in ((0, 3), (3, 5)):
        with CheckpointManager(root, experiment="good", monitor="val_loss", keep=Keep.all(), progress=False) as ckpts:
            ckpts.track(state={"x": 1})
            if first:
                ckpts.resume("latest")
            for step in range(first * 100, last * 100):
                ckpts.log(step, loss=3 * math.exp(-step / 50), split="train")
                if step % 100 == 99:
                    ckpts.save(step, metrics={"val_loss": 1 / step, "latency_ms": step}, block=True)
    CheckpointManager(root, experiment="good", monitor="val_loss", keep=keep, progress=False).close()
    with CheckpointManager(root, experiment="bad", monitor="loss", progress=False) as ckpts:
        for step in range(200):
            ckpts.log(step, loss=math.nan if step == 60 else 1 + max(0, step - 100) / 10 + (step * 7919 % 13) / 100)
    CheckpointManager(root, experiment="silent", progress=False).close()
    return root


def test_a_report_on_the_terminal(mckpt, root):
    """What is best, what is kept, each curve with what is to be seen in it, and where the time went."""
    done = mckpt("-C", root, "report")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert re.fullmatch(r"runs · 3 experiments · 5 checkpoints · .* [kM]?B", lines[0])
    good = lines[lines.index("good · val_loss, less is better") :]
    assert good[1].split()[:2] == ["best", "0.0020"]
    assert good[2].startswith("checkpoints  5 · ")
    assert "best at step 499 · the next prune frees" in good[2]
    bad = next(line for line in lines if line.startswith("loss") and "nan" not in line and "worse" in line)
    assert "not finite from step 60" in bad
    assert "worse since step" in bad
    assert "nothing was logged" in lines
    assert lines[lines.index("where the time went") + 2].split()[:2] == ["save", "5"]


def test_a_report_about_some(mckpt, root):
    """Those that are named, each once; an unknown one is not found."""
    out = mckpt("-C", root, "report", "bad", "bad").out
    assert out.startswith("runs · 1 experiment · 0 checkpoints")
    assert "where the time went" not in out
    done = mckpt("-C", root, "report", "bda")
    assert (done.code, done.err) == (3, "mckpt: there is no experiment 'bda'; there is bad\n")


def test_a_report_as_a_page(mckpt, root, place):
    """One file, with a title of one's choice; JSON has the same data."""
    done = mckpt("-C", root, "report", "--html", "out.html", "--title", "A & B")
    assert done.code == 0
    assert re.fullmatch(r"wrote out\.html \(.* kB\)\n", done.out)
    text = (place / "out.html").read_text(encoding="utf-8")
    assert "<title>A &amp; B</title>" in text
    assert [file.name for file in place.iterdir()] == ["out.html"]
    found = mckpt("-C", root, "report", "--json").json
    assert [one["name"] for one in found["experiments"]] == ["bad", "good", "silent"]
    assert [run["parent"] for run in found["runs"]] == [None, 2]
    assert [chart["metric"] for chart in found["charts"]] == ["loss", "val_loss", "latency_ms"]
    best = [one["step"] for one in found["checkpoints"] if one["best"]]
    assert best == [499]


def test_a_page_that_cannot_be_written_is_said(mckpt, root, place):
    """Where there is no such directory, or a directory in its place."""
    for target in ("nowhere/out.html", "."):
        done = mckpt("-C", root, "report", "--html", target)
        assert done.code != 0
        assert target in done.err


def test_a_store_without_experiments_has_a_report_too(mckpt, tmp_path):
    """It says so."""
    from model_checkpoint.checkpoint.workspace import Workspace

    with Workspace.open(tmp_path):
        pass
    assert mckpt("-C", tmp_path, "report").out.splitlines()[0].endswith("0 experiments · 0 checkpoints · 0 B")
    assert mckpt("-C", tmp_path, "report", "--html", tmp_path / "out.html").code == 0
