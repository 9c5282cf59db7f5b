"""The header of a plain file: what it says, and every rule by which it may be refused (docs/format.md, 2.6)."""

from __future__ import annotations

import binascii
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from model_checkpoint.errors import CorruptionError, FormatError, UnsupportedVersionError
from model_checkpoint.storage.safetensors import alias as alias_rules
from model_checkpoint.storage.safetensors.alias import Alias, check_alias, check_shape
from model_checkpoint.storage.safetensors.broken_rule import BrokenRule
from model_checkpoint.storage.safetensors.digest import CHUNK_ENTRY_BYTES, blanked_digest, chunk_count, tensor_digest
from model_checkpoint.storage.safetensors.dtypes import DTYPES
from model_checkpoint.storage.safetensors.names import METADATA_KEY, check_names
from model_checkpoint.types import TensorInfo
from model_checkpoint.utils import strict_json
from model_checkpoint.utils.collector import collector_paused

__all__ = [
    "DIGEST_OFFSET",
    "FILE_DOMAIN",
    "KEY_PREFIX",
    "LENGTH_BYTES",
    "MAX_HEADER_BYTES",
    "OURS",
    "VERSION",
    "Entry",
    "Header",
    "check_length",
    "decode",
]

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000
"""Of the JSON text; the limit of the safetensors package."""

OURS = b'{"__metadata__":{"mckpt.digest":"'
"""How the header text of our files begins."""

DIGEST_OFFSET = LENGTH_BYTES + len(OURS)
assert DIGEST_OFFSET == 41  # noqa: S101 - docs/format.md, 2.3

FILE_DOMAIN = "mckpt.file.1"
VERSION = "1"
KEY_PREFIX = "mckpt."


class Entry(NamedTuple):
    """One stored tensor.

    Attributes:
        dtype: Its element type, as headers spell it.
        shape: Its dimensions, in elements.
        begin: Offset of its first byte in the data area.
        end: Offset of the byte after its last.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return self.end - self.begin


@dataclass(frozen=True)
class Header:
    """A header that keeps all rules.

    Attributes:
        entries: The stored tensors, in the order of the header.
        metadata: The user's metadata.
        aliases: Further names of stored tensors.
        data_offset: File offset in bytes of the data area.
        file_bytes: Size of the file in bytes.
        first_chunks: Index in the chunk table of each stored tensor's first chunk.
        digest: The file digest in hexadecimal, checked; None in a foreign file.
        table: The chunk table; None in a foreign file.
    """

    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]
    aliases: Mapping[str, Alias]
    data_offset: int
    file_bytes: int
    first_chunks: Mapping[str, int]
    digest: str | None = None
    table: bytes | None = None

    @property
    def ours(self) -> bool:
        """Whether the file carries digests."""
        return self.digest is not None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All names: the stored tensors in the order of the header, then the aliases."""
        return (*self.entries, *self.aliases)

    def stored_name(self, name: str) -> str:
        """The stored tensor that a name stands for: itself, or the target of an alias. KeyError if unknown."""
        return name if name in self.entries else self.aliases[name].of

    def info(self, name: str) -> TensorInfo:
        """What is known of the tensor with a name; of a view: its own shape, the bytes and digest of its target."""
        stored = self.stored_name(name)
        entry = self.entries[stored]
        alias = self.aliases.get(name)
        shape = alias.view.shape if alias and alias.view else entry.shape
        offset = self.data_offset + entry.begin
        return TensorInfo(name, entry.dtype, shape, entry.nbytes, offset, self._tensor_digest(stored))

    def _tensor_digest(self, name: str) -> str | None:
        if self.table is None:
            return None
        entry, first = self.entries[name], self.first_chunks[name]
        end = first + chunk_count(entry.nbytes)
        table = self.table[first * CHUNK_ENTRY_BYTES : end * CHUNK_ENTRY_BYTES]
        return tensor_digest(entry.dtype, entry.shape, table)


def check_length(prefix: bytes, file_size: int, path: str) -> int:
    """Check a file's first 8 bytes and return the offset of its data area.

    Raises:
        FormatError: Rule ``length``.
    """
    if len(prefix) < LENGTH_BYTES:
        raise FormatError("the file is too short for a header", path=path, rule="length")
    (length,) = struct.unpack_from("<Q", prefix)
    if not 2 <= length <= MAX_HEADER_BYTES:
        raise FormatError(f"a header of {length} bytes", path=path, offset=0, rule="length")
    if LENGTH_BYTES + length > file_size:
        raise FormatError(f"the file ends inside its header of {length} bytes", path=path, rule="length")
    return int(LENGTH_BYTES + length)


@collector_paused()
def decode(raw: bytes, file_size: int, path: str) -> Header:
    """Check a header by every rule.

    Args:
        raw: The header region: the file's bytes before the data area.
        file_size: Size of the file in bytes.
        path: The file, for messages.

    Raises:
        FormatError: The header breaks a rule.
        UnsupportedVersionError: The file is of a later version.
        CorruptionError: The file digest differs.
    """
    if check_length(raw[:LENGTH_BYTES], file_size, path) != len(raw):
        raise FormatError("the header has another length than it says", path=path, offset=0, rule="length")
    digest = _check_digest(raw, path) if raw.startswith(OURS, LENGTH_BYTES) else None
    try:
        return _decode(raw, file_size, digest, path)
    except BrokenRule as broken:
        kind = UnsupportedVersionError if broken.rule == "version" else FormatError
        raise kind(broken.message, path=path, tensor=broken.tensor, rule=broken.rule) from None


def _check_digest(raw: bytes, path: str) -> str:
    digest = blanked_digest(FILE_DOMAIN, raw, DIGEST_OFFSET)
    if raw[DIGEST_OFFSET : DIGEST_OFFSET + len(digest)] != digest.encode():
        raise CorruptionError("the header differs from its digest", path=path, offset=0, rule="digest")
    return digest


def _decode(raw: bytes, file_size: int, digest: str | None, path: str) -> Header:
    members = _parse_object(raw[LENGTH_BYTES:], path)
    metadata = _metadata(members.pop(METADATA_KEY, {}))
    ours = {key: metadata.pop(key) for key in [*metadata] if key.startswith(KEY_PREFIX)}
    aliases: dict[str, Alias] = {}
    if digest is not None:
        _check_version(ours.get("mckpt.version"))
        aliases = alias_rules.decode(_parse_object(ours.get("mckpt.aliases", "{}").encode(), path))
    elif ours:
        raise BrokenRule("digest", "metadata of this package in a file without its digest: damaged or edited")
    check_names([*members, *aliases])
    entries = {name: _entry(name, value) for name, value in members.items()}
    first_chunks, chunks = _covered(entries, file_size - len(raw))
    for name, alias in aliases.items():
        check_alias(name, alias, entries)
    table = None if digest is None else _chunk_table(ours.get("mckpt.chunks"), chunks)
    return Header(entries, metadata, aliases, len(raw), file_size, first_chunks, digest, table)


def _parse_object(raw: bytes, path: str) -> dict[str, Any]:
    """Parse one JSON object with natural numbers only, and nothing but spaces after it."""
    if b"\0" in raw:
        raise BrokenRule("utf8", "a NUL byte in the header")
    if raw[:1] != b"{" or raw.rstrip(b" ")[-1:] != b"}":
        raise BrokenRule("json", "the header is not one object followed by nothing but spaces")
    return dict(strict_json.parse(raw, path=path, parse_int=_natural))


def _natural(text: str) -> int:
    # No number of the format has more than 19 digits; converting very long ones takes quadratic time.
    if text.startswith("-") or len(text) > 19:
        raise ValueError(f"{text[:24]} is not a natural number below 10^19")
    return int(text)


def _metadata(value: object) -> dict[str, str]:
    if type(value) is not dict or not all(type(text) is str for text in value.values()):
        raise BrokenRule("json", "the metadata is not a map from string to string")
    return value


def _check_version(version: str | None) -> None:
    if version != VERSION:
        raise BrokenRule("version", f"version {version!r:.24} of the format; this package knows {VERSION!r}")


def _entry(name: str, value: Any) -> Entry:
    try:
        dtype, shape, (begin, end) = value["dtype"], value["shape"], value["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise BrokenRule("json", "not a tensor's entry: it has a dtype, a shape and two data_offsets", name) from None
    if len(value) != 3:
        raise BrokenRule("json", "an unknown member in a tensor's entry", name)
    if type(dtype) is not str or (known := DTYPES.get(dtype)) is None:
        raise BrokenRule("dtype", f"unknown dtype {dtype!r:.24}", name)
    if type(shape) is not list:
        raise BrokenRule("shape", "the shape is not a list", name)
    if type(begin) is not int or type(end) is not int:
        raise BrokenRule("json", "a data offset is not a number", name)
    if check_shape(shape, name) * known.bits != (end - begin) * 8:
        raise BrokenRule("size", f"{end - begin} bytes for {dtype} of shape {shape!r:.64}", name)
    return Entry(dtype, tuple(shape), begin, end)


def _covered(entries: Mapping[str, Entry], data_bytes: int) -> tuple[dict[str, int], int]:
    """Check that the tensors cover the data area exactly; return the first chunk of each, and how many there are."""
    first_chunks: dict[str, int] = {}
    end = chunks = 0
    for name in sorted(entries, key=lambda name: entries[name][2:]):
        _, _, begin, next_end = entries[name]
        if begin != end:
            fault = "overlaps the one before" if begin < end else "leaves a hole before it"
            raise BrokenRule("coverage", f"the tensor {fault}: it begins at {begin}, not at {end}", name)
        first_chunks[name] = chunks
        chunks += chunk_count(next_end - begin)
        end = next_end
    if end != data_bytes:
        raise BrokenRule("coverage", f"the data area has {data_bytes} bytes, the tensors {end}")
    return first_chunks, chunks


def _chunk_table(text: str | None, chunks: int) -> bytes:
    size = chunks * CHUNK_ENTRY_BYTES
    # 36 bytes are 48 characters: by their number alone there can be no padding.
    if text is None or len(text) != size // 3 * 4:
        raise BrokenRule("chunks", f"the chunk table is not that of {chunks} chunks")
    try:
        table = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise BrokenRule("chunks", f"the chunk table is not base64: {error}") from None
    if len(table) != size:
        raise BrokenRule("chunks", "the chunk table has padding")
    return table
