"""Numbers as text that is short and reads back as the same number."""

from __future__ import annotations

__all__ = ["short_number"]


def short_number(value: float) -> str:
    """``50``, ``0.02``, ``1e-07``: six digits where these say all, else as many as it takes."""
    text = f"{value:g}"
    return text if float(text) == value else repr(float(value))
