from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from model_checkpoint.errors import ConfigurationError, CorruptionError, StateError, StateMismatchError
from model_checkpoint.storage.checkpoint_dir import load, save


@pytest.fixture
def saved(tmp_path):
    state = {
        "model": nn.Linear(3, 2),
        "buffers": {
            "t": torch.arange(6.0).reshape(2, 3),
            "a": np.arange(4),
            "z": torch.ones(2, dtype=torch.complex128),
        },
        "epoch": 3,
        "history": [0.5, 0.25],
        "nested": {"best": 1.5, "name": "x"},
        "seen": {1, 2},
    }
    save(state, tmp_path / "s")
    return tmp_path / "s", state


def fresh():
    return {
        "model": nn.Linear(3, 2),
        "buffers": {"t": torch.zeros(2, 3), "a": np.zeros(4, int), "z": torch.zeros(2, dtype=torch.complex128)},
        "epoch": 0,
        "history": [],
        "nested": {},
        "seen": set(),
    }


def test_everything_is_loaded_in_place(saved):
    """Modules, tensors and arrays keep their identity and memory; plain values and containers are replaced."""
    path, state = saved
    target = fresh()
    model, tensor, array, history = target["model"], target["buffers"]["t"], target["buffers"]["a"], target["history"]
    memory = tensor.data_ptr()
    report = load(path, into=target)
    assert report.is_complete
    assert report.skipped == ()
    assert report.tensors == 5
    assert target["model"] is model
    assert torch.equal(model.weight, state["model"].weight)
    assert target["buffers"]["t"] is tensor
    assert tensor.data_ptr() == memory
    assert tensor.tolist() == state["buffers"]["t"].tolist()
    assert target["buffers"]["a"] is array
    assert array.tolist() == [0, 1, 2, 3]
    assert target["buffers"]["z"].tolist() == [1, 1]
    assert target["history"] is history == [0.5, 0.25]
    assert (target["epoch"], target["nested"], target["seen"]) == (3, {"best": 1.5, "name": "x"}, {1, 2})


def test_only_what_is_asked_for_is_loaded(saved):
    """Keys of the checkpoint that the target lacks at the top are reported as skipped, not as errors."""
    path, state = saved
    model = nn.Linear(3, 2)
    report = load(path, into={"model": model})
    assert torch.equal(model.weight, state["model"].weight)
    assert report.skipped == ("buffers", "epoch", "history", "nested", "seen")


def test_a_module_or_a_tensor_can_be_the_whole_target(tmp_path):
    """A state that is one object loads into one object."""
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    save(model, tmp_path / "m")
    load(tmp_path / "m", into=other)
    assert torch.equal(model.weight, other.weight)
    save(torch.arange(3), tmp_path / "t")
    target = torch.zeros(3, dtype=torch.int64)
    load(tmp_path / "t", into=target)
    assert target.tolist() == [0, 1, 2]


def test_lists_and_tuples_with_tensors_are_loaded_element_by_element(tmp_path):
    """Sequences of tensors keep their tensors; other elements of a list are replaced."""
    save({"l": [torch.ones(2), 5], "t": (torch.ones(1), [torch.ones(1)])}, tmp_path / "s")
    target = {"l": [torch.zeros(2), 0], "t": (torch.zeros(1), [torch.zeros(1)])}
    first = target["l"][0]
    load(tmp_path / "s", into=target)
    assert target["l"][0] is first
    assert first.tolist() == [1, 1]
    assert target["l"][1] == 5
    assert target["t"][0].item() == target["t"][1][0].item() == 1


def test_parameters_that_require_grad_and_strided_targets_are_filled(tmp_path):
    """Targets need be neither contiguous nor free of autograd."""
    save({"a": {"p": torch.ones(4), "s": torch.arange(6.0).reshape(2, 3)}}, tmp_path / "s")
    p, s = torch.zeros(4, requires_grad=True), torch.zeros(3, 2).t()
    load(tmp_path / "s", into={"a": {"p": p, "s": s}})
    assert p.tolist() == [1] * 4
    assert p.requires_grad
    assert p.grad_fn is None
    assert s.tolist() == [[0, 1, 2], [3, 4, 5]]


MISFITS = {
    "shape": (
        lambda t: t["buffers"].update(t=torch.zeros(3, 2)),
        "mismatched",
        "buffers.t: saved as tensor F32 (2, 3)",
    ),
    "dtype": (lambda t: t["buffers"].update(t=torch.zeros(2, 3).half()), "mismatched", "not tensor F16"),
    "framework": (lambda t: t["buffers"].update(a=torch.zeros(4, dtype=torch.int64)), "mismatched", "saved as array"),
    "kind": (lambda t: t.update(epoch=torch.zeros(1)), "mismatched", "epoch: int for a tensor"),
    "container": (lambda t: t.update(history={}), "mismatched", "history: list for a dict"),
    "scalar": (lambda t: t.update(buffers=5), "mismatched", "buffers: dict for a int"),
    "missing key": (lambda t: t["buffers"].update(more=torch.zeros(1)), "missing", "buffers.more"),
    "missing part": (lambda t: t.update(scheduler=nn.Linear(1, 1)), "missing", "scheduler"),
    "unexpected": (lambda t: t["buffers"].pop("t"), "unexpected", "buffers.t"),
    "module shape": (lambda t: t.update(model=nn.Linear(3, 3)), "mismatched", "model.weight: saved as"),
    "module names": (lambda t: t.update(model=nn.Sequential(nn.Linear(3, 2))), "missing", "model.0.weight"),
    "module more": (lambda t: t.update(model=nn.Linear(3, 2, bias=False)), "unexpected", "model.bias"),
    "module kind": (lambda t: t.update(epoch=nn.Linear(1, 1)), "mismatched", "epoch: int for a module"),
    "expanded": (lambda t: t["buffers"].update(t=torch.zeros(3).expand(2, 3)), "mismatched", "cannot be written"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_what_does_not_fit_is_named_and_nothing_changes(saved, case):
    """Strict loads compare everything first."""
    change, kind, text = MISFITS[case]
    target = fresh()
    change(target)
    before = copy.deepcopy(target)
    with pytest.raises(StateMismatchError) as error:
        load(saved[0], into=target)
    assert any(text in path for path in getattr(error.value, kind)), error.value
    assert repr(target) == repr(before)
    assert (
        torch.equal(target["buffers"].get("z", torch.zeros(2)), torch.zeros(2))
        if isinstance(target["buffers"], dict)
        else 1
    )


@pytest.mark.parametrize("case", MISFITS)
def test_without_strict_the_rest_is_loaded(saved, case):
    """What fits is loaded, what does not is reported and left as it was."""
    change, kind, text = MISFITS[case]
    target = fresh()
    change(target)
    report = load(saved[0], into=target, strict=False)
    assert not report.is_complete
    assert any(text in path for path in getattr(report, kind))
    assert target["nested"] == {"best": 1.5, "name": "x"}


def test_an_optimizer_with_other_groups_is_found_before_anything_changes(tmp_path):
    """Torch would find it in the middle of the load."""
    model = nn.Linear(2, 2)
    save({"model": model, "optimizer": torch.optim.SGD(model.parameters(), 0.1)}, tmp_path / "s")
    other = nn.Linear(2, 2)
    before = other.weight.clone()
    optimizer = torch.optim.SGD([other.weight], 0.1)
    with pytest.raises(StateMismatchError, match="parameter groups"):
        load(tmp_path / "s", into={"model": other, "optimizer": optimizer})
    assert torch.equal(other.weight, before)


@pytest.mark.corruption
def test_damage_in_the_last_file_changes_nothing_in_the_first(saved):
    """All files are verified before the first target changes."""
    path, _ = saved
    victim = path / "model.safetensors"
    raw = bytearray(victim.read_bytes())
    raw[-1] ^= 1
    victim.chmod(0o600)
    victim.write_bytes(raw)
    target = {"buffers": fresh()["buffers"], "epoch": 0, "model": nn.Linear(3, 2)}
    with pytest.raises(CorruptionError):
        load(path, into=target)
    assert target["buffers"]["t"].sum() == 0
    assert target["epoch"] == 0


def test_an_object_that_refuses_its_state_is_named(saved):
    """The error says which object it was, and why."""

    class Picky:
        def load_state_dict(self, state):
            raise KeyError(state)

    with pytest.raises(StateError, match="nested: load_state_dict"):
        load(saved[0], into={"nested": Picky()})


def test_nothing_can_be_loaded_into_a_number(saved):
    """A target that cannot change is a mistake of the caller."""
    with pytest.raises(ConfigurationError, match="int"):
        load(saved[0], into=5)


def test_extra_state_of_modules_is_loaded(tmp_path):
    """What a module adds to its state dict goes through its own method."""

    class Counting(nn.Module):
        def __init__(self, count=0):
            super().__init__()
            self.count = count

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

    save({"m": Counting(7), "n": 1}, tmp_path / "s")
    module = Counting()
    load(tmp_path / "s", into={"m": module})
    assert module.count == 7


LARGE = 600_000  # float32: more than is copied by torch


@pytest.mark.parametrize(
    "make", [torch.zeros, lambda n: torch.zeros(n, 2)[:, 0], lambda n: nn.Parameter(torch.zeros(n))]
)
def test_large_tensors_of_any_layout_are_loaded_in_place(tmp_path, make):
    saved = torch.arange(LARGE, dtype=torch.float32)
    save({"t": saved}, tmp_path / "s")
    target = make(LARGE)
    load(tmp_path / "s", into={"t": target})
    assert torch.equal(target.detach(), saved)


def test_autograd_learns_that_a_large_tensor_was_changed(tmp_path):
    """Else a backward pass would use the new values with the old graph."""
    save({"t": torch.ones(LARGE)}, tmp_path / "s")
    target = torch.zeros(LARGE)
    loss = (target * torch.ones(LARGE, requires_grad=True)).sum()
    load(tmp_path / "s", into={"t": target})
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
