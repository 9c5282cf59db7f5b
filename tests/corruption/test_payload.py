"""Damage of stored tensors, as disks do it: found by every reader, before a value is returned, and named."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import model_checkpoint as mc
from model_checkpoint.cli.target import Target
from model_checkpoint.cli.verdict import examine
from model_checkpoint.errors import CorruptionError, IntegrityError
from model_checkpoint.storage.safetensors.verify import verify_file
from tests.harness.damage import Chunk, chunks_of, overwritten, patched

pytestmark = pytest.mark.corruption

MIB = 1024 * 1024
FILE = "model.safetensors"
SIZES = {"a": 2 * MIB + 4097, "b": MIB, "c": 3}


@dataclass(frozen=True)
class Sample:
    """A checkpoint to damage.

    Attributes:
        directory: Where it is; its tensors are in one file.
        stale: The same file of an earlier checkpoint, with other values.
        chunks: The file's.
    """

    directory: Path
    stale: Path
    chunks: list[Chunk]

    @property
    def path(self) -> Path:
        return self.directory / FILE


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Random bytes: no two blocks are alike."""
    place = tmp_path_factory.mktemp("payload")
    rng = np.random.default_rng(5)
    for name in ("stale", "c"):
        state = {"model": {key: rng.integers(0, 256, size, np.uint8) for key, size in SIZES.items()}, "step": 1}
        mc.save(state, place / name)
    return Sample(place / "c", place / "stale" / FILE, chunks_of(place / "c" / FILE))


def zeros():
    return {"model": {key: np.zeros(size, np.uint8) for key, size in SIZES.items()}, "step": 0}


def load_into(sample: Sample, level: str, chunk: Chunk) -> None:
    """Load in place; a target that has changed in spite of an error is an error of its own."""
    target = zeros()
    try:
        mc.load(sample.directory, into=target, verify=level)
    finally:
        assert target["step"] == 0
        assert not any(array.any() for array in target["model"].values()), "the target has changed"


def read_slice(sample: Sample, level: str, chunk: Chunk) -> None:
    first = chunk.index * MIB
    mc.open_file(sample.path, verify=level).get_slice(chunk.tensor)[first + 1 : first + 2]


def read_one(sample: Sample, level: str, chunk: Chunk) -> None:
    mc.load_file(sample.path, names=[chunk.tensor], verify=level, framework="numpy")


Reader = Callable[[Sample, str, Chunk], object]

READERS: dict[str, tuple[str, Reader]] = {
    "load_file, owned": ("full fast", lambda s, level, _: mc.load_file(s.path, verify=level)),
    "load_file, numpy": ("full fast", lambda s, level, _: mc.load_file(s.path, verify=level, framework="numpy")),
    "load_file, mmap": ("full fast", lambda s, level, _: mc.load_file(s.path, verify=level, mmap=True)),
    "load_file, one tensor": ("full fast", read_one),
    "a slice": ("full fast", read_slice),
    "load, owned": ("full fast", lambda s, level, _: mc.load(s.directory, verify=level)),
    "load, mmap": ("full fast", lambda s, level, _: mc.load(s.directory, verify=level, mmap=True)),
    "load, into": ("full fast", load_into),
    "verify a file": ("full fast", lambda s, level, _: verify_file(s.path, level=level)),
    "verify a checkpoint": ("full", lambda s, *_: mc.verify(s.directory)),
}


def is_named(error: IntegrityError, sample: Sample, chunk: Chunk) -> bool:
    """Whether an error says which file, which tensor and which of its chunks."""
    named = (error.path, error.tensor, error.offset)
    return isinstance(error, CorruptionError) and named == (str(sample.path), chunk.tensor, chunk.offset)


@pytest.mark.parametrize(
    ("reader", "level"), [(reader, level) for reader, (levels, _) in READERS.items() for level in levels.split()]
)
def test_every_reader_finds_every_flipped_bit(sample, reader, level, trials, evidence):
    """One bit of a tensor at a time; the error names file, tensor and chunk."""
    read = READERS[reader][1]
    count, draw, missed = trials(ci=12, proof=300, full=10_000), random.Random(f"{reader} {level}"), []
    with patched(sample.path) as fd:
        for _ in range(count):
            chunk = draw.choice(sample.chunks)
            offset, bit = chunk.offset + draw.randrange(chunk.nbytes), draw.randrange(8)
            (byte,) = os.pread(fd, 1, offset)
            with overwritten(fd, bytes([byte ^ 1 << bit]), offset):
                try:
                    read(sample, level, chunk)
                except IntegrityError as error:
                    if is_named(error, sample, chunk):
                        continue
                missed.append((offset, bit))
    assert missed == []
    mc.verify(sample.directory)
    evidence(
        threat="one flipped bit in a stored tensor",
        promise="Every reader at every level that checks data refuses it, and names file, tensor and chunk.",
        trials=count,
        unit="flips",
        violations=len(missed),
        detail=f"{reader}, verify='{level}'",
    )


def test_the_command_line_names_every_flipped_bit(sample, trials, evidence):
    """What `mckpt verify` prints has the one damaged chunk, and no other."""
    count, draw, missed = trials(ci=8, proof=100, full=10_000), random.Random(6), []
    with patched(sample.path) as fd:
        for _ in range(count):
            chunk = draw.choice(sample.chunks)
            offset, bit = chunk.offset + draw.randrange(chunk.nbytes), draw.randrange(8)
            (byte,) = os.pread(fd, 1, offset)
            with overwritten(fd, bytes([byte ^ 1 << bit]), offset):
                flaws = examine(Target(str(sample.directory)), lambda _: None).flaws
            if [(f.file, f.tensor, f.chunk, f.offset) for f in flaws] != [
                (FILE, chunk.tensor, chunk.index, chunk.offset)
            ]:
                missed.append((offset, bit))
    assert missed == []
    evidence(
        threat="one flipped bit in a stored tensor",
        promise="`mckpt verify` names the one chunk that is damaged, and no other.",
        trials=count,
        unit="flips",
        violations=len(missed),
    )


def zeroed(sample: Sample, draw: random.Random, at: int, size: int) -> bytes:
    return bytes(size)


def duplicated(sample: Sample, draw: random.Random, at: int, size: int) -> bytes:
    """The block that stands before or behind it."""
    data = sample.path.read_bytes()
    other = at - size if at - size >= sample.chunks[0].offset else at + size
    return data[other : other + size]


def misplaced(sample: Sample, draw: random.Random, at: int, size: int) -> bytes:
    """A block from anywhere in the data."""
    data, first = sample.path.read_bytes(), sample.chunks[0].offset
    other = draw.randrange(first // size, (len(data) - size) // size) * size
    return data[other : other + size]


def stale(sample: Sample, draw: random.Random, at: int, size: int) -> bytes:
    """What stood there in an earlier checkpoint: a write that was lost."""
    return sample.stale.read_bytes()[at : at + size]


BLOCKS = {"zeroed": zeroed, "duplicated": duplicated, "misplaced": misplaced, "stale": stale}


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("size", [512, 4096])
def test_blocks_that_a_disk_has_lost_or_misplaced_are_found(sample, kind, size, trials, evidence):
    """Sectors and pages, aligned as disks do it; by digest and by checksum, read and mapped."""
    count, draw, missed = trials(ci=6, proof=100, full=1_000), random.Random(f"{kind}{size}"), []
    tried = 0
    first, end = sample.chunks[0].offset, sample.path.stat().st_size
    with patched(sample.path) as fd:
        for _ in range(count):
            at = draw.randrange(first // size, (end - size) // size) * size
            data = BLOCKS[kind](sample, draw, at, size)
            touched = [c for c in sample.chunks if c.offset < at + size and at < c.offset + c.nbytes]
            if data == os.pread(fd, size, at):
                continue
            with overwritten(fd, data, at):
                for level in ("full", "fast"):
                    for mmap in (False, True):
                        tried += 1
                        try:
                            mc.load_file(sample.path, verify=level, mmap=mmap)
                        except IntegrityError as error:
                            if any(is_named(error, sample, chunk) for chunk in touched):
                                continue
                        missed.append((at, level, mmap))
    assert missed == []
    evidence(
        threat=f"a block of {size} bytes that is {kind}",
        promise="Loading refuses it, and names file, tensor and chunk.",
        trials=tried,
        unit="loads",
        violations=len(missed),
        detail="verify='full' and 'fast', owned and mmap",
    )


@pytest.mark.parametrize("size", [512, 4096, 65536])
def test_blocks_that_changed_places_are_found(sample, size, trials, evidence):
    """Two blocks of a file, each where the other should be."""
    count, draw, missed = trials(ci=6, proof=100, full=1_000), random.Random(size), []
    tried = 0
    first, end = sample.chunks[0].offset, sample.path.stat().st_size
    with patched(sample.path) as fd:
        for _ in range(count):
            one, other = (draw.randrange(first // size + 1, (end - size) // size) * size for _ in range(2))
            if one == other:
                continue
            blocks = os.pread(fd, size, one), os.pread(fd, size, other)
            touched = [
                c for c in sample.chunks for at in (one, other) if c.offset < at + size and at < c.offset + c.nbytes
            ]
            with overwritten(fd, blocks[1], one), overwritten(fd, blocks[0], other):
                tried += 1
                try:
                    mc.load(sample.directory)
                except IntegrityError as error:
                    if any(is_named(error, sample, chunk) for chunk in touched):
                        continue
                missed.append((one, other))
    assert missed == []
    evidence(
        threat=f"two blocks of {size} bytes that have changed places",
        promise="Loading refuses it, and names file, tensor and chunk.",
        trials=tried,
        unit="loads",
        violations=len(missed),
    )


@pytest.fixture
def copy(sample, tmp_path):
    """The checkpoint, to cut and extend."""
    directory = Path(shutil.copytree(sample.directory, tmp_path / "c"))
    (directory / FILE).chmod(0o600)
    return Sample(directory, sample.stale, sample.chunks)


ALL = {
    "load_file": lambda s: mc.load_file(s.path, verify="none"),
    "load_file, mmap": lambda s: mc.load_file(s.path, verify="none", mmap=True),
    "load": lambda s: mc.load(s.directory, verify="none"),
    "load, into": lambda s: mc.load(s.directory, into=zeros(), verify="none"),
    "inspect": lambda s: mc.inspect(s.path),
    "verify": lambda s: mc.verify(s.directory),
}


def refusals(sample: Sample) -> list[str]:
    """The readers that do not refuse a file of another length, before they have read a tensor, by its name."""
    let_through = []
    for name, read in ALL.items():
        try:
            read(sample)
        except IntegrityError as error:
            if error.path == str(sample.path) and error.rule in ("length", "coverage"):
                continue
        let_through.append(name)
    return let_through


def test_cuts_at_every_edge_of_a_chunk_are_refused(copy, evidence):
    """At each edge, a byte before it and a byte behind; without any check of data, too."""
    data, missed = copy.path.read_bytes(), []
    edges = {edge for c in copy.chunks for edge in (c.offset, c.offset + c.nbytes)}
    lengths = {edge + step for edge in edges for step in (-1, 0, 1) if edge + step < len(data)}
    for length in sorted(lengths, reverse=True):
        os.truncate(copy.path, length)
        missed.extend((length, name) for name in refusals(copy))
    assert missed == []
    evidence(
        threat="a file cut at the edge of a chunk, a byte before it or a byte behind it",
        promise="Every reader refuses it before it has read a tensor, even with verify='none'.",
        trials=len(lengths) * len(ALL),
        unit="reads",
        violations=len(missed),
        exhaustive=True,
    )


def test_every_extension_up_to_a_mebibyte_is_refused(copy, trials, evidence):
    """Zeros, random bytes, or more of the same."""
    data, draw, missed = copy.path.read_bytes(), random.Random(8), []
    powers = [2**power + step for power in range(21) for step in (-1, 0, 1)]
    count = trials(ci=10, proof=60, full=1_000)
    sizes = draw.sample(powers, min(count, len(powers))) + [draw.randrange(1, MIB) for _ in range(count - len(powers))]
    sizes = [size for size in sizes if size > 0]
    for size in sizes:
        tail = draw.choice([bytes(size), draw.randbytes(size), data[-size:]])
        with patched(copy.path) as fd:
            os.pwrite(fd, tail, len(data))
        missed.extend((size, name) for name in refusals(copy))
        os.truncate(copy.path, len(data))
    assert missed == []
    mc.verify(copy.directory)
    evidence(
        threat="1 byte to 1 MiB more at the end of a file",
        promise="Every reader refuses it before it has read a tensor, even with verify='none'.",
        trials=len(sizes) * len(ALL),
        unit="reads",
        violations=len(missed),
    )
