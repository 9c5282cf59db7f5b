"""Loading into tensors that exist."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model_checkpoint.errors import CorruptionError, StateMismatchError, UnsupportedStateError
from model_checkpoint.storage.safetensors.inspect import inspect_file
from model_checkpoint.storage.safetensors.into import load_into
from model_checkpoint.storage.safetensors.writer import save_file


def damage(path, name):
    (info,) = [info for info in inspect_file(path).tensors if info.name == name]
    data = bytearray(path.read_bytes())
    data[info.offset] ^= 0x80
    path.write_bytes(data)


def test_targets_are_filled_in_place(path):
    """Contiguous and strided torch tensors, parameters and numpy arrays keep their memory and get the values."""
    source = torch.arange(12.0).reshape(3, 4)
    save_file({"w": source, "t": source + 1, "n": np.arange(4), "scalar": torch.tensor(2.5)}, path)
    targets = {
        "w": torch.nn.Parameter(torch.zeros(3, 4)),
        "t": torch.zeros(4, 3).t(),
        "n": np.zeros(8, np.int64)[::2],
        "scalar": torch.tensor(0.0),
    }
    addresses = [targets["w"].data_ptr(), targets["t"].data_ptr(), targets["n"].ctypes.data]
    load_into(path, targets)
    assert torch.equal(targets["w"], source)
    assert torch.equal(targets["t"], source + 1)
    assert targets["n"].tolist() == [0, 1, 2, 3]
    assert targets["scalar"].item() == 2.5
    assert targets["w"].requires_grad
    assert addresses == [targets["w"].data_ptr(), targets["t"].data_ptr(), targets["n"].ctypes.data]


def test_only_the_targets_are_needed(path):
    """Tensors of the file without a target are neither read nor missed."""
    save_file({"a": torch.ones(2), "b": torch.zeros(3)}, path)
    damage(path, "b")
    target = torch.zeros(2)
    load_into(path, {"a": target})
    assert target.tolist() == [1, 1]


@pytest.mark.parametrize("level", ["auto", "full", "fast"])
def test_damage_is_found_before_any_target_changes(path, level):
    """One bad byte in the last tensor leaves every target as it was."""
    names = "abcdef"
    save_file({name: torch.ones(400_000) for name in names}, path)
    damage(path, "f")
    targets = {name: torch.zeros(400_000) for name in names} | {"e": torch.zeros(800_000)[::2]}
    with pytest.raises(CorruptionError) as caught:
        load_into(path, targets, verify=level)
    assert caught.value.tensor == "f"
    assert not any(target.any() for target in targets.values())


def test_without_verification_damage_is_loaded(path):
    """verify='none' does what it says."""
    save_file({"a": torch.ones(2, dtype=torch.uint8)}, path)
    damage(path, "a")
    target = torch.zeros(2, dtype=torch.uint8)
    load_into(path, {"a": target}, verify="none")
    assert target.tolist() == [0x81, 1]


def test_what_does_not_fit_is_named_and_nothing_changes(path):
    """Missing names, other dtypes, other shapes and read-only or expanded targets are refused as a whole."""
    save_file({name: torch.ones(2) for name in "abcdef"}, path)
    good, frozen = torch.zeros(2), np.zeros(2, np.float32)
    frozen.flags.writeable = False
    with pytest.raises(StateMismatchError) as caught:
        load_into(path, {"a": good, "nope": torch.zeros(2)})
    assert caught.value.missing == ("nope",)
    with pytest.raises(StateMismatchError) as caught:
        load_into(
            path,
            {
                "a": good,
                "b": torch.zeros(2, dtype=torch.float64),
                "c": torch.zeros(3),
                "d": frozen,
                "e": torch.zeros(1).expand(2),
            },
        )
    assert [text.partition(":")[0] for text in caught.value.mismatched] == ["b", "c", "d", "e"]
    assert "F32 [2]" in caught.value.mismatched[0]
    assert "F64 [2]" in caught.value.mismatched[0]
    with pytest.raises(UnsupportedStateError):
        load_into(path, {"a": good, "b": [1.0, 2.0]})
    assert good.tolist() == [0, 0]


def test_aliases_are_loaded_under_any_of_their_names(path):
    """A tied tensor and a view can be loaded into targets that are tied, and into ones that are not."""
    base = torch.arange(6.0).reshape(2, 3)
    save_file({"base": base, "tied": base, "column": base[:, 1]}, path)
    target = torch.zeros(2, 3)
    apart = {"tied": torch.zeros(2, 3), "column": torch.zeros(2)}
    load_into(path, {"base": target, "tied": target, "column": target[:, 1]})
    load_into(path, apart)
    assert torch.equal(target, base)
    assert torch.equal(apart["tied"], base)
    assert apart["column"].tolist() == [1, 4]


def test_targets_that_share_memory_get_the_later_value(path):
    """Where the file has two values for one memory, the copies happen one after the other, not at once."""
    save_file({"a": torch.ones(300_000), "b": torch.full((300_000,), 2.0)}, path)
    target = torch.zeros(300_000)
    load_into(path, {"a": target, "b": target})
    assert (target == 2).all()
    load_into(path, {"b": target, "a": target})
    assert (target == 1).all()


def test_torch_is_told_that_a_tensor_has_changed(path):
    """A tensor that autograd saved for backward cannot be loaded into unnoticed."""
    save_file({"w": torch.ones(3)}, path)
    weight = torch.zeros(3)
    inputs = torch.ones(3, requires_grad=True)
    result = (inputs * weight).sum()
    load_into(path, {"w": weight})
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.backward()


def test_packed_and_complex_targets_are_filled(path):
    """Every kind of element can be loaded in place, also through copies."""
    four = torch.arange(12, dtype=torch.uint8).reshape(3, 4).view(torch.float4_e2m1fn_x2)
    pair = torch.tensor([[1 + 2j, 3 - 1j]])
    save_file({"four": four, "pair": pair}, path)
    targets = {
        "four": torch.zeros(4, 3, dtype=torch.uint8).t().view(torch.float4_e2m1fn_x2),
        "pair": torch.zeros(2, 1, dtype=torch.complex64).t().conj(),
    }
    load_into(path, targets)
    assert torch.equal(targets["four"].view(torch.uint8), four.view(torch.uint8))
    assert torch.equal(targets["pair"], pair)
