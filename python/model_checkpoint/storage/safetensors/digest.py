"""Digests of headers and tensors (docs/format.md, section 1). Leaves and chunks are hashed by the core."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

from model_checkpoint import _native

__all__ = ["CHUNK_ENTRY_BYTES", "blanked_digest", "chunk_count", "domain", "tensor_digest"]

DIGEST_BYTES = 32
CHUNK_ENTRY_BYTES = DIGEST_BYTES + 4
"""One entry of a chunk table: digest and checksum."""


def domain(name: str) -> bytes:
    """The block that separates one kind of digest from the others."""
    return name.encode("ascii").ljust(64, b"\0")


def chunk_count(nbytes: int) -> int:
    """Number of chunks of a tensor of ``nbytes`` bytes."""
    return -(-nbytes // _native.CHUNK_BYTES)


def blanked_digest(name: str, text: bytes, offset: int) -> str:
    """The digest of a text that carries it: its 64 digits at ``offset`` count as zeros. In hexadecimal."""
    view = memoryview(text)
    hasher = hashlib.sha256(domain(name))
    hasher.update(view[:offset])
    hasher.update(b"0" * 2 * DIGEST_BYTES)
    hasher.update(view[offset + 2 * DIGEST_BYTES :])
    return hasher.hexdigest()


def tensor_digest(dtype: str, shape: Sequence[int], table: bytes) -> str:
    """The digest of a tensor, in hexadecimal.

    Args:
        dtype: Its element type, as headers spell it.
        shape: Its dimensions.
        table: The part of the chunk table that is its own.
    """
    name = dtype.encode("ascii")
    hasher = hashlib.sha256(domain("mckpt.tensor.1"))
    hasher.update(struct.pack("<Q", len(name)) + name)
    hasher.update(struct.pack(f"<{len(shape) + 1}Q", len(shape), *shape))
    for start in range(0, len(table), CHUNK_ENTRY_BYTES):
        hasher.update(table[start : start + DIGEST_BYTES])
    return hasher.hexdigest()
