"""Stored checkpoints are changed, and every change must be found before a value is returned."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from model_checkpoint.errors import CheckpointError, CorruptionError, FormatError, IntegrityError
from model_checkpoint.storage.checkpoint_dir import load, save, verify
from tests.harness.damage import overwritten, patched

pytestmark = pytest.mark.corruption

SAMPLES = 600


def make(path: Path, fill: float = 1.0, **arguments) -> Path:
    state = {
        "model": {"w": np.full((300, 4), fill), "b": np.arange(3)},
        "opt": {"m": np.full(2, fill), "lr": 0.1},
        "step": 3,
    }
    save(state, path, files={"config.json": b'{"a": 1}'}, metrics={"loss": 0.5}, **arguments)
    for file in path.iterdir():
        file.chmod(0o600)
    return path


@pytest.fixture
def checkpoint(tmp_path):
    return make(tmp_path / "c")


def flip(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("name", ["manifest.json", "model.safetensors.index.json"])
def test_every_single_bit_of_manifest_and_index_is_guarded(tmp_path, name, evidence):
    """Exhaustively: no flipped bit loads, and the error names the file."""
    save({"model": {"a": np.arange(2), "b": np.arange(3)}, "n": 1}, tmp_path / "c", shard_bytes=1)
    path = tmp_path / "c" / name
    raw, missed = path.read_bytes(), []
    with patched(path) as fd:
        for bit in range(len(raw) * 8):
            with overwritten(fd, bytes([raw[bit // 8] ^ 1 << bit % 8]), bit // 8):
                try:
                    load(tmp_path / "c")
                except IntegrityError as error:
                    assert error.path == str(path)  # noqa: PT017 - counted
                else:
                    missed.append(bit)
    assert missed == []
    assert load(tmp_path / "c")["n"] == 1
    evidence(
        threat=f"one flipped bit anywhere in {'a manifest' if name == 'manifest.json' else 'the index of shards'}",
        promise="Loading refuses it by an error of integrity that names the file.",
        trials=len(raw) * 8,
        unit="bits",
        violations=len(missed),
        exhaustive=True,
    )


@pytest.mark.parametrize("name", ["model.safetensors", "opt.safetensors", "config.json"])
def test_flipped_bits_in_any_file_are_found(checkpoint, name):
    """Header, padding and data alike; the error names the file."""
    victim = checkpoint / name
    raw = victim.read_bytes()
    draw = random.Random(name)
    bits = range(len(raw) * 8) if len(raw) < 100 else sorted(draw.sample(range(len(raw) * 8), SAMPLES))
    for bit in bits:
        victim.write_bytes(flip(raw, bit))
        with pytest.raises(IntegrityError) as error:
            load(checkpoint)
        assert error.value.path == str(victim)
    victim.write_bytes(raw)
    assert load(checkpoint)["step"] == 3


@pytest.mark.parametrize("name", ["manifest.json", "model.safetensors", "config.json"])
@pytest.mark.parametrize("change", ["empty", "short", "long", "zeroed", "missing", "directory", "link", "pipe"])
def test_files_of_another_size_or_kind_are_refused(checkpoint, name, change):
    """Truncated, extended, zeroed, missing, and things that are no regular files."""
    victim = checkpoint / name
    raw = victim.read_bytes()
    victim.unlink()
    {
        "empty": lambda: victim.write_bytes(b""),
        "short": lambda: victim.write_bytes(raw[:-1]),
        "long": lambda: victim.write_bytes(raw + b"\n"),
        "zeroed": lambda: victim.write_bytes(bytes(len(raw))),
        "missing": lambda: None,
        "directory": victim.mkdir,
        "link": lambda: (checkpoint.parent.joinpath("aside").write_bytes(raw), victim.symlink_to("../aside")),
        "pipe": lambda: os.mkfifo(victim),
    }[change]()
    for function in (load, verify):
        with pytest.raises(IntegrityError) as error:
            function(checkpoint)
        assert str(checkpoint) in str(error.value)


def test_files_of_two_checkpoints_cannot_be_exchanged(tmp_path):
    """Each file is sound in itself, and is not the one that was committed."""
    a, b = make(tmp_path / "a"), make(tmp_path / "b", fill=2.0)
    for name in ("model.safetensors", "opt.safetensors"):
        spare = (a / name).read_bytes()
        (a / name).write_bytes((b / name).read_bytes())
        with pytest.raises(CorruptionError, match="not the file that was committed"):
            load(a)
        (a / name).write_bytes(spare)
    for one, other in (("model.safetensors", "opt.safetensors"), ("opt.safetensors", "config.json")):
        (a / one).rename(a / "x")
        (a / other).rename(a / one)
        (a / "x").rename(a / other)
        with pytest.raises(IntegrityError):
            load(a)
        (a / one).rename(a / "x")
        (a / other).rename(a / one)
        (a / "x").rename(a / other)
    shutil.copy(b / "manifest.json", a / "manifest.json")
    with pytest.raises(CorruptionError):
        load(a)


def test_a_file_that_was_saved_anew_is_not_the_one_that_was_committed(checkpoint):
    """A valid file with valid digests, but others than the manifest's."""
    from model_checkpoint.storage.safetensors.writer import save_file

    save_file({"w": np.full((300, 4), 5.0), "b": np.arange(3)}, checkpoint / "model.safetensors")
    with pytest.raises(CorruptionError, match="not the file that was committed"):
        load(checkpoint)


def test_a_missing_shard_is_missed(tmp_path):
    """All shards must be there, and none twice."""
    path = make(tmp_path / "c", shard_bytes=100)
    shards = sorted(path.glob("model-*.safetensors"))
    assert len(shards) == 2
    raw = shards[1].read_bytes()
    shards[1].unlink()
    with pytest.raises(CorruptionError, match="missing"):
        load(path)
    shards[1].write_bytes(shards[0].read_bytes())
    with pytest.raises(CorruptionError):
        load(path)
    shards[1].write_bytes(raw)
    assert load(path)["step"] == 3


def test_a_file_beside_the_checkpoint_is_reported_and_never_used(checkpoint):
    """Not even if its name looks like a component's."""
    shutil.copy(checkpoint / "opt.safetensors", checkpoint / "extra.safetensors")
    assert load(checkpoint)["opt"]["m"].tolist() == [1, 1]
    assert verify(checkpoint).extra == ("extra.safetensors",)


@pytest.mark.parametrize("level", ["full", "fast"])
@pytest.mark.parametrize("mmap", [False, True])
def test_damaged_data_is_found_at_every_checking_level(checkpoint, level, mmap):
    """Owned or mapped, by digest or by checksum; the tensor is named."""
    victim = checkpoint / "model.safetensors"
    victim.write_bytes(flip(victim.read_bytes(), (4096 + 100) * 8))
    with pytest.raises(CorruptionError) as error:
        load(checkpoint, verify=level, mmap=mmap)
    assert error.value.tensor == "w"


@pytest.mark.parametrize("level", ["none", "fast"])
def test_even_without_checks_of_data_headers_and_manifest_are_checked(checkpoint, level):
    """No level turns off what costs nothing."""
    for name, bit in (("manifest.json", 4000), ("model.safetensors", 300)):
        raw = (checkpoint / name).read_bytes()
        (checkpoint / name).write_bytes(flip(raw, bit))
        with pytest.raises(IntegrityError):
            load(checkpoint, verify=level)
        (checkpoint / name).write_bytes(raw)


def test_random_damage_anywhere_never_returns_a_wrong_state(tmp_path):
    """Blocks overwritten, moved, duplicated or cut: an error, or nothing had changed."""
    draw = random.Random(5)
    path = make(tmp_path / "c")
    good = {file.name: file.read_bytes() for file in path.iterdir()}
    for _ in range(150):
        name = draw.choice(sorted(good))
        raw = bytearray(good[name])
        start, size, other = draw.randrange(len(raw)), draw.randrange(1, 600), draw.randrange(len(raw))
        action = draw.randrange(4)
        if action == 0:
            raw[start : start + size] = draw.randbytes(len(raw[start : start + size]))
        elif action == 1:
            raw[start : start + size] = raw[other : other + len(raw[start : start + size])]
        elif action == 2:
            del raw[start : start + size]
        else:
            raw[start:start] = raw[other : other + size]
        (path / name).write_bytes(raw)
        if raw == good[name]:
            load(path)
        else:
            with pytest.raises((CorruptionError, FormatError)):
                load(path)
        (path / name).write_bytes(good[name])


def test_errors_are_ours_and_say_where(checkpoint):
    """Whatever is wrong with a checkpoint is a CheckpointError with a path."""
    (checkpoint / "config.json").unlink()
    with pytest.raises(CheckpointError) as error:
        load(checkpoint)
    assert error.value.path == str(checkpoint / "config.json")
    assert error.value.rule == "files"
