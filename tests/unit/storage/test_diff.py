from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import save_file as foreign_save

from model_checkpoint.errors import UnverifiableError
from model_checkpoint.storage.checkpoint_dir import save
from model_checkpoint.storage.diff import diff
from model_checkpoint.storage.safetensors.writer import save_file


def state():
    return {
        "model": {"w": torch.arange(4.0), "b": torch.zeros(2), "gone": torch.ones(1)},
        "optimizer": {"lr": 0.1, "nan": math.nan, "list": [1, 2]},
        "epoch": 1,
    }


def test_a_difference_names_every_change_and_reads_no_tensor(tmp_path):
    """Tensors by digest, values by path, metrics and files."""
    first, second = state(), state()
    second["model"]["w"][0] = 9
    second["model"]["b"] = torch.zeros(3)
    del second["model"]["gone"]
    second["model"]["new"] = torch.ones(1)
    second["optimizer"]["lr"] = 0.2
    second["optimizer"]["list"] = [1, 2, 3]
    second["epoch"] = True
    save(first, tmp_path / "a", metrics={"loss": 1.0, "nan": math.nan}, files={"config.json": b"{}"})
    save(second, tmp_path / "b", metrics={"loss": 0.5, "nan": math.nan}, files={"config.json": b"{ }"})
    found = diff(tmp_path / "a", tmp_path / "b")
    assert (found.added, found.removed, found.unchanged) == (("new",), ("gone",), 0)
    assert [(change.name, change.is_reshaped) for change in found.changed] == [("w", False), ("b", True)]
    assert [(v.path, v.before, v.after) for v in found.values] == [
        ("optimizer.lr", 0.1, 0.2),
        ("epoch", 1, True),
        ("optimizer.list[2]", None, 3),
    ]
    assert [(v.path, v.before, v.after) for v in found.metrics] == [("loss", 1.0, 0.5)]
    assert found.files == ("config.json",)
    assert not found.is_empty


def test_equal_checkpoints_have_an_empty_difference(tmp_path):
    """NaN equals itself here, and metrics do not count."""
    save(state(), tmp_path / "a", metrics={"loss": 1.0})
    save(state(), tmp_path / "b")
    found = diff(tmp_path / "a", tmp_path / "b")
    assert found.is_empty
    assert found.unchanged == 3


def test_files_are_compared_like_checkpoints(tmp_path):
    """A file against a file, and against the checkpoint that holds the same."""
    weights = {"w": torch.arange(4.0), "b": torch.zeros(2)}
    save_file(weights, tmp_path / "a.safetensors")
    save_file(weights | {"b": torch.ones(2)}, tmp_path / "b.safetensors")
    save({"model": weights, "n": 1}, tmp_path / "c")
    assert [change.name for change in diff(tmp_path / "a.safetensors", tmp_path / "b.safetensors").changed] == ["b"]
    against = diff(tmp_path / "a.safetensors", tmp_path / "c")
    assert (against.added, against.removed, against.changed, against.unchanged) == ((), (), (), 2)


def test_files_without_digests_cannot_be_told_apart(tmp_path):
    """Claiming equality without knowing would be worse than an error."""
    foreign_save({"w": torch.ones(2)}, tmp_path / "a.safetensors")
    with pytest.raises(UnverifiableError):
        diff(tmp_path / "a.safetensors", tmp_path / "a.safetensors")
