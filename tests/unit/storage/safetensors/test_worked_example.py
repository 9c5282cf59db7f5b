"""The worked example of docs/format.md, 2.8, computed with hashlib alone."""

from __future__ import annotations

import base64
import hashlib
import json
import struct

import numpy as np
import pytest

from model_checkpoint.storage.safetensors.inspect import inspect_file
from model_checkpoint.storage.safetensors.verify import verify_file
from model_checkpoint.storage.safetensors.writer import save_file


def sha(domain, *parts):
    return hashlib.sha256(domain.encode().ljust(64, b"\0") + b"".join(parts)).digest()


def crc32c(data):
    """Bit by bit, from RFC 3720."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def entry(chunk):
    """The chunk table's entry of one chunk."""
    leaves = [sha("mckpt.leaf.1", chunk[start : start + 65536]) for start in range(0, len(chunk), 65536)]
    return sha("mckpt.chunk.1", struct.pack("<Q", len(chunk)), *leaves) + struct.pack("<I", crc32c(chunk))


def file_of(entries, table, data):
    """A whole file, from the words of the format."""
    digits = "0" * 64
    for _ in range(2):
        head = {"mckpt.digest": digits, "mckpt.version": "1", "mckpt.chunks": base64.b64encode(table).decode()}
        text = json.dumps({"__metadata__": head, **entries}, separators=(",", ":")).encode()
        length = -(-(8 + len(text)) // 4096) * 4096 - 8
        region = struct.pack("<Q", length) + text.ljust(length)
        digits = sha("mckpt.file.1", region).hex()
        # The first round hashed the blank field; the second puts the digest in.
    return region + data


def test_the_worked_example_is_what_is_written_byte_for_byte(path):
    """One tensor of three bytes gives exactly the file that the page describes."""
    data = bytes([1, 2, 3])
    receipt = save_file({"a": np.frombuffer(data, np.uint8)}, path)
    written = path.read_bytes()
    assert written[:8] == bytes.fromhex("f80f000000000000")
    leaf = hashlib.sha256(b"mckpt.leaf.1" + bytes(52) + data).digest()
    chunk = hashlib.sha256(b"mckpt.chunk.1" + bytes(51) + b"\3" + bytes(7) + leaf).digest()
    assert entry(data)[:32] == chunk
    expected = file_of({"a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}}, entry(data), data)
    assert written == expected
    assert receipt.digest.encode() == written[41:105]
    assert receipt.nbytes == len(written) == 4099


@pytest.mark.parametrize("size", [65535, 65536, 65537, 2**20 - 1, 2**20, 2**20 + 1, 2**21 + 70000])
def test_chunks_and_leaves_are_cut_as_the_page_says(path, size):
    """Around the edges of leaves and chunks the file is what hashlib computes from the words of the page."""
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    save_file({"a": np.frombuffer(data, np.uint8)}, path)
    header = json.loads(path.read_bytes()[8:4096])
    table = base64.b64decode(header["__metadata__"]["mckpt.chunks"])
    chunks = [data[start : start + 2**20] for start in range(0, size, 2**20)]
    digests = [
        sha(
            "mckpt.chunk.1",
            struct.pack("<Q", len(c)),
            *[sha("mckpt.leaf.1", c[i : i + 65536]) for i in range(0, len(c), 65536)],
        )
        for c in chunks
    ]
    assert [table[start : start + 32] for start in range(0, len(table), 36)] == digests
    assert verify_file(path).chunks == len(chunks)


def test_the_tensor_digest_names_dtype_shape_and_chunks(path):
    """A tensor's digest is the one of section 1."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    save_file({"w": array}, path)
    (info,) = inspect_file(path).tensors
    numbers = struct.pack("<QQQ", 2, 2, 3)
    assert (
        info.digest == sha("mckpt.tensor.1", struct.pack("<Q", 3), b"F32", numbers, entry(array.tobytes())[:32]).hex()
    )


def test_an_empty_file_has_a_header_and_nothing_else(path):
    """No tensors make a valid file of one page."""
    assert save_file({}, path).nbytes == 4096
    assert path.read_bytes() == file_of({}, b"", b"")


def test_equal_states_make_equal_files(path, tmp_path):
    """Files have no time stamps and no chance in them."""
    tensors = {"b": np.ones(5), "a": np.zeros((2, 2), np.int8)}
    save_file(tensors, path, metadata={"k": "v"})
    save_file(tensors, tmp_path / "again", metadata={"k": "v"})
    assert path.read_bytes() == (tmp_path / "again").read_bytes()
