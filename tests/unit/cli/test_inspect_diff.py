"""`mckpt inspect` and `mckpt diff`."""

import json

import numpy as np
import pytest

from model_checkpoint import save_file


def test_inspect_lists_tensors_of_a_checkpoint(mckpt, root):
    """Each tensor stands in a line with dtype, shape, size, offset and digest."""
    done = mckpt("-C", root, "inspect", "digits:best")
    assert done.code == 0
    line = next(line for line in done.out.splitlines() if line.startswith("weight"))
    assert line.split()[:6] == ["weight", "U8", "[1500000]", "1.5", "MB", "4096"]
    assert len(line.split()[6]) == 16
    assert "file digest" in done.out


def test_inspect_filters_by_glob(mckpt, root):
    """--tensors takes a pattern; one that matches nothing is not found."""
    shown = mckpt("-C", root, "inspect", "digits:best", "-t", "b*", "--json").json
    assert [tensor["name"] for file in shown["files"] for tensor in file["tensors"]] == ["bias"]
    assert shown["files"][0]["ours"] is True
    missing = mckpt("-C", root, "inspect", "digits:best", "-t", "x*")
    assert (missing.code, missing.out) == (3, "")


def test_inspect_shows_aliases_metadata_and_hostile_names(mckpt, tmp_path):
    """A file on its own is shown with its metadata; names are escaped and never read as markup."""
    path = tmp_path / "file.safetensors"
    save_file({"[bold]\u202ex": np.zeros((2, 3), np.float32)}, path, metadata={"k": "a\nb"})
    done = mckpt("inspect", path)
    assert done.code == 0
    assert "[bold]\\u202ex  F32    [2, 3]" in done.out
    assert "metadata k: a\\nb" in done.out


def test_inspect_of_a_foreign_file_says_so(mckpt, tmp_path):
    """A file without digests is shown without them."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0\0\0")
    done = mckpt("inspect", path)
    assert done.code == 0
    assert "foreign: carries no digests" in done.out
    assert mckpt("inspect", path, "--json").json["files"][0]["digest"] is None


def test_inspect_of_garbage_ends_with_4(mckpt, tmp_path):
    """What is no safetensors file breaks a rule, which is named."""
    path = tmp_path / "garbage.safetensors"
    path.write_bytes(b"garbage" * 10)
    done = mckpt("inspect", path)
    assert (done.code, done.out, done.err.count("\n")) == (4, "", 1)
    assert "rule=" in done.err


@pytest.mark.parametrize("command", ["inspect", "verify", "export"])
def test_what_is_not_there_is_not_found(mckpt, root, tmp_path, command):
    """Paths and references that lead nowhere end with 3."""
    out = [tmp_path / "out"] if command == "export" else []
    for target in ("no/such/dir", "none.safetensors", "digits:77", root / "digits"):
        done = mckpt("-C", root, command, target, *out)
        assert (done.code, done.err.count("\n")) == (3, 1), target


def test_diff_tells_what_changed(mckpt, root):
    """Changed tensors, values and metrics are listed; what is alike is counted."""
    done = mckpt("-C", root, "diff", "digits:10", "digits:20", "--json")
    assert done.code == 0
    found = done.json
    assert [change["name"] for change in found["changed"]] == ["bias"]
    assert (found["added"], found["removed"], found["unchanged"], found["identical"]) == ([], [], 1, False)
    assert {change["path"]: (change["before"], change["after"]) for change in found["values"]}["schedule.epoch"] == (
        1,
        2,
    )
    assert {"path": "val_loss", "before": 1.0, "after": 2.0} in found["metrics"]
    text = mckpt("-C", root, "diff", "digits:10", "digits:20").out
    assert "schedule.epoch" in text
    assert "tensors: 1 changed, 1 unchanged" in text


def test_diff_of_the_same_says_so(mckpt, root, directory_of):
    """A checkpoint does not differ from itself, by reference or by path."""
    done = mckpt("-C", root, "diff", "digits:10", directory_of(10))
    assert done.code == 0
    assert done.out.endswith("the same state: 2 tensors\n")


def test_diff_of_many_changes_is_shortened(mckpt, tmp_path):
    """Long lists are cut and counted, and --all shows all of them."""
    for name, value in (("a", 0), ("b", 1)):
        tensors = {f"t{index:02}": np.full(3, value, np.uint8) for index in range(40)}
        save_file(tensors, tmp_path / f"{name}.safetensors")
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    short = mckpt("diff", *files).out
    assert "... and 10 more (--all)" in short
    assert short.count("changed  t") == 30
    assert mckpt("diff", *files, "--all").out.count("changed  t") == 40


def test_diff_shows_how_a_tensor_was_reshaped(mckpt, tmp_path):
    """Another dtype or shape is shown instead of digests; added and removed tensors are named."""
    save_file({"x": np.zeros((2, 3), np.float32), "old": np.zeros(1)}, tmp_path / "a.safetensors")
    save_file({"x": np.zeros((3, 2), np.float16), "new": np.zeros(1)}, tmp_path / "b.safetensors")
    out = mckpt("diff", tmp_path / "a.safetensors", tmp_path / "b.safetensors").out
    assert "F32 [2, 3]  F16 [3, 2]" in out
    assert "added    new" in out
    assert "removed  old" in out
