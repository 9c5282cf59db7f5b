"""Many damaged chunks among many more, found and repaired, and nothing else touched."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

import model_checkpoint as mc
from tests.harness.damage import chunks_of, flip

pytestmark = pytest.mark.corruption

MIB = 1024 * 1024
SMALL, LARGE = 980, 20  # chunks of a checkpoint: tensors of 4 KiB, and one large tensor
FILE = "model.safetensors"


@pytest.fixture
def stores(memory_path, trials):
    """A store of checkpoints of a thousand chunks each, and a copy of it."""
    with mc.CheckpointManager(memory_path / "runs", experiment="exp", progress=False) as ckpts:
        rng = np.random.default_rng(14)
        model = {f"t{i}": rng.integers(0, 256, 4096, np.uint8) for i in range(SMALL)}
        model["large"] = rng.integers(0, 256, LARGE * MIB, np.uint8)
        ckpts.track(model=model)
        for step in range(trials(ci=1, proof=10, full=10)):
            for name in model:
                model[name] += 1
            ckpts.save(step, block=True)
    shutil.copytree(memory_path / "runs", memory_path / "replica")
    return memory_path / "runs", memory_path / "replica"


def everything(root: Path) -> dict[Path, bytes]:
    return {path.relative_to(root): path.read_bytes() for path in root.glob("exp/step-*/*")}


def test_damaged_chunks_are_found_and_repaired_and_no_other_changes(stores, evidence):
    """One in ten: all found, all repaired from a replica, and what was good is the same file as before."""
    root, replica = stores
    good = everything(root)
    draw = random.Random(14)
    paths = sorted(root.glob(f"exp/step-*/{FILE}"))
    chunks = [(path, chunk) for path in paths for chunk in chunks_of(path)]
    damaged = draw.sample(chunks, len(chunks) // 10)
    for path, chunk in damaged:
        flip(path, chunk.offset + draw.randrange(chunk.nbytes), draw.randrange(8))
    untouched = {p: os.stat(p).st_ino for p in root.glob("exp/step-*/*") if p not in {path for path, _ in damaged}}
    replica_before = everything(replica)

    report = mc.scrub(root, copies=[replica], repair=True)

    def name(path: Path, tensor: str | None, index: int | None) -> tuple[str, str | None, int | None]:
        return path.parent.name[-8:], tensor, index

    found = {(d.ref[-8:], d.tensor, d.chunk) for d in report.damaged}
    expected = {name(path, chunk.tensor, chunk.index) for path, chunk in damaged}
    wrong = len(found ^ expected) + len(report.left)
    assert len(report.damaged) == len(damaged)
    assert len(report.repaired) == len(damaged)
    assert found == expected
    assert everything(root) == good
    assert everything(replica) == replica_before
    assert all(os.stat(path).st_ino == inode for path, inode in untouched.items())
    assert mc.scrub(root).damaged == ()
    evidence(
        threat=f"one flipped bit in {len(damaged):,} of {len(chunks):,} chunks of a store that has a sound replica",
        promise="A scrub with repair finds all of them, repairs all of them, and changes nothing that is sound.",
        trials=len(damaged),
        unit="chunks",
        violations=wrong,
    )


def test_a_scrub_finds_every_flipped_bit(stores, trials, evidence):
    """One bit in every chunk of a checkpoint at a time: each is named, chunk by chunk."""
    root, _ = stores
    paths, draw, missed, tried = sorted(root.glob(f"exp/step-*/{FILE}")), random.Random(15), 0, 0
    count = trials(ci=500, proof=5_000, full=10_000)
    while tried < count:
        flips = [
            (path, chunk, chunk.offset + draw.randrange(chunk.nbytes), draw.randrange(8))
            for path in paths
            for chunk in chunks_of(path)
        ]
        for path, _, offset, bit in flips:
            flip(path, offset, bit)
        found = {(d.ref[-8:], d.tensor, d.chunk, d.offset, d.nbytes) for d in mc.scrub(root).left}
        expected = {(path.parent.name[-8:], c.tensor, c.index, c.offset, c.nbytes) for path, c, _, _ in flips}
        missed, tried = missed + len(found ^ expected), tried + len(flips)
        for path, _, offset, bit in flips:
            flip(path, offset, bit)
    assert missed == 0
    evidence(
        threat="one flipped bit in a stored tensor",
        promise="A scrub names every damaged chunk, and no other.",
        trials=tried,
        unit="flips",
        violations=missed,
    )
