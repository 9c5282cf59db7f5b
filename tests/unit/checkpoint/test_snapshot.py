import pytest
import torch

from model_checkpoint.checkpoint.snapshot import SnapshotArena, state_of
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.storage.staged_files import blob_files, component_files
from model_checkpoint.storage.state_tree import flatten


def state():
    base = torch.arange(6.0)
    return {
        "model": {"a": base, "view": base[2:], "tied": base, "t": torch.ones(3, 4).t(), "empty": torch.empty(0, 3)},
        "rng": {"x": torch.zeros((), dtype=torch.bfloat16), "p": torch.nn.Parameter(torch.ones(2))},
        "meta": {"n": 1, "l": [1.5, None]},
    }


def take(arena, value):
    flat = flatten(value)
    return flat.tree, arena.take([*component_files(flat), *blob_files({"b.bin": b"x"})])


def test_the_copy_is_the_state_and_no_part_of_it():
    """Every kind of tensor is copied, sharing included; what changes in the state afterwards is not in the copy."""
    value = state()
    tree, files = take(SnapshotArena(), value)
    value["model"]["a"].fill_(9)
    value["model"]["t"].zero_()
    copy = state_of(tree, files)
    expected = state()
    for component in ("model", "rng"):
        for name, tensor in expected[component].items():
            assert torch.equal(copy[component][name], tensor), name
            assert type(copy[component][name]) is type(tensor)
    assert copy["meta"] == expected["meta"]
    copy["model"]["a"].fill_(7)
    assert copy["model"]["view"].tolist() == [7.0] * 4
    assert [file.name for file in files] == ["model.safetensors", "rng.safetensors", "b.bin"]


def test_memory_is_reused_and_grows_when_needed():
    """A second snapshot of the same size takes no new memory; a larger one does, once."""
    arena = SnapshotArena()
    assert arena.nbytes == 0
    take(arena, state())
    first, size = arena._memory, arena.nbytes
    take(arena, state())
    assert arena._memory is first
    large = {"model": {"w": torch.zeros(100_000)}, "meta": {}}
    take(arena, large)
    assert arena.nbytes > max(size, 400_000 - 1)
    grown = arena._memory
    take(arena, state())
    assert arena._memory is grown


def test_a_budget_is_kept():
    """A state fits if its files, each in whole pages, keep within the budget."""
    files = component_files(flatten({"model": {"w": torch.zeros(1025)}, "meta": {}}))
    assert SnapshotArena(2 * 4096).has_room(files)
    assert not SnapshotArena(2 * 4096 - 1).has_room(files)
    assert SnapshotArena().has_room(files)
    assert SnapshotArena(0).has_room([])
    with pytest.raises(ConfigurationError, match="memory_budget_bytes"):
        SnapshotArena(-1)


def test_a_state_without_tensors_takes_a_page():
    """There may be nothing to copy."""
    tree, files = take(SnapshotArena(), {"meta": {"n": 1}, "more": {"m": "x"}})
    assert state_of(tree, files) == {"meta": {"n": 1}, "more": {"m": "x"}}
