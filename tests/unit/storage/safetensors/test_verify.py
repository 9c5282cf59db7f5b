"""Checking files without loading them."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file as save_elsewhere

from model_checkpoint.errors import CorruptionError, UnverifiableError
from model_checkpoint.storage.safetensors.inspect import inspect_file
from model_checkpoint.storage.safetensors.verify import Damage, find_damage, verify_file
from model_checkpoint.storage.safetensors.writer import save_file

MIB = 1024 * 1024


@pytest.fixture
def saved(path):
    """A file of three tensors with 3, 1 and 2 chunks; and where each begins."""
    rng = np.random.default_rng(3)
    sizes = {"a": 2 * MIB + 100, "b": 10, "c": MIB + 1}
    save_file({name: rng.integers(0, 256, size, np.uint8) for name, size in sizes.items()}, path)
    return {info.name: info.offset for info in inspect_file(path).tensors}


def flip(path, *offsets):
    data = bytearray(path.read_bytes())
    for offset in offsets:
        data[offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("level", ["full", "fast"])
def test_a_sound_file_is_reported(path, saved, level):
    """The report has the size, the digest and the number of chunks."""
    report = verify_file(path, level=level)
    assert (report.path, report.nbytes, report.chunks) == (str(path), path.stat().st_size, 6)
    assert report.digest == inspect_file(path).digest
    assert report.seconds > 0
    assert find_damage(path) == ()


@pytest.mark.parametrize("level", ["full", "fast"])
def test_damage_is_named(path, saved, level):
    """The error names the tensor and the chunk's offset in the file."""
    flip(path, saved["c"] + MIB)
    with pytest.raises(CorruptionError) as caught:
        verify_file(path, level=level)
    assert (caught.value.tensor, caught.value.offset) == ("c", saved["c"] + MIB)
    assert caught.value.path == str(path)


def test_every_damaged_chunk_is_listed(path, saved):
    """All damage is found, not only the first, in the order of the file."""
    flip(path, saved["a"] + 5, saved["a"] + 2 * MIB + 99, saved["b"] + 9, saved["c"] + MIB)
    expected = [
        Damage("a", 0, saved["a"], MIB),
        Damage("a", 2, saved["a"] + 2 * MIB, 100),
        Damage("b", 0, saved["b"], 10),
        Damage("c", 1, saved["c"] + MIB, 1),
    ]
    assert find_damage(path) == tuple(sorted(expected, key=lambda damage: damage.offset))


def test_a_file_without_digests_cannot_be_verified(path):
    """A foreign file is refused rather than called sound."""
    save_elsewhere({"a": np.zeros(3)}, path)
    for check in (verify_file, find_damage):
        with pytest.raises(UnverifiableError) as caught:
            check(path)
        assert caught.value.path == str(path)


def test_the_report_of_a_header_lists_everything(path):
    """inspect_file gives tensors, metadata, aliases and digests without touching the data."""
    base = np.zeros((4, 4), np.float32)
    receipt = save_file({"w": base, "row": base[1], "e": np.zeros(0)}, path, metadata={"k": "v"})
    report = inspect_file(path)
    assert (report.ours, report.digest, report.metadata) == (True, receipt.digest, {"k": "v"})
    assert [(info.name, info.dtype, info.shape, info.nbytes) for info in report.tensors] == [
        ("w", "F32", (4, 4), 64),
        ("e", "F64", (0,), 0),
    ]
    assert list(report.aliases) == ["row"]
    assert report.data_offset == 4096
    flip(path, report.tensors[0].offset)
    assert inspect_file(path) == report


def test_a_foreign_file_is_reported_as_one(path):
    """A file of the safetensors package has no digests, and its metadata is the user's."""
    save_elsewhere({"a": np.zeros(3)}, path, metadata={"format": "np"})
    report = inspect_file(path)
    assert (report.ours, report.digest, report.metadata) == (False, None, {"format": "np"})
    assert report.tensors[0].digest is None
