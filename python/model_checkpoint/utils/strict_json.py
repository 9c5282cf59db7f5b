"""JSON as docs/format.md wants it: UTF-8, no duplicate key, only finite numbers, no lone surrogate, one value."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from model_checkpoint.errors import FormatError

__all__ = ["JsonValue", "dump", "parse"]

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def dump(value: JsonValue, *, sort_keys: bool = False) -> str:
    """Compact ASCII text; floats always have a fraction or an exponent.

    Raises:
        ValueError: A float is not finite.
    """
    return json.dumps(value, separators=(",", ":"), sort_keys=sort_keys, allow_nan=False)


def parse(raw: bytes, *, path: str, parse_int: Callable[[str], int] = int) -> Any:
    """The value of a whole JSON text.

    Args:
        raw: The text.
        path: Its file, for messages.
        parse_int: Converts the text of an integer; raises ValueError for those that have no place.

    Raises:
        FormatError: Not UTF-8 (rule ``utf8``), or not one strict JSON value (rule ``json``).
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("not UTF-8", path=path, offset=error.start, rule="utf8") from None
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_int=parse_int, parse_float=_finite, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise FormatError(f"not strict JSON: {reason}", path=path, rule="json") from None
    if _SURROGATE.search(text):
        _refuse_lone_surrogates(value, path)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return members


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:24]} is beyond the range of a float")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _refuse_lone_surrogates(value: Any, path: str) -> None:
    """Escaped pairs have become one character by now: what still cannot be encoded was alone."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise FormatError("a string holds a lone surrogate", path=path, rule="utf8") from None
    except RecursionError:  # a little deeper than the parser went
        raise FormatError("not strict JSON: nested too deeply", path=path, rule="json") from None
