"""The tokens of ``tokens.dict``, by kind; libFuzzer reads the same file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

__all__ = ["MARKS", "NUMBERS", "PATH", "ROOT", "STRINGS", "WORDS"]

PATH = Path(__file__).with_name("tokens.dict")
ROOT = Path(__file__).parents[2]


def _tokens() -> Iterator[tuple[str, str]]:
    for line in PATH.read_text("ascii").splitlines():
        if line and not line.startswith("#"):
            name, _, quoted = line.partition("=")
            raw: bytes = ast.literal_eval("b" + quoted)
            yield name.partition("_")[0], raw.decode("utf-8", "surrogateescape")


def _of(*kinds: str) -> tuple[str, ...]:
    return tuple(text for kind, text in _tokens() if kind in kinds)


STRINGS = _of("string", "key", "form", "option", "dtype", "name", "time", "hex", "base64")
NUMBERS = (*_of("number"), "1" + "0" * 400, "9" * 5000)
WORDS = _of("word")
MARKS = _of("mark")
