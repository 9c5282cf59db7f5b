"""What a header must keep that was accepted: docs/format.md, 2, once more, independently of the package."""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections.abc import Mapping
from typing import Any

from tests.fuzz.plain_input import BITS, OURS
from tests.fuzz.target import Violation

__all__ = ["check_header"]

_MOST = 2**63 - 1


def check_header(header: Any, raw: bytes, text: Mapping[str, Any]) -> None:
    """Check what `decode` has made of a file.

    Args:
        header: The result.
        raw: The whole file.
        text: The header's JSON, as the standard library reads it.

    Raises:
        Violation: A rule does not hold.
    """
    _check_entries(header, len(raw), text)
    _check_names([*header.entries, *header.aliases])
    metadata = text.get("__metadata__", {})
    _demand(not any(key.startswith("mckpt.") for key in header.metadata), "metadata of the format is not the user's")
    _demand(
        header.metadata == {key: value for key, value in metadata.items() if not key.startswith("mckpt.")}, "metadata"
    )
    _demand(header.ours == raw.startswith(OURS, 8), "ours or foreign")
    if header.ours:
        _check_ours(header, raw)
    for name, alias in header.aliases.items():
        _check_alias(name, alias, header.entries)


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise Violation(f"accepted against the rule: {what}")


def _check_entries(header: Any, size: int, text: Mapping[str, Any]) -> None:
    said = {
        name: (entry["dtype"], tuple(entry["shape"]), *entry["data_offsets"])
        for name, entry in text.items()
        if name != "__metadata__"
    }
    _demand(said == {name: tuple(entry) for name, entry in header.entries.items()}, "the tensors of the text")
    end = 0
    for dtype, shape, begin, next_end in sorted(said.values(), key=lambda entry: entry[2:]):
        _demand(len(shape) <= 64 and all(type(n) is int and 0 <= n <= _MOST for n in shape), "shape")
        _demand((next_end - begin) * 8 == math.prod(shape) * BITS[dtype], "size")
        _demand(begin == end, "coverage")
        end = next_end
    _demand(header.data_offset + end == size == header.file_bytes, "coverage of the file")


def _check_names(names: list[str]) -> None:
    _demand(len({unicodedata.normalize("NFC", name) for name in names}) == len(names), "unique names")
    for name in names:
        _demand(1 <= len(name.encode()) <= 512 and name != "__metadata__", "name")
        _demand(all(unicodedata.category(character) not in ("Cc", "Cs") for character in name), "control characters")


def _check_ours(header: Any, raw: bytes) -> None:
    region = raw[: header.data_offset]
    blank = region[:41] + b"0" * 64 + region[105:]
    digest = hashlib.sha256(b"mckpt.file.1".ljust(64, b"\0") + blank).hexdigest()
    _demand(region[41:105].decode() == digest == header.digest, "digest")
    chunks = sum(-(-(entry.end - entry.begin) // 2**20) for entry in header.entries.values())
    _demand(len(header.table) == 36 * chunks, "chunks")


def _check_alias(name: str, alias: Any, entries: Mapping[str, Any]) -> None:
    _demand(name not in entries and alias.of in entries, "the target of an alias")
    if alias.view is None:
        return
    target, view = entries[alias.of], alias.view
    _demand(len(view.shape) == len(view.strides) <= 64, "dimensions of a view")
    _demand(
        all(type(n) is int and 0 <= n <= _MOST for n in (*view.shape, *view.strides, view.offset)), "a view's numbers"
    )
    last = view.offset + sum((n - 1) * stride for n, stride in zip(view.shape, view.strides, strict=True))
    inside = view.offset <= math.prod(target.shape) if 0 in view.shape else last < math.prod(target.shape)
    _demand(inside, "a view inside its target")
    _demand(math.prod(max(n, 1) for n in view.shape) * BITS[target.dtype] // 8 <= _MOST, "the size of a view")
