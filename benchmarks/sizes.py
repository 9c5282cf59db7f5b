"""Sizes as people write them."""

from __future__ import annotations

_FACTORS = (("GiB", 2**30), ("MiB", 2**20), ("GB", 10**9), ("MB", 10**6))


def parse_size(text: str) -> int:
    """Bytes of ``"4GiB"``, ``"500MB"`` or a plain number."""
    for suffix, factor in _FACTORS:
        if text.endswith(suffix):
            return int(float(text.removesuffix(suffix)) * factor)
    return int(text)
