"""Views of a mapping: they keep it alive, and never change the file."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as save_elsewhere

from model_checkpoint.storage.safetensors.reader import load_file
from model_checkpoint.storage.safetensors.writer import save_file


def mapped_lines(path):
    with open("/proc/self/maps", encoding="utf-8") as maps:
        return [line for line in maps if str(path) in line]


@pytest.mark.parametrize("framework", ["torch", "numpy"])
def test_a_view_outlives_everything_else(path, framework):
    """One tensor keeps the mapping alive after the file, its name and its neighbours are gone; then it ends."""
    save_file({"a": np.arange(5000.0), "b": np.ones(3)}, path)
    view = load_file(path, framework=framework, mmap=True)["a"]
    path.unlink()
    gc.collect()
    assert view.tolist() == list(range(5000))
    assert mapped_lines(path)
    del view
    gc.collect()
    assert not mapped_lines(path)


def test_a_view_of_a_view_outlives_the_tensor(path):
    """Slices of a mapped tensor keep the mapping alive too."""
    save_file({"a": torch.arange(3000.0)}, path)
    tail = load_file(path, mmap=True)["a"][2990:]
    gc.collect()
    assert tail.tolist() == list(range(2990, 3000))


def test_writing_to_a_view_changes_it_alone(path):
    """The mapping is private: neither the file nor another mapping of it changes."""
    save_file({"a": torch.zeros(4)}, path)
    before = path.read_bytes()
    one, other = load_file(path, mmap=True)["a"], load_file(path, mmap=True)["a"]
    one.fill_(7)
    assert one.tolist() == [7] * 4
    assert other.tolist() == [0] * 4
    assert path.read_bytes() == before


def test_saving_over_a_mapped_file_leaves_the_mapping_intact(path):
    """A save puts a new file in the place of the old one, which lives on in its mapping."""
    save_file({"a": torch.zeros(100_000)}, path)
    old = load_file(path, mmap=True)["a"]
    save_file({"a": torch.ones(10)}, path)
    assert not old.any()
    assert old.numel() == 100_000
    assert load_file(path)["a"].tolist() == [1] * 10


def test_a_mapped_tensor_can_be_saved_over_its_own_file(path):
    """Loading by mmap, changing and saving to the same path works."""
    save_file({"a": torch.arange(5.0)}, path)
    tensors = load_file(path, mmap=True)
    tensors["a"].mul_(2)
    save_file(tensors, path)
    assert load_file(path)["a"].tolist() == [0, 2, 4, 6, 8]


def test_mapped_tensors_are_aligned_to_their_elements(path):
    """In our files a mapped tensor begins at a multiple of its class, and no copy is made."""
    save_file({"odd": np.zeros(3, np.uint8), "page": np.zeros(1024, np.float32), "f64": np.ones(3)}, path)
    loaded = load_file(path, framework="numpy", mmap=True)
    assert loaded["page"].ctypes.data % 4096 == 0
    assert loaded["f64"].ctypes.data % 8 == 0
    assert all(array.base is not None for array in loaded.values())


@pytest.mark.parametrize("framework", ["torch", "numpy"])
def test_foreign_tensors_that_are_not_aligned_are_copied(path, framework):
    """A foreign file may put doubles at odd addresses; what is loaded is aligned all the same."""
    text = (
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F64","shape":[2],"data_offsets":[1,17]}}'
    )
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\1" + np.array([1.5, 2.5]).tobytes())
    loaded = load_file(path, framework=framework, mmap=True, verify="none")
    assert loaded["b"].tolist() == [1.5, 2.5]
    address = loaded["b"].ctypes.data if framework == "numpy" else loaded["b"].data_ptr()
    assert address % 8 == 0


def test_a_foreign_file_of_empty_tensors_can_be_mapped(path):
    """There may be no data at all."""
    save_elsewhere({"a": np.zeros((0, 2), np.float32)}, path)
    assert load_file(path, mmap=True, verify="none")["a"].shape == (0, 2)


def test_the_mapping_ends_with_the_last_array(path):
    """No reference cycle delays the unmapping."""
    save_file({"a": np.zeros(10)}, path)
    gc.disable()
    try:
        array = load_file(path, framework="numpy", mmap=True)["a"]
        gone = weakref.ref(array)
        del array
        assert gone() is None
        assert not mapped_lines(path)
    finally:
        gc.enable()


def test_a_process_may_end_with_views_alive(path):
    """Interpreter shutdown with mapped tensors in globals is clean."""
    save_file({"a": torch.arange(4.0)}, path)
    code = (
        "from model_checkpoint.storage.safetensors.reader import load_file, open_file\n"
        f"t = load_file({str(path)!r}, mmap=True); f = open_file({str(path)!r}); print(t['a'].sum().item())"
    )
    result = subprocess.run([sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "6.0"
    assert result.returncode == 0
    assert "Exception" not in result.stderr
