"""Tensors that share memory are stored once and share it again."""

from __future__ import annotations

import json

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from safetensors.torch import load_file as load_elsewhere

from model_checkpoint.errors import UnsupportedStateError
from model_checkpoint.storage.safetensors.alias import Alias, View
from model_checkpoint.storage.safetensors.inspect import inspect_file
from model_checkpoint.storage.safetensors.reader import load_file, open_file
from model_checkpoint.storage.safetensors.writer import save_file


def aliases_of(path):
    return inspect_file(path).aliases


def share_memory(one, other):
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


@pytest.mark.parametrize("mmap", [False, True], ids=["owned", "mmap"])
def test_tied_tensors_are_stored_once_and_load_as_one(path, mmap):
    """Two names of one tensor cost its bytes once; changing one loaded name changes the other."""
    weight = torch.randn(100, 64)
    receipt = save_file({"embed": weight, "other": torch.zeros(3), "head": weight}, path)
    assert receipt.nbytes == 4096 + weight.nbytes + 12
    assert aliases_of(path) == {"head": Alias("embed")}
    loaded = load_file(path, mmap=mmap)
    assert loaded["head"] is loaded["embed"]
    assert torch.equal(loaded["head"], weight)
    assert list(load_elsewhere(path)) == ["embed", "other"]


def test_tied_parameters_of_a_module_are_found(path):
    """A module's state_dict gives new tensor objects for one parameter; their memory tells."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    model[1].weight = model[0].weight
    save_file(model.state_dict(), path)
    assert aliases_of(path) == {"1.weight": Alias("0.weight")}
    fresh = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    fresh.load_state_dict(load_file(path))
    assert torch.equal(fresh[1].weight, model[0].weight)


def test_tied_tensors_that_are_not_contiguous_stay_tied(path):
    """The same strided view under two names is one tensor."""
    view = torch.randn(6, 6).t()
    save_file({"a": view, "b": view}, path)
    loaded = load_file(path)
    assert aliases_of(path) == {"b": Alias("a")}
    assert loaded["a"] is loaded["b"]
    assert torch.equal(loaded["a"], view)


VIEWS = {
    "row": lambda base: base[1],
    "column": lambda base: base[:, 2],
    "step": lambda base: base[::2, 1::3],
    "transposed": lambda base: base.t(),
    "flat": lambda base: base.reshape(-1),
    "reshaped": lambda base: base.view(2, -1),
    "scalar": lambda base: base[3, 4],
    "expanded": lambda base: base[0, 0].expand(5),
    "diagonal": lambda base: base.diagonal(),
    "windows": lambda base: base.view(-1).unfold(0, 4, 2),
}


@pytest.mark.parametrize("mmap", [False, True], ids=["owned", "mmap"])
@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("first", ["base", "view"])
def test_a_view_is_recorded_and_shares_memory_again(path, name, first, mmap):
    """Whatever the view, and whichever comes first, the base is stored and the view is a view of it after loading."""
    base = torch.arange(36.0).reshape(6, 6)
    view = VIEWS[name](base)
    tensors = {"base": base, "view": view} if first == "base" else {"view": view, "base": base}
    save_file(tensors, path)
    if name in ("flat", "reshaped", "transposed"):
        assert len(aliases_of(path)) == 1  # equally large: the first contiguous one is stored
    else:
        assert list(aliases_of(path)) == ["view"]
    loaded = load_file(path, mmap=mmap)
    assert torch.equal(loaded["base"], base)
    assert torch.equal(loaded["view"], view)
    assert share_memory(loaded["base"], loaded["view"])
    loaded["base"].fill_(-1)
    assert (loaded["view"] == -1).all()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(st.data())
def test_any_views_of_one_array_come_back_as_views(tmp_path, data):
    """Random basic slices of an array load equal, and share memory where they did."""
    base = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    axis = st.one_of(
        st.integers(0, 3),
        st.builds(slice, st.integers(0, 3), st.integers(0, 6), st.integers(1, 3)),
    )
    views = {
        f"v{index}": base[key]
        for index, key in enumerate(data.draw(st.lists(st.tuples(axis, axis, axis), min_size=1, max_size=4)))
    }
    views = {name: view for name, view in views.items() if isinstance(view, np.ndarray)}
    save_file({**views, "base": base}, tmp_path / "file")
    loaded = load_file(tmp_path / "file", framework="numpy")
    for name, view in views.items():
        assert np.array_equal(loaded[name], view)
        assert np.shares_memory(loaded[name], loaded["base"]) == np.shares_memory(view, base)


def test_a_numpy_array_and_a_torch_tensor_on_its_memory_are_one(path):
    """Sharing is seen across frameworks."""
    array = np.arange(6.0)
    save_file({"n": array, "t": torch.from_numpy(array)[2:]}, path)
    assert aliases_of(path) == {"t": Alias("n", View((4,), (1,), 2))}


def test_views_of_one_storage_that_do_not_overlap_are_independent(path):
    """Parts of a flat buffer are stored as tensors of their own, without the buffer."""
    flat = torch.arange(10.0)
    receipt = save_file({"a": flat[:4], "b": flat[4:8]}, path)
    assert aliases_of(path) == {}
    assert receipt.nbytes == 4096 + 32
    loaded = load_file(path)
    assert not share_memory(loaded["a"], loaded["b"])
    assert (loaded["a"].tolist(), loaded["b"].tolist()) == ([0, 1, 2, 3], [4, 5, 6, 7])


def test_interleaved_views_are_independent(path):
    """Even and odd elements have no byte in common, though their ranges do."""
    flat, grid = torch.arange(10.0), np.arange(24).reshape(4, 6)
    save_file({"even": flat[::2], "odd": flat[1::2], "left": grid[:, :3], "right": grid[:, 3:]}, path)
    assert aliases_of(path) == {}
    loaded = load_file(path)
    assert loaded["odd"].tolist() == [1, 3, 5, 7, 9]
    assert loaded["right"].tolist() == grid[:, 3:].tolist()


OVERLAPS = {
    "staggered": lambda flat: (flat[:6], flat[4:]),
    "other dtype": lambda flat: (flat, flat.view(torch.int32)),
    "no contiguous container": lambda flat: (flat.view(5, 2)[:, :1], flat.view(5, 2)[1]),
    "between elements": lambda flat: (flat.view(torch.uint8), flat.view(torch.uint8)[2:10].view(torch.int16)),
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_overlapping_tensors_without_a_container_are_refused_by_both_names(path, name):
    """What no view can express is an error that names both tensors, and nothing is written."""
    one, other = OVERLAPS[name](torch.arange(10.0))
    with pytest.raises(UnsupportedStateError, match="clone") as caught:
        save_file({"one": one, "fine": torch.zeros(1), "other": other}, path)
    assert "'one'" in str(caught.value)
    assert "'other'" in str(caught.value)
    assert not path.exists()


def test_a_reversed_view_beside_its_base_is_refused(path):
    """Readers cannot express negative strides; alone, a reversed array is stored as it reads."""
    base = np.arange(4)
    with pytest.raises(UnsupportedStateError):
        save_file({"base": base, "reversed": base[::-1]}, path)
    save_file({"reversed": base[::-1]}, path)
    assert load_file(path, framework="numpy")["reversed"].tolist() == [3, 2, 1, 0]


def test_arrays_reversed_along_different_axes_are_not_taken_for_one(path):
    """Two views with the same addresses and another order of elements are refused, not confused."""
    base = np.arange(4).reshape(2, 2)
    with pytest.raises(UnsupportedStateError):
        save_file({"up": base[::-1], "left": base[:, ::-1]}, path)
    view = base[::-1]
    save_file({"up": view, "again": view}, path)
    assert load_file(path, framework="numpy")["again"].tolist() == [[2, 3], [0, 1]]


def test_the_same_bytes_read_in_the_other_order_are_another_tensor(path):
    """An array in the other byte order does not pass for its memory, which may be stored beside it."""
    big = np.array([1, 256], ">i4")
    save_file({"big": big, "little": big.view("<i4")}, path)
    loaded = load_file(path, framework="numpy")
    assert loaded["big"].tolist() == [1, 256]
    assert loaded["little"].tolist() == [2**24, 2**16]


def test_a_chain_of_views_refers_to_the_stored_tensor_only(path):
    """A view of a view is recorded as a view of what is stored."""
    base = torch.arange(8.0)
    save_file({"inner": base[2:6][1:3], "middle": base[2:6], "base": base}, path)
    assert aliases_of(path) == {
        "inner": Alias("base", View((2,), (1,), 3)),
        "middle": Alias("base", View((4,), (1,), 2)),
    }


def test_empty_tensors_share_nothing(path):
    """Tensors without elements are always stored, even if they are the same object."""
    empty = torch.empty(0, 3)
    save_file({"a": empty, "b": empty, "base": torch.zeros(4)[4:]}, path)
    assert aliases_of(path) == {}
    assert load_file(path)["b"].shape == (0, 3)


def test_an_alias_may_be_asked_for_without_its_target(path):
    """A subset with an alias alone reads the target and returns the alias."""
    base = torch.arange(6.0)
    save_file({"base": base, "tail": base[4:], "tied": base}, path)
    loaded = load_file(path, names=["tail"])
    assert list(loaded) == ["tail"]
    assert loaded["tail"].tolist() == [4, 5]
    with open_file(path) as file:
        assert file.keys() == ["base", "tail", "tied"]
        assert file.get_tensor("tied").tolist() == base.tolist()
        assert file.get_slice("tail")[1].item() == 5
        assert file.get_slice("tail").get_shape() == [2]
        assert file.info("tail").shape == (2,)


def test_the_alias_text_is_the_one_of_the_format(path):
    """Aliases are written as the page says: shape, strides and offset counted in elements."""
    base = torch.zeros(3, 4, dtype=torch.bfloat16)
    save_file({"w": base, "t": base.t()[1:], "same": base}, path)
    header = json.loads(path.read_bytes()[8:4096])
    assert json.loads(header["__metadata__"]["mckpt.aliases"]) == {
        "t": {"of": "w", "shape": [3, 3], "strides": [1, 4], "offset": 1},
        "same": {"of": "w"},
    }
