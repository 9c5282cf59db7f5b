"""Plain files for fuzzing: made at random, changed, and then forged: with the digests that their content needs.

Random damage never gets past the file digest. Whoever can write a file can also compute its digest, so that is what
the inputs mostly do. The digests are computed here once more, from docs/format.md.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import random
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_checkpoint import _native
from tests.fuzz import json_text
from tests.fuzz.json_text import JsonText

__all__ = ["BITS", "OURS", "PlainInput", "assembled", "forged", "mutated", "random_file", "read"]

OURS = b'{"__metadata__":{"mckpt.digest":"'
_BLANK = "0" * 64
_TABLE = re.compile(rb'"mckpt\.chunks":"[^"]*"')
_MAX_DATA = 8192

BITS: Mapping[str, int] = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E5M2FNUZ", "F8_E4M3FNUZ", "F8_E8M0"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("C64", "I64", "U64", "F64"), 64),
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}
"""The element types of docs/format.md, 2.1."""


@dataclass(frozen=True, slots=True)
class PlainInput:
    """A file in parts.

    Attributes:
        text: The header's text.
        data: What follows it.
    """

    text: JsonText
    data: bytes


def read(raw: bytes) -> PlainInput:
    end = 8 + int.from_bytes(raw[:8], "little")
    return PlainInput(json_text.read(raw[8:end]), raw[end:])


# --- making -----------------------------------------------------------------------------------------------------------


def assembled(text: bytes, data: bytes, length: int | None = None) -> bytes:
    """A file of a header and data, as any writer might make it."""
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def forged(text: bytes, data: bytes, *, table: bool = True) -> bytes:
    """A file with the digests of its content, if it begins as ours do.

    Args:
        text: The header's text.
        data: The data area.
        table: Whether to replace the chunk table, too.
    """
    if not text.startswith(OURS) or len(text) < len(OURS) + 64:
        return assembled(text, data)
    if table:
        text = _with_table(text, data)
    begin = len(OURS)
    blank = struct.pack("<Q", len(text)) + text[:begin] + _BLANK.encode() + text[begin + 64 :]
    digest = hashlib.sha256(b"mckpt.file.1".ljust(64, b"\0") + blank).hexdigest().encode()
    return blank[: 8 + begin] + digest + blank[8 + begin + 64 :] + data


def _with_table(text: bytes, data: bytes) -> bytes:
    """The text with the chunk table of its tensors, if it is good enough to have any."""
    try:
        members = json.loads(text)
        pairs = sorted(value["data_offsets"] for key, value in members.items() if key != "__metadata__")
        parts = [data[begin:end] for begin, end in pairs]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return text
    encoded = base64.b64encode(_native.digest_chunks(parts)) if parts else b""
    return _TABLE.sub(b'"mckpt.chunks":"' + encoded + b'"', text, count=1)


def random_file(rng: random.Random, *, ours: bool) -> bytes:
    """A valid file of a few small tensors, with metadata and, if it is ours, perhaps aliases."""
    entries, data = _random_entries(rng)
    metadata = {f"key{i}": rng.choice(("", "v", "ä", "x" * 40)) for i in range(rng.choice((0, 0, 1, 2)))}
    if not ours:
        header = ({"__metadata__": metadata} if metadata else {}) | entries
        return assembled(json.dumps(header, ensure_ascii=rng.random() < 0.5).encode() + b" " * rng.choice((0, 7)), data)
    metadata = {"mckpt.digest": _BLANK, "mckpt.version": "1", "mckpt.chunks": ""} | metadata
    if entries and rng.random() < 0.7:
        metadata["mckpt.aliases"] = json.dumps(_random_aliases(rng, entries))
    text = json.dumps({"__metadata__": metadata} | entries, separators=(",", ":")).encode()
    return forged(text + b" " * rng.choice((0, 9)), data)


def _random_entries(rng: random.Random) -> tuple[dict[str, Any], bytes]:
    entries: dict[str, Any] = {}
    end = 0
    for index in range(rng.choice((0, 1, 1, 2, 3, 5))):
        dtype = rng.choice((*BITS, "F32", "F64", "I64", "U8", "BF16"))
        shape = _random_shape(rng, dtype)
        begin, end = end, end + math.prod(shape) * BITS[dtype] // 8
        name = rng.choice(("a", "layer.weight", "ä", "w", "x" * 60)) + str(index)
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    return entries, rng.randbytes(end)


def _random_shape(rng: random.Random, dtype: str) -> list[int]:
    shape = [rng.choice((0, 1, 1, 2, 3, 4, 5)) for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 5)))]
    if rng.random() < 0.05:
        shape += [1] * rng.choice((28, 31, 32, 33, 59))
    if 0 in shape and rng.random() < 0.3:
        shape.append(rng.choice((2**31, 2**40, 2**62, 2**63 - 1)))
    if BITS[dtype] < 8 or rng.random() < 0.1:
        shape.append(4)
    return shape


def _random_aliases(rng: random.Random, entries: Mapping[str, Any]) -> dict[str, Any]:
    aliases: dict[str, Any] = {}
    for index in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice(list(entries))
        alias: dict[str, Any] = {"of": name}
        if BITS[entries[name]["dtype"]] >= 8 and rng.random() < 0.7:
            alias |= _random_view(rng, math.prod(entries[name]["shape"]))
        aliases[f"alias{index}"] = alias
    return aliases


def _random_view(rng: random.Random, elements: int) -> dict[str, Any]:
    """A view that lies inside so many elements, now and then by the skin of its teeth."""
    shape, strides, left = [], [], elements - 1
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        stride = rng.choice((0, 1, 1, 2, 3, elements))
        size = rng.choice((0, 1, 2, 3)) if stride == 0 else rng.randint(0, max(left, 0) // stride + 1)
        size = 0 if elements == 0 else size
        left -= max(size - 1, 0) * stride
        shape.append(size)
        strides.append(stride if size > 1 or rng.random() < 0.8 else rng.choice((2**40, 2**62, 2**63 - 1)))
    if elements == 0 and 0 not in shape:
        shape, strides = [*shape, 0], [*strides, 1]
    if rng.random() < 0.1:  # elements without bytes of their own
        shape, strides = [*shape, rng.choice((2**20, 2**31, 2**45))], [*strides, 0]
    return {"shape": shape, "strides": strides, "offset": rng.randint(0, max(left, 0))}


# --- changing ---------------------------------------------------------------------------------------------------------


def mutated(rng: random.Random, own: PlainInput, donor: PlainInput) -> bytes:
    """A changed file; four in five of those that begin as ours do are forged."""
    text = own.text.encoded() if rng.random() < 0.05 else _mutated_text(rng, own, donor)
    data = own.data
    if rng.random() < 0.15:
        cut = rng.randint(0, len(data))
        data = rng.choice((data[:cut], data + b"\1", data[cut:], data + donor.data, b""))[:_MAX_DATA]
    chance = rng.random()
    if chance < 0.02:
        return assembled(text, data, rng.choice((0, 1, len(text) - 1, len(text) + 1, 2**63, 2**64 - 1)) % 2**64)
    if chance < 0.04:
        return _flipped(rng, forged(text, data))
    if chance < 0.2:
        return assembled(text, data)
    return forged(text, data, table=rng.random() < 0.8)


def _mutated_text(rng: random.Random, own: PlainInput, donor: PlainInput) -> bytes:
    """The header's text is changed, or the text of the aliases inside of it, which is JSON once more."""
    if rng.random() < 0.4:
        for at, token in enumerate(own.text.tokens):
            if token == '"mckpt.aliases"' and at + 2 < len(own.text.tokens):
                return _mutated_inside(rng, own.text, at + 2, donor.text)
    return json_text.mutated(rng, own.text, donor.text)


def _mutated_inside(rng: random.Random, text: JsonText, at: int, donor: JsonText) -> bytes:
    try:
        inner = json.loads(text.tokens[at]).encode("utf-8", "surrogateescape")
    except (ValueError, AttributeError):
        return json_text.mutated(rng, text, donor)
    changed = json_text.mutated(rng, json_text.read(inner), donor).decode("utf-8", "surrogateescape")
    tokens = itertools.chain(text.tokens[:at], [json.dumps(changed)], text.tokens[at + 1 :])
    return "".join(tokens).encode("utf-8", "surrogateescape")


def _flipped(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]
