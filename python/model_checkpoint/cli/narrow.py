"""Output where not every sign can be shown: bars and curves become ASCII of the same width, other text escapes.

That is so where the encoding of a stream lacks the sign, and on a terminal whose user has asked for the locale C.
"""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Mapping
from typing import TextIO

__all__ = ["tolerate_any_text"]

_ERRORS = "mckpt-signs"
_SIGNS = dict(zip("▁▂▃▄▅▆▇█▉▊▋▌▍▎▏░·…─│├└µ", "_.-=+*%#####|||:-~-||`u", strict=True))


def tolerate_any_text(*streams: TextIO) -> None:
    """Let streams print whatever text, in a narrow encoding too."""
    codecs.register_error(_ERRORS, _replaced)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):  # what others have put there has no encoding to change
            is_plain = stream.isatty() and _asks_for_ascii(os.environ)
            stream.reconfigure(encoding="ascii" if is_plain else None, errors=_ERRORS)


def _asks_for_ascii(environment: Mapping[str, str]) -> bool:
    """Whether the locale was set to C; Python has then set ``LC_CTYPE`` to C.UTF-8 (PEP 538), unless it may not."""
    given = (environment.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    wanted = next((name for name in given if name and name != "C.UTF-8"), "")
    return wanted in {"C", "POSIX"}


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_SIGNS.get(c) or c.encode("ascii", "backslashreplace").decode() for c in text), error.end
