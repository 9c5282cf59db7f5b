"""`mckpt export`."""

import os

import numpy as np
import pytest

import model_checkpoint as mc


def test_exports_a_checkpoint_that_can_be_loaded(mckpt, root, tmp_path, directory_of):
    """The copy is a checkpoint of its own, byte for byte."""
    done = mckpt("-C", root, "export", "digits:best", tmp_path / "out", "--json")
    assert done.code == 0
    assert done.json["files"] == ["config.json", "model.safetensors"]
    copied = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert copied == {path.name: path.read_bytes() for path in directory_of(10).iterdir()}
    assert mc.load(tmp_path / "out")["schedule"] == {"epoch": 1}


def test_exports_one_component_as_a_file(mckpt, root, tmp_path):
    """A component of one file becomes that file, or a file in a directory that is there."""
    (tmp_path / "there").mkdir()
    assert mckpt("-C", root, "export", "digits:best", tmp_path / "one.safetensors", "-c", "model").code == 0
    assert mckpt("-C", root, "export", "digits:best", tmp_path / "there", "-c", "model").code == 0
    for path in (tmp_path / "one.safetensors", tmp_path / "there/model.safetensors"):
        assert mc.load_file(path, framework="numpy")["bias"].tolist() == [2, 2, 2]


def test_exports_shards_with_their_index(mckpt, tmp_path):
    """A component in shards becomes a directory with the shards and their index."""
    mc.save({"model": {"a": np.zeros(2000), "b": np.ones(2000)}, "x": 1}, tmp_path / "sharded", shard_bytes=16_000)
    done = mckpt("export", tmp_path / "sharded", tmp_path / "out", "-c", "model")
    assert done.code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ]


@pytest.mark.parametrize("component", [[], ["-c", "model"]])
def test_nothing_is_replaced(mckpt, root, tmp_path, component):
    """A target that exists is left alone."""
    target = tmp_path / "taken"
    target.write_text("mine")
    done = mckpt("-C", root, "export", "digits:best", target, *component)
    assert (done.code, done.out) == (1, "")
    assert "exists" in done.err
    assert target.read_text() == "mine"


def test_damage_is_not_exported(mckpt, root, tmp_path, directory_of, flip):
    """A damaged file ends the export with 4, and leaves nothing behind."""
    flip(directory_of(10) / "model.safetensors", 1_000_000)
    before = set(os.listdir(tmp_path))
    done = mckpt("-C", root, "export", "digits:10", tmp_path / "out")
    assert done.code == 4
    assert "model.safetensors" in done.err
    assert set(os.listdir(tmp_path)) == before


def test_an_unknown_component_names_those_that_exist(mckpt, root, tmp_path):
    """A component that the checkpoint does not have is not found."""
    done = mckpt("-C", root, "export", "digits:10", tmp_path / "out", "-c", "optimizer")
    assert done.code == 3
    assert "there is model" in done.err
    assert not (tmp_path / "out").exists()


def test_a_missing_parent_is_not_made(mckpt, root, tmp_path):
    """A target in a directory that does not exist fails in one line."""
    done = mckpt("-C", root, "export", "digits:10", tmp_path / "no/out")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert done.err.startswith("mckpt: cannot export: No such file or directory (path=")
