"""Files of version 1 that every later version must read, and this one writes alike."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch

from model_checkpoint.storage.safetensors.inspect import inspect_file
from model_checkpoint.storage.safetensors.plain_file import open_plain
from model_checkpoint.storage.safetensors.reader import load_file
from model_checkpoint.storage.safetensors.verify import verify_file
from model_checkpoint.storage.safetensors.writer import save_file

pytestmark = pytest.mark.golden

HERE = Path(__file__).parent
MODULE = runpy.run_path(str(HERE / "make_golden.py"))
GOLDEN = MODULE["GOLDEN"]

DIGESTS = {
    "plain_worked_example": "ff9991b2d6882e61bb1ab5b25ebbdaff10c3e4ba704149f1786172dcd0c3558b",
    "plain_empty": "8f5873b07cde3f5989a89f97de5377ebd8ec4fe566e7821e392b7125196474a3",
    "plain_dtypes": "6b09e0f942a4fe796fbcc43346e0a1e0be0bcd1b015a2d84c3a6dcb8093c7dc5",
    "plain_shapes": "c883d3a54e1b171a72d89b7bf21ddb9f53e2adbd619ca7fd4c46480805227034",
    "plain_aliases": "394ce11924477fa321ed611298a9553c645cd7e41e396d2e578364817bc5fb0b",
}
"""File digests, written down once: neither the files nor the way they are hashed may change."""


def file_of(name):
    return HERE / f"{name}.safetensors"


@pytest.mark.parametrize("name", GOLDEN)
def test_the_digest_of_a_golden_file_never_changes(name):
    """Each file is sound and has the digest that it had when it was made."""
    assert verify_file(file_of(name)).digest == DIGESTS[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_this_version_writes_the_golden_file_byte_for_byte(name, tmp_path):
    """The same content gives the same bytes."""
    assert MODULE["write"](name, tmp_path).read_bytes() == file_of(name).read_bytes()


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_file_says_what_it_said(name):
    """Names, order, dtypes, shapes, metadata, aliases and bytes are those spelled out in make_golden.py."""
    golden, report = GOLDEN[name], inspect_file(file_of(name))
    assert [info.name for info in report.tensors] == list(golden.tensors)
    assert (report.metadata, report.aliases) == (golden.metadata, golden.aliases)
    raw = file_of(name).read_bytes()
    for info in report.tensors:
        bytes_there = raw[info.offset : info.offset + info.nbytes]
        assert (info.dtype, info.shape, bytes_there) == golden.tensors[info.name]


@pytest.mark.parametrize("name", GOLDEN)
def test_the_safetensors_package_reads_the_golden_file(name):
    """Another reader finds the stored tensors with the same bytes."""
    theirs = {
        key: (tensor["dtype"], tuple(tensor["shape"]), bytes(tensor["data"]))
        for key, tensor in safetensors.deserialize(file_of(name).read_bytes())
    }
    assert theirs == GOLDEN[name].tensors


@pytest.mark.parametrize("mmap", [False, True], ids=["owned", "mmap"])
def test_the_values_of_every_dtype_are_read(mmap):
    """Numbers, not only bytes: each dtype means what torch takes it for."""
    names = [info.name for info in inspect_file(file_of("plain_dtypes")).tensors if not info.name.startswith("f6_")]
    loaded = load_file(file_of("plain_dtypes"), names=names, mmap=mmap)
    assert loaded["bool"].tolist() == [False, True]
    assert loaded["i8"].tolist() == [-128, 127]
    assert loaded["u16"].tolist() == [2, 65535]
    assert loaded["i64"].tolist() == [-(2**63), 7]
    assert loaded["u64"].tolist() == [2**64 - 1, 7]
    assert loaded["c64"].tolist() == [1 - 1j, 2j]
    assert all(loaded[name].tolist() == [1.0, -0.5] for name in ("f16", "bf16", "f32", "f64"))
    eights = [name for name in names if name.startswith("f8") and name != "f8_e8m0"]
    assert all(loaded[name].to(torch.float32).tolist() == [1.0, -1.0] for name in eights)
    assert loaded["f8_e8m0"].to(torch.float32).tolist() == [1.0, 2.0]
    assert (loaded["f4"].dtype, loaded["f4"].shape) == (torch.float4_e2m1fn_x2, (2, 2))


@pytest.mark.parametrize("framework", ["torch", "numpy"])
@pytest.mark.parametrize("mmap", [False, True], ids=["owned", "mmap"])
def test_the_aliases_are_views_of_the_base(framework, mmap):
    """Each alias has its elements, and shares memory with its target."""
    loaded = load_file(file_of("plain_aliases"), framework=framework, mmap=mmap)
    base = np.arange(12).reshape(3, 4)
    expected = {
        "tied": base,
        "row": base[1],
        "transposed": base.T,
        "corner": base[2, 3],
        "steps": base[::2, 1::2],
        "expanded": np.broadcast_to(base[0, 2:], (3, 2)),
        "none": base[:0],
    }
    assert {name: loaded[name].tolist() for name in expected} == {
        name: array.tolist() for name, array in expected.items()
    }
    loaded["base"][:] = -1
    assert all((loaded[name] == -1).all() for name in expected)


def test_save_file_writes_the_worked_example(tmp_path):
    """The one call that the page shows gives the golden file, from numpy and from torch."""
    for index, tensor in enumerate([np.array([1, 2, 3], np.uint8), torch.tensor([1, 2, 3], dtype=torch.uint8)]):
        save_file({"a": tensor}, tmp_path / f"{index}")
        assert (tmp_path / f"{index}").read_bytes() == file_of("plain_worked_example").read_bytes()


def test_packed_six_bit_tensors_are_described_and_verified():
    """What no framework can hold is still read by the core and checked."""
    plain = open_plain(file_of("plain_dtypes"))
    dest = bytearray(3)
    plain.read(plain.whole(["f6_e2m3"]), [dest], plain.check("full"))
    assert bytes(dest) == b"\1\2\3"
