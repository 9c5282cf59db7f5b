"""The rule for tensor names (docs/format.md, 2.6, ``name``)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from model_checkpoint.storage.safetensors.broken_rule import BrokenRule

__all__ = ["METADATA_KEY", "check_names"]

METADATA_KEY = "__metadata__"
"""The one name that safetensors keeps for itself."""

MAX_NAME_BYTES = 512

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control and surrogate code points


def check_names(names: Collection[str]) -> None:
    """Check all names of a file at once: aliases included, which share their space.

    Raises:
        BrokenRule: ``name``.
    """
    joined = "".join(names)
    if _FORBIDDEN.search(joined):
        culprit = next(name for name in names if _FORBIDDEN.search(name))
        raise BrokenRule("name", "a control or surrogate character in a name", culprit)
    for name in names:
        _check_length(name)
    if not joined.isascii():
        _check_unique(names)


def _check_length(name: str) -> None:
    # A UTF-8 character has at most 4 bytes: short names need no encoding to be measured.
    if not name or (len(name) > MAX_NAME_BYTES // 4 and len(name.encode()) > MAX_NAME_BYTES):
        raise BrokenRule("name", f"a name has 1 to {MAX_NAME_BYTES} bytes", name[:64])
    if name == METADATA_KEY:
        raise BrokenRule("name", "a name that safetensors keeps for its metadata", name)


def _check_unique(names: Collection[str]) -> None:
    seen: set[str] = set()
    for name in names:
        normal = unicodedata.normalize("NFC", name)
        if normal in seen:
            raise BrokenRule("name", "two names are the same text after Unicode normalisation", name)
        seen.add(normal)
