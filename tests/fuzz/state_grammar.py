"""The state tree of docs/format.md, 3.3, once more: what a node must look like to be accepted."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable
from typing import Any

__all__ = ["keeps_grammar"]

_FILE_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_MAX_DEPTH = 64


def keeps_grammar(node: Any, depth: int = 0) -> bool:
    """Whether a parsed node keeps the rules of the table. What only a value can show (that keys of a dict can be keys,
    and differ) is not asked."""
    if isinstance(node, dict):
        forms = [key for key in node if key.startswith("$")]
        if not forms:
            return depth < _MAX_DEPTH and all(keeps_grammar(value, depth + 1) for value in node.values())
        return len(forms) == 1 and forms[0] in _FORMS and _FORMS[forms[0]](node, node[forms[0]], depth)
    if isinstance(node, list):
        return depth < _MAX_DEPTH and all(keeps_grammar(value, depth + 1) for value in node)
    if isinstance(node, bool) or node is None or isinstance(node, str):
        return True
    return -(2**63) <= node < 2**63 if isinstance(node, int) else math.isfinite(node)


def _only(node: dict[str, Any], *options: str) -> bool:
    return all(key.startswith("$") or key in options for key in node)


def _is_leaf(value: Any) -> bool:
    """``[component, name]``."""
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)):
        return False
    return _FILE_STEM.fullmatch(value[0]) is not None and len(value[0]) <= 128


def _tensor(node: dict[str, Any], value: Any, _depth: int) -> bool:
    flags = all(isinstance(node.get(key, False), bool) for key in ("parameter", "requires_grad"))
    dtype = isinstance(node.get("dtype", ""), str)  # which one it may be depends on the tensor
    return _is_leaf(value) and flags and dtype and _only(node, "parameter", "requires_grad", "dtype")


def _array(node: dict[str, Any], value: Any, _depth: int) -> bool:
    return _is_leaf(value) and isinstance(node.get("dtype", ""), str) and _only(node, "dtype")


def _bytes(node: dict[str, Any], value: Any, _depth: int) -> bool:
    if isinstance(value, list):
        return _is_leaf(value) and _only(node)
    return isinstance(value, str) and _only(node) and _decoded_length(value) <= 4096


def _decoded_length(text: str) -> int:
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return 2**63
    return len(raw) if base64.b64encode(raw).decode() == text else 2**63


def _items(node: dict[str, Any], value: Any, depth: int) -> bool:
    return isinstance(value, list) and keeps_grammar(value, depth) and _only(node)


def _is_pairs(value: Any, depth: int) -> bool:
    if not isinstance(value, list) or depth >= _MAX_DEPTH:
        return False
    pairs = all(isinstance(pair, list) and len(pair) == 2 for pair in value)
    return pairs and all(keeps_grammar(part, depth + 1) for pair in value for part in pair)


def _dict(node: dict[str, Any], value: Any, depth: int) -> bool:
    return _is_pairs(value, depth) and _only(node)


def _ordered(node: dict[str, Any], value: Any, depth: int) -> bool:
    metadata = "metadata" not in node or keeps_grammar(node["metadata"], depth + 1)
    return _is_pairs(value, depth) and metadata and _only(node, "metadata")


def _is_part(value: Any) -> bool:
    if isinstance(value, dict):
        return value.keys() == {"$float"} and value["$float"] in ("nan", "inf", "-inf")
    return isinstance(value, float) and math.isfinite(value)


def _complex(node: dict[str, Any], value: Any, _depth: int) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_part, value)) and _only(node)


def _scalar(node: dict[str, Any], value: Any, _depth: int) -> bool:
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)):
        return False
    return _only(node) and re.fullmatch("([0-9a-f]{2})+", value[1]) is not None


def _size(node: dict[str, Any], value: Any, _depth: int) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value) and _only(node)


def _name(node: dict[str, Any], value: Any, _depth: int) -> bool:
    return isinstance(value, str) and _only(node)


def _int(node: dict[str, Any], value: Any, _depth: int) -> bool:
    return isinstance(value, str) and re.fullmatch("-?[0-9]+", value, re.ASCII) is not None and _only(node)


def _float(node: dict[str, Any], value: Any, _depth: int) -> bool:
    return value in ("nan", "inf", "-inf") and _only(node)


_FORMS: dict[str, Callable[[dict[str, Any], Any, int], bool]] = {
    "$tensor": _tensor,
    "$array": _array,
    "$scalar": _scalar,
    "$int": _int,
    "$float": _float,
    "$complex": _complex,
    "$bytes": _bytes,
    "$tuple": _items,
    "$set": _items,
    "$frozenset": _items,
    "$dict": _dict,
    "$ordered": _ordered,
    "$size": _size,
    "$dtype": _name,
    "$device": _name,
    "$layout": _name,
    "$memory_format": _name,
}
