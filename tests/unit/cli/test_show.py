"""`mckpt show` and `mckpt best`."""

import pytest


def test_show_tells_all_of_a_checkpoint(mckpt, root, directory_of):
    """Facts, metrics, reasons, lineage, files with digests, metadata and environment are shown."""
    done = mckpt("-C", root, "show", "digits:latest")
    assert done.code == 0
    for shown in (
        "kept because     latest, last(2)",
        "in 2 files",
        "metric val_loss  2.5000",
        f"parent           digits:20-{directory_of(20).name[-8:]}",
        "model.safetensors  tensors",
        "config.json        blob",
        "ENVIRONMENT",
        "python",
        str(directory_of(50)),
    ):
        assert shown in done.out
    assert "by hand" in mckpt("-C", root, "show", "other:7").out


def test_show_json_has_files_and_ancestors(mckpt, root, directory_of):
    """The JSON of a checkpoint is that of a list, with its files and where it came from."""
    shown = mckpt("-C", root, "show", "digits:best", "--json").json
    assert (shown["step"], shown["kept_because"], shown["ancestors"], shown["error"]) == (
        10,
        ["best", "best(1)"],
        [],
        None,
    )
    assert {file["name"]: file["kind"] for file in shown["files"]} == {
        "config.json": "blob",
        "model.safetensors": "tensors",
    }
    assert sum(file["bytes"] for file in shown["files"]) == shown["bytes"]


def test_show_of_a_damaged_manifest_ends_with_4(mckpt, root, directory_of, flip):
    """What the catalog knows is shown, the manifest's damage with it, and the exit code tells."""
    flip(directory_of(10) / "manifest.json", 300)
    done = mckpt("-C", root, "show", "digits:10")
    assert done.code == 4
    assert "metric val_loss  1.0000" in done.out
    assert "its manifest cannot be used" in done.out


@pytest.mark.parametrize(
    ("ref", "hint"),
    [("digits:51", "digits:50"), ("nothing", "no checkpoint 'nothing'"), ("digit:best", "there is digits")],
)
def test_show_of_an_unknown_ref_names_the_nearest(mckpt, root, ref, hint):
    """An unknown reference ends with 3 and one line that helps."""
    done = mckpt("-C", root, "show", ref)
    assert (done.code, done.out, done.err.count("\n")) == (3, "", 1)
    assert hint in done.err


def test_show_escapes_hostile_text(mckpt, root):
    """Text that would move the cursor is shown as escapes."""
    from model_checkpoint import CheckpointManager

    with CheckpointManager(root, experiment="other", progress=False) as manager:
        manager.track(state={"x": 1})
        manager.save(9, metadata={"note": "\x1b[2J[red]x"}, metrics={"m\x1b]0;t\x07": 1.0}, block=True)
    for words in (["show", "other:9"], ["ls", "other"], ["best", "other", "-m", "m\x1b]0;t\x07", "--mode", "min"]):
        done = mckpt("-C", root, *words)
        assert done.code == 0
        assert "\x1b" not in done.out
    assert "\\x1b[2J[red]x" in mckpt("-C", root, "show", "other:9").out


def test_best_ranks_and_never_takes_nan(mckpt, root):
    """The best come first, and a NaN is not among them."""
    ranked = mckpt("-C", root, "best", "digits", "-n", "9", "--json").json["experiments"][0]
    assert [info["step"] for info in ranked["checkpoints"]] == [10, 40, 20, 50, 0]
    assert (ranked["metric"], ranked["mode"]) == ("val_loss", "min")


def test_best_by_another_metric(mckpt, root):
    """Another metric is ranked in the direction that its name tells, or that is asked for."""
    assert mckpt("-C", root, "best", "digits", "-m", "accuracy").out.splitlines()[2].split()[0] == "50"
    asked = mckpt("-C", root, "best", "digits", "-m", "accuracy", "--mode", "min", "--json").json
    assert asked["experiments"][0]["checkpoints"][0]["step"] == 0


def test_best_without_an_experiment_takes_those_that_monitor(mckpt, root):
    """Experiments without a monitor are passed over where none is named."""
    assert [entry["name"] for entry in mckpt("-C", root, "best", "--json").json["experiments"]] == ["digits"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["other"], 2, "monitors no metric"),
        (["digits", "-m", "zeal"], 3, "no metric 'zeal'"),
        (["digits", "-m", "recall"], 3, "no metric 'recall'; there is accuracy, val_loss"),
        (["digits", "--mode", "up"], 2, "'up'"),
    ],
)
def test_best_says_what_is_missing(mckpt, root, words, code, message):
    """Each way of not knowing the best has its exit code and message."""
    done = mckpt("-C", root, "best", *words)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
