"""`mckpt verify`."""

import json
import os

import pytest

from model_checkpoint import inspect
from model_checkpoint.cli.target import Target
from model_checkpoint.cli.verdict import examine


def test_verifies_and_records(mckpt, root):
    """A sound checkpoint is verified, and the catalog and the manifests' side both remember when."""
    assert mckpt("-C", root, "show", "digits:best", "--json").json["verified_at"] is None
    done = mckpt("-C", root, "verify", "digits:best")
    assert done.code == 0
    assert "verified  digits:10-" in done.out
    assert "B/s" in done.out
    assert mckpt("-C", root, "show", "digits:best", "--json").json["verified_at"] is not None
    assert mckpt("-C", root, "reindex").code == 0
    assert mckpt("-C", root, "show", "digits:best", "--json").json["state"] == "committed"
    assert mckpt("-C", root, "show", "digits:best", "--json").json["verified_at"] is not None


def test_names_every_damaged_chunk(mckpt, root, directory_of, flip):
    """Each damaged chunk is named by file, tensor, index and offset; the sound checkpoints pass."""
    path = directory_of(20) / "model.safetensors"
    weight = next(t for t in inspect(path).tensors if t.name == "weight")
    bias = next(t for t in inspect(path).tensors if t.name == "bias")
    flip(path, weight.offset + 1_048_576 + 5)
    flip(path, bias.offset)
    done = mckpt("-C", root, "verify", "--all", "--json")
    assert done.code == 4
    by_step = {entry["name"].split("-")[0]: entry for entry in done.json["checkpoints"]}
    assert len(by_step) == 7
    assert [name for name, entry in by_step.items() if not entry["verified"]] == ["digits:20"]
    damage = {
        (flaw["file"], flaw["tensor"], flaw["chunk"], flaw["offset"], flaw["bytes"])
        for flaw in by_step["digits:20"]["damage"]
    }
    assert damage == {
        ("model.safetensors", "weight", 1, weight.offset + 1_048_576, 1_500_000 - 1_048_576),
        ("model.safetensors", "bias", 0, bias.offset, 12),
    }
    text = mckpt("-C", root, "verify", "digits:20")
    assert text.code == 4
    assert f"model.safetensors: tensor weight, chunk 1, 451,424 bytes at {weight.offset + 1_048_576}" in text.out
    assert "DAMAGED" in text.out


def test_a_damaged_checkpoint_is_not_called_verified_any_more(mckpt, root, directory_of, flip):
    """What was verified before and is damaged now loses its mark, in the catalog and beside the checkpoint."""
    assert mckpt("-C", root, "verify", "digits:10").code == 0
    flip(directory_of(10) / "config.json", 0)
    done = mckpt("-C", root, "verify", "digits:10")
    assert done.code == 4
    assert "config.json: the file differs from its digest" in done.out
    assert mckpt("-C", root, "show", "digits:10", "--json").json["verified_at"] is None
    assert mckpt("-C", root, "reindex").code == 0
    assert mckpt("-C", root, "show", "digits:10", "--json").json["verified_at"] is None


@pytest.mark.parametrize(
    ("name", "message"),
    [("manifest.json", "manifest"), ("model.safetensors", "missing"), ("config.json", "missing")],
)
def test_a_missing_file_is_damage(mckpt, root, directory_of, name, message):
    """Whichever file is gone, it is named, and the others are still verified."""
    (directory_of(10) / name).unlink()
    done = mckpt("-C", root, "verify", "--all")
    assert done.code == 4
    assert name in done.out or "manifest" in done.out
    assert message in done.out
    assert done.out.count("verified ") == 6


def test_a_flipped_header_bit_is_damage(mckpt, root, directory_of, flip):
    """Damage before the data is told from damage in it."""
    flip(directory_of(10) / "model.safetensors", 120)
    done = mckpt("-C", root, "verify", "digits:10", "--json")
    assert done.code == 4
    (flaw,) = done.json["checkpoints"][0]["damage"]
    assert (flaw["file"], flaw["tensor"], flaw["chunk"]) == ("model.safetensors", None, None)


def test_a_swapped_checkpoint_is_damage(mckpt, root, directory_of):
    """A sound checkpoint in the place of another one is not the one that the catalog knows."""
    one, other, aside = directory_of(10), directory_of(20), root / "digits/aside"
    os.rename(one, aside)
    os.rename(other, one)
    os.rename(aside, other)
    done = mckpt("-C", root, "verify", "digits:10")
    assert done.code == 4
    assert "a copy: it was committed as step 20" in done.out


def test_paths_are_verified_without_a_store(mckpt, root, directory_of):
    """A checkpoint's directory and a plain file are verified where they lie, and nothing is recorded."""
    (root / "catalog.db").unlink()
    done = mckpt("verify", directory_of(10), directory_of(20) / "model.safetensors")
    assert done.code == 0
    assert done.out.count("verified  ") == 2
    assert "2 paths" in done.out
    assert not (root / "catalog.db").exists()


def test_a_foreign_file_cannot_be_verified(mckpt, tmp_path):
    """A file without digests ends with 4 and says why."""
    header = json.dumps({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"x")
    done = mckpt("verify", path)
    assert (done.code, done.out) == (4, "")
    assert "no digests" in done.err


def test_a_store_that_cannot_be_written_is_verified_all_the_same(mckpt, root, directory_of):
    """Where the outcome cannot be noted, verification passes and says so."""
    annotations = root / "digits/.annotations"
    for path in annotations.iterdir():
        path.unlink()
    annotations.rmdir()
    annotations.write_text("in the way")
    done = mckpt("-C", root, "verify", "digits:10")
    assert done.code == 0
    assert done.err.startswith("mckpt: verified, but the catalog could not note it")


@pytest.mark.parametrize("words", [[], ["digits:10", "--all"]])
def test_needs_either_targets_or_all(mckpt, root, words):
    """Nothing to verify, or everything and something, is wrong usage."""
    assert mckpt("-C", root, "verify", *words).code == 2


def test_progress_adds_up_to_all_bytes(root, directory_of):
    """What a progress bar is told of is the size of the files, for a checkpoint and for a plain file."""
    for path in (directory_of(10), directory_of(10) / "model.safetensors"):
        told = []
        verdict = examine(Target(str(path)), told.append)
        assert not verdict.flaws
        assert len(told) > 1
        assert sum(told) == verdict.nbytes
