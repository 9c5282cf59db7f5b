"""State trees on their way back to values: every form of docs/format.md, 3.3, is checked."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeAlias

from model_checkpoint.storage.atoms import DECODERS, speak_for_themselves
from model_checkpoint.storage.leaves import LeafRef
from model_checkpoint.storage.names import is_component

__all__ = ["MAX_DEPTH", "TreeBuilder"]

MAX_DEPTH = 64
"""How deep containers may be nested."""

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


class TreeBuilder:
    """Builds the values of a state tree, checking every form. Raises FormatError, ValueError or TypeError."""

    def __init__(self, fetch: Callable[[LeafRef], Any]) -> None:
        self._fetch = fetch
        self._components: set[str] = set()

    def build(self, node: Any, depth: int) -> Any:
        kind = type(node)
        if kind is dict:
            return self._object(node, depth)
        if kind is list:
            return self._items(node, depth)
        if kind is int:
            if not _INT_MIN <= node <= _INT_MAX:
                raise ValueError("an integer beyond 64 bits")
        elif kind is float and not math.isfinite(node):
            raise ValueError("a float beyond its range")
        return node

    def _object(self, node: dict[str, Any], depth: int) -> Any:
        forms = [key for key in node if key.startswith("$")]
        if not forms:
            if depth >= MAX_DEPTH:
                raise ValueError(f"nested more than {MAX_DEPTH} deep")
            return {key: self.build(value, depth + 1) for key, value in node.items()}
        if len(forms) > 1:
            raise ValueError("an object of two forms")
        form = forms[0]
        special = _WITH_OPTIONS.get(form)
        if special is not None:
            return special(self, node, depth)
        if len(node) != 1:
            raise ValueError(f"{ascii(form)[:40]} takes no options")
        if form in _CONTAINERS:
            return _CONTAINERS[form](self, node[form], depth)
        if form in DECODERS:
            return DECODERS[form](node[form])
        raise ValueError(f"unknown form {ascii(form)[:40]}")

    def _items(self, nodes: Any, depth: int) -> list[Any]:
        if type(nodes) is not list:
            raise TypeError("not a list")
        if depth >= MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
        if speak_for_themselves(nodes):
            return nodes[:]
        return [self.build(node, depth + 1) for node in nodes]

    def _pairs(self, kind: type[dict[Any, Any]], nodes: Any, depth: int) -> Any:
        if type(nodes) is not list or depth >= MAX_DEPTH:
            raise ValueError(f"not a list, or nested more than {MAX_DEPTH} deep")
        if not all(type(pair) is list and len(pair) == 2 for pair in nodes):
            raise ValueError("not a list of pairs")
        result = kind((self.build(key, depth + 1), self.build(value, depth + 1)) for key, value in nodes)
        if len(result) != len(nodes):
            raise ValueError("a key appears twice")
        return result

    def _ordered(self, node: dict[str, Any], depth: int) -> Any:
        if node.keys() - {"$ordered", "metadata"}:
            raise ValueError("unknown option of $ordered")
        result = self._pairs(OrderedDict, node["$ordered"], depth)
        if "metadata" in node:
            result._metadata = self.build(node["metadata"], depth + 1)  # noqa: SLF001 - torch's name for it
        return result

    def _bytes(self, node: dict[str, Any], depth: int) -> Any:
        if type(node["$bytes"]) is list:
            return self._leaf(node, depth)
        if len(node) != 1:
            raise ValueError("$bytes takes no options")
        return DECODERS["$bytes"](node["$bytes"])

    def _leaf(self, node: dict[str, Any], _depth: int) -> Any:
        form = next(key for key in node if key in _LEAF_KINDS)
        if type(node[form]) is not list:
            raise TypeError("not the place of a tensor")
        component, name = node[form]
        if type(name) is not str or not self._is_component(component):
            raise TypeError("not the name of a tensor")
        if len(node) == 1:
            return self._fetch(LeafRef(component, name, _LEAF_KINDS[form]))
        return self._fetch(LeafRef(component, name, _LEAF_KINDS[form], **_checked_options(form, node)))

    def _is_component(self, name: Any) -> bool:
        """`is_component`, asked once for each."""
        if name not in self._components:
            if not is_component(name):
                return False
            self._components.add(name)
        return True


_Form: TypeAlias = Callable[[TreeBuilder, Any, int], Any]

# Functions, not methods bound to a builder: that would be a cycle, and loaded tensors would outlive their last user
# until the collector comes.
_WITH_OPTIONS: dict[str, _Form] = {  # these get the node
    "$tensor": TreeBuilder._leaf,  # noqa: SLF001 - the class's own table
    "$array": TreeBuilder._leaf,  # noqa: SLF001
    "$bytes": TreeBuilder._bytes,  # noqa: SLF001
    "$ordered": TreeBuilder._ordered,  # noqa: SLF001
}
_CONTAINERS: dict[str, _Form] = {  # these, what stands beside their key
    "$tuple": lambda self, nodes, depth: tuple(self._items(nodes, depth)),
    "$set": lambda self, nodes, depth: _distinct(set, self._items(nodes, depth)),
    "$frozenset": lambda self, nodes, depth: _distinct(frozenset, self._items(nodes, depth)),
    "$dict": lambda self, nodes, depth: self._pairs(dict, nodes, depth),
}
_LEAF_KINDS: Any = {"$tensor": "tensor", "$array": "array", "$bytes": "bytes"}
_LEAF_OPTIONS: dict[str, dict[str, type]] = {
    "$tensor": {"dtype": str, "parameter": bool, "requires_grad": bool},
    "$array": {"dtype": str},
    "$bytes": {},
}


def _checked_options(form: str, node: dict[str, Any]) -> dict[str, Any]:
    allowed, options = _LEAF_OPTIONS[form], {key: value for key, value in node.items() if key != form}
    for key, value in options.items():
        if type(value) is not allowed.get(key):
            raise ValueError(f"unknown option {ascii(key)[:40]} of {form}")
    return options


def _distinct(kind: Callable[[list[Any]], Any], items: list[Any]) -> Any:
    result = kind(items)
    if len(result) != len(items):
        raise ValueError("an element appears twice")
    return result
