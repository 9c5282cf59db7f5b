"""Digests, against the words of docs/format.md and other implementations."""

from __future__ import annotations

import hashlib
import random
import struct

import numpy as np
import pytest

from model_checkpoint import _native


def domain(name: str) -> bytes:
    return name.encode().ljust(64, b"\0")


def chunk_digest(chunk: bytes) -> bytes:
    leaves = [chunk[i : i + 65_536] for i in range(0, len(chunk), 65_536)]
    digests = b"".join(hashlib.sha256(domain("mckpt.leaf.1") + leaf).digest() for leaf in leaves)
    return hashlib.sha256(domain("mckpt.chunk.1") + struct.pack("<Q", len(chunk)) + digests).digest()


def test_sha256_is_that_of_the_standard_library():
    """The SHA-256 of any length is hashlib's."""
    for size in (0, 1, 55, 56, 63, 64, 65, 1000, 100_000):
        data = random.Random(size).randbytes(size)
        assert hashlib.sha256(data).digest() == _native.sha256(data)


def test_crc32c_is_the_castagnoli_one_and_continues():
    """The checksum has RFC 3720's values, and can be taken in parts."""
    assert _native.crc32c(b"123456789") == 0xE3069283
    assert _native.crc32c(bytes(32)) == 0x8A9136AA
    assert _native.crc32c(b"6789", _native.crc32c(b"12345")) == 0xE3069283


def test_chunk_count_rounds_up():
    """A tensor has a chunk for every MiB that it begins."""
    assert [_native.chunk_count(n) for n in (0, 1, 2**20, 2**20 + 1)] == [0, 1, 1, 2]


def test_the_table_holds_digest_and_checksum_of_every_chunk():
    """The table of several tensors is the one that the format defines."""
    source = random.Random(0)
    tensors = [source.randbytes(size) for size in (0, 1, 65_536, 65_537, 2**20, 2**20 + 1, 3, 3 * 2**20)]
    chunks = [tensor[i : i + 2**20] for tensor in tensors for i in range(0, len(tensor), 2**20)]
    expected = b"".join(chunk_digest(chunk) + struct.pack("<I", _native.crc32c(chunk)) for chunk in chunks)
    assert expected == _native.digest_chunks(tensors)
    assert expected == _native.digest_chunks(tensors, threads=1)


def test_any_contiguous_buffer_can_be_hashed():
    """Arrays, views and mutable bytes hash as their bytes."""
    array = np.arange(1000, dtype=np.float32).reshape(10, 100)
    for buffer in (array, memoryview(array), bytearray(array.tobytes()), array.tobytes()):
        assert _native.sha256(array.tobytes()) == _native.sha256(buffer)


def test_what_is_no_contiguous_buffer_is_refused():
    """A strided view and a string raise Python's own errors."""
    with pytest.raises((BufferError, ValueError)):
        _native.sha256(np.arange(10)[::2])
    with pytest.raises(TypeError):
        _native.sha256("text")
    with pytest.raises(TypeError):
        _native.digest_chunks([b"1", None])
    with pytest.raises(TypeError):
        _native.digest_chunks(7)


def test_kernels_name_what_is_in_use():
    """Every CPU can run the portable kernels, which come last."""
    kernels = _native.kernels()
    assert {"sha256", "crc32c"} == set(kernels)
    assert all(names[-1] == "portable" for names in kernels.values())


def test_an_unknown_kernel_is_reported_at_import(run_script):
    """A kernel that this CPU lacks is a warning, not silence."""
    result = run_script("print(_native.kernels())", MCKPT_SHA256="abacus")
    assert result.returncode == 0
    assert "abacus" in result.stderr
    assert "RuntimeWarning" in result.stderr
