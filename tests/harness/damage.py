"""Damaging stored files, and knowing what was damaged."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from model_checkpoint import inspect

__all__ = ["Chunk", "chunks_of", "flip", "overwritten", "patched"]

CHUNK_BYTES = 1024 * 1024


class Chunk(NamedTuple):
    """A chunk of a file of tensors.

    Attributes:
        tensor: Whose.
        index: Its index in the tensor.
        offset: File offset in bytes.
        nbytes: Its size in bytes.
    """

    tensor: str
    index: int
    offset: int
    nbytes: int


def chunks_of(path: Path) -> list[Chunk]:
    """All chunks of a sound file, in its order."""
    return [
        Chunk(tensor.name, index, tensor.offset + begin, min(CHUNK_BYTES, tensor.nbytes - begin))
        for tensor in sorted(inspect(path).tensors, key=lambda tensor: tensor.offset)
        for index, begin in enumerate(range(0, tensor.nbytes, CHUNK_BYTES))
    ]


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Flip one bit of a file, in place."""
    with patched(path) as fd:
        (byte,) = os.pread(fd, 1, offset)
        os.pwrite(fd, bytes([byte ^ 1 << bit]), offset)


@contextlib.contextmanager
def patched(path: Path) -> Iterator[int]:
    """A descriptor to change a file by, which a store has made read-only."""
    mode = path.stat().st_mode
    path.chmod(mode | 0o200)
    fd = os.open(path, os.O_RDWR)
    try:
        yield fd
    finally:
        os.close(fd)
        path.chmod(mode)


@contextlib.contextmanager
def overwritten(fd: int, data: bytes, offset: int) -> Iterator[None]:
    """Other bytes in a file for the length of a block."""
    before = os.pread(fd, len(data), offset)
    assert os.pwrite(fd, data, offset) == len(data)
    try:
        yield
    finally:
        os.pwrite(fd, before, offset)
