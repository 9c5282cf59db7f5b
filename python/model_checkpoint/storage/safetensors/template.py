"""A header before its data: everything but the digests, which are as long as they will be (docs/format.md, 2.5)."""

from __future__ import annotations

import binascii
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_checkpoint.errors import ConfigurationError, UnsupportedStateError
from model_checkpoint.storage.safetensors import alias as alias_rules
from model_checkpoint.storage.safetensors.alias import Alias, check_alias, check_shape
from model_checkpoint.storage.safetensors.broken_rule import BrokenRule
from model_checkpoint.storage.safetensors.digest import CHUNK_ENTRY_BYTES, blanked_digest, chunk_count
from model_checkpoint.storage.safetensors.dtypes import DTYPES
from model_checkpoint.storage.safetensors.header import (
    DIGEST_OFFSET,
    FILE_DOMAIN,
    KEY_PREFIX,
    LENGTH_BYTES,
    MAX_HEADER_BYTES,
    OURS,
    VERSION,
)
from model_checkpoint.storage.safetensors.layout import PAGE_BYTES, Layout, TensorSpec
from model_checkpoint.storage.safetensors.names import check_names

__all__ = ["HeaderTemplate", "check_metadata", "check_specs", "header_template"]

_DIGITS = 64
_quoted = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class HeaderTemplate:
    """A header region without its digests.

    Attributes:
        head: The text before the chunk table; the file's digits in it are zeros.
        tail: The text after the chunk table, without padding.
        table_bytes: Size in bytes of the chunk table that belongs between them.
    """

    head: bytes
    tail: bytes
    table_bytes: int

    @property
    def nbytes(self) -> int:
        """Size in bytes of the region, and so the file offset of the data area."""
        text = len(self.head) + self.table_bytes // 3 * 4 + len(self.tail)
        return -(-(LENGTH_BYTES + text) // PAGE_BYTES) * PAGE_BYTES

    def fill(self, table: bytes) -> bytes:
        """The whole region, with the chunk table of the data that was written and the file digest."""
        assert len(table) == self.table_bytes  # noqa: S101 - the core and chunk_count agree
        length = self.nbytes - LENGTH_BYTES
        text = b"".join((self.head, binascii.b2a_base64(table, newline=False), self.tail))
        blank = struct.pack("<Q", length) + text.ljust(length, b" ")
        digest = blanked_digest(FILE_DOMAIN, blank, DIGEST_OFFSET).encode()
        return blank[:DIGEST_OFFSET] + digest + blank[DIGEST_OFFSET + _DIGITS :]


def header_template(
    specs: Sequence[TensorSpec], layout: Layout, metadata: Mapping[str, str], aliases: Mapping[str, Alias]
) -> HeaderTemplate:
    """Write a header for checked tensors, in the order in which they are given.

    Raises:
        ConfigurationError: The header would be larger than the format allows.
    """
    further = {f"{KEY_PREFIX}aliases": alias_rules.encode(aliases)} if aliases else {}
    pairs = [f",{_quoted(key)}:{_quoted(text)}" for key, text in (further | dict(metadata)).items()]
    entries = [_entry_text(*row) for row in zip(specs, layout.offsets, layout.sizes, strict=True)]
    template = HeaderTemplate(
        head=OURS + b"0" * _DIGITS + f'","{KEY_PREFIX}version":"{VERSION}","{KEY_PREFIX}chunks":"'.encode(),
        tail="".join(['"', *pairs, "}", *entries, "}"]).encode(),
        table_bytes=sum(map(chunk_count, layout.sizes)) * CHUNK_ENTRY_BYTES,
    )
    if template.nbytes - LENGTH_BYTES > MAX_HEADER_BYTES:
        raise ConfigurationError(
            f"the header would have {template.nbytes} bytes, the format allows {MAX_HEADER_BYTES}; use several files"
        )
    return template


def _entry_text(spec: TensorSpec, begin: int, size: int) -> str:
    shape = ",".join(map(str, spec.shape))
    return f',{_quoted(spec.name)}:{{"dtype":"{spec.dtype}","shape":[{shape}],"data_offsets":[{begin},{begin + size}]}}'


def check_specs(specs: Sequence[TensorSpec], aliases: Mapping[str, Alias]) -> None:
    """Check what is to be stored by the reader's own rules.

    Raises:
        UnsupportedStateError: A tensor or a name cannot be stored.
    """
    stored = {spec.name: spec for spec in specs}
    try:
        if len(stored) != len(specs):
            raise BrokenRule("name", "two tensors have the same name")
        check_names([*stored, *aliases])
        for spec in specs:
            _check_size(spec)
        for name, alias in aliases.items():
            check_alias(name, alias, stored)
    except BrokenRule as broken:
        raise UnsupportedStateError(f"{broken.message} (rule {broken.rule})", where=broken.tensor or "names") from None


def _check_size(spec: TensorSpec) -> None:
    if spec.dtype not in DTYPES:
        raise BrokenRule("dtype", f"unknown dtype {spec.dtype!r}", spec.name)
    if check_shape(spec.shape, spec.name) * DTYPES[spec.dtype].bits % 8:
        raise BrokenRule("size", "packed elements that do not fill their last byte", spec.name)


def check_metadata(metadata: Mapping[Any, Any]) -> None:
    """Check the user's metadata.

    Raises:
        ConfigurationError: A key or value is no text, or a key is one of the format's own.
    """
    for key, text in metadata.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise ConfigurationError(f"metadata maps strings to strings, not {key!r:.64} to {type(text).__name__}")
        if key.startswith(KEY_PREFIX):
            raise ConfigurationError(f"metadata keys that begin with {KEY_PREFIX!r} belong to the format: {key!r:.64}")
        try:
            (key + text).encode()
        except UnicodeEncodeError:
            raise ConfigurationError(f"the metadata of {key!r:.64} has a surrogate, which has no UTF-8") from None
