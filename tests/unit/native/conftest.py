"""A file of tensors, and scripts in a process of their own."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_checkpoint import _native

DATA_OFFSET = 4096
SIZES = (5 * 2**20 + 100, 0, 4096, 77, 300_000, 1, *range(300))


@dataclass(frozen=True)
class TensorFile:
    """What `read_spans` and `verify_mapping` take, for a file that holds ``tensors``."""

    fd: int
    path: str
    tensors: Sequence[bytes]
    offsets: Sequence[int]
    lengths: Sequence[int]
    names: Sequence[str]
    table: bytes
    first_chunks: Sequence[int]

    @property
    def size(self) -> int:
        return self.offsets[-1] + self.lengths[-1]

    def read(self, **options: object) -> list[bytearray]:
        dests = [bytearray(length) for length in self.lengths]
        arguments = {"table": self.table, "first_chunks": self.first_chunks} | options
        _native.read_spans(self.fd, self.path, self.offsets, self.lengths, dests, self.names, **arguments)
        return dests

    def verify(self, mapping: _native.Mapping, **options: object) -> None:
        arguments = {"table": self.table, "first_chunks": self.first_chunks} | options
        _native.verify_mapping(mapping, self.path, self.offsets, self.lengths, self.names, **arguments)

    def flip(self, offset: int) -> None:
        byte = os.pread(self.fd, 1, offset)[0]
        os.pwrite(self.fd, bytes([byte ^ 1]), offset)


def write_tensors(fd: int, path: str, tensors: Sequence[bytes]) -> TensorFile:
    names = [f"tensor.{i}" for i in range(len(tensors))]
    lengths = [len(tensor) for tensor in tensors]
    offsets, first_chunks = [], []
    offset, chunk = DATA_OFFSET, 0
    for length in lengths:
        offsets.append(offset)
        first_chunks.append(chunk)
        offset, chunk = offset + length, chunk + _native.chunk_count(length)
    result = _native.write_segments(fd, path, tensors, names, data_offset=DATA_OFFSET)
    return TensorFile(fd, path, tensors, offsets, lengths, names, result.table, first_chunks)


@pytest.fixture
def tensor_file(tmp_path: Path) -> Iterator[TensorFile]:
    source = random.Random(1)
    path = str(tmp_path / "tensors")
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    yield write_tensors(fd, path, [source.randbytes(size) for size in SIZES])
    os.close(fd)


@pytest.fixture
def run_script(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python source in a process of its own, in an empty directory, with ``_native`` imported."""

    def run(source: str, **environment: str) -> subprocess.CompletedProcess[str]:
        script = "from model_checkpoint import _native\n" + textwrap.dedent(source)
        return subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
