"""States on their way into a JSON tree and tensors."""

from __future__ import annotations

import contextlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from model_checkpoint.storage.atoms import BYTES_LIMIT, ENCODERS, encode_foreign, speak_for_themselves
from model_checkpoint.storage.leaves import StoredLeaf, is_leaf, stored_bytes, stored_leaf
from model_checkpoint.storage.names import is_component
from model_checkpoint.storage.tree_builder import MAX_DEPTH
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["ONE_COMPONENT", "Flattener", "Leaf", "UnsupportedValue"]

ONE_COMPONENT = "model"
"""Where the tensors of a state without parts go."""

_LOOSE = "state"
"""The component of tensors that stand beside components at the top of a state."""


class UnsupportedValue(Exception):  # noqa: N818 - becomes an UnsupportedStateError once its path is known
    """A value that cannot be stored; each container on the way out adds its key."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.keys: list[str] = []

    @property
    def where(self) -> str:
        return "".join(reversed(self.keys)).removeprefix(".") or "the state itself"


@dataclass(slots=True)
class Leaf:
    """A tensor that was met: what to store of it, how to name it, and the nodes that wait for the name."""

    component: str
    name: str
    value: object
    stored: StoredLeaf
    nodes: list[dict[str, Any]]


class Flattener:
    """Walks a state. Recursion is bounded: containers are at most `MAX_DEPTH` deep."""

    def __init__(self) -> None:
        self.leaves: list[Leaf] = []
        self._component = ONE_COMPONENT
        self._known: dict[int, Leaf] = {}  # by the id of the value, which the leaf keeps, so that it stays its own
        self._open: set[int] = set()

    def top(self, state: Any) -> JsonValue:
        if type(state) is not dict or not _has_components(state):
            return self.value(state, "", 0)
        node = {}
        self._open.add(id(state))
        for key, value in state.items():
            self._component, prefix = (_LOOSE, key) if is_leaf(value) else (key, "")
            with _at(f".{key}"):
                node[key] = self.value(value, prefix, 1)
        return node

    def value(self, value: Any, prefix: str, depth: int) -> JsonValue:
        """The node of a value; ``prefix`` is the name that it would have as a tensor."""
        kind = type(value)
        encode = ENCODERS.get(kind)
        if encode is not None:
            if kind is bytes and len(value) > BYTES_LIMIT:
                return self._leaf(value, prefix, stored_bytes(value))
            return _encoded(encode, value)
        container = _CONTAINERS.get(kind)
        if container is not None:
            return self._inside(container, value, prefix, depth)
        if is_leaf(value):
            return self._tensor(value, prefix)
        node = _encoded(encode_foreign, value)
        return node if node is not None else self._object(value, prefix, depth)

    def _inside(self, container: _Container, value: Any, prefix: str, depth: int) -> JsonValue:
        if id(value) in self._open:
            raise UnsupportedValue("a container that holds itself")
        if depth >= MAX_DEPTH:
            raise UnsupportedValue(f"containers nested more than {MAX_DEPTH} deep")
        self._open.add(id(value))
        node = container(self, value, prefix, depth + 1)
        self._open.remove(id(value))
        return node

    def _dict(self, value: dict[Any, Any], prefix: str, depth: int) -> JsonValue:
        for key in value:
            if type(key) is not str or key[:1] == "$":
                return {"$dict": self._pairs(value, prefix, depth)}
        join = f"{prefix}." if prefix else ""
        node: dict[str, JsonValue] = {}
        key = ""
        try:
            for key, item in value.items():
                node[key] = self.value(item, join + key, depth)
                if not key.isascii():
                    _encoded(ENCODERS[str], key)
        except UnsupportedValue as error:
            error.keys.append(f".{key}")
            raise
        return node

    def _ordered(self, value: OrderedDict[Any, Any], prefix: str, depth: int) -> JsonValue:
        node: dict[str, JsonValue] = {"$ordered": self._pairs(value, prefix, depth)}
        attributes = vars(value)
        if attributes.keys() - {"_metadata"}:
            raise UnsupportedValue(f"an OrderedDict with attributes: {', '.join(map(str, attributes))}")
        if attributes:
            with _at("._metadata"):
                node["metadata"] = self.value(attributes["_metadata"], f"{prefix}._metadata", depth)
        return node

    def _pairs(self, value: Mapping[Any, Any], prefix: str, depth: int) -> list[JsonValue]:
        join = f"{prefix}." if prefix else ""
        pairs: list[JsonValue] = []
        key: Any = None
        try:
            for key, item in value.items():
                name = key if type(key) is str else str(key)
                pairs.append([self._plain(key, depth), self.value(item, join + name, depth)])
        except UnsupportedValue as error:
            error.keys.append(f".{key}" if type(key) is str else f"[{key!r:.40}]")
            raise
        return pairs

    def _items(self, value: Iterable[Any], prefix: str, depth: int) -> list[JsonValue]:
        items = list(value)
        if speak_for_themselves(items):
            return items
        join = f"{prefix}." if prefix else ""
        nodes: list[JsonValue] = []
        try:
            for index, item in enumerate(items):
                nodes.append(self.value(item, f"{join}{index}", depth))
        except UnsupportedValue as error:
            error.keys.append(f"[{len(nodes)}]")
            raise
        return nodes

    def _sorted(self, value: Iterable[Any], depth: int) -> list[JsonValue]:
        """Sets have no order: one is imposed, so that equal sets have equal digests."""
        return sorted((self._plain(item, depth) for item in value), key=json.dumps)

    def _plain(self, value: Any, depth: int) -> JsonValue:
        """A key or an element of a set: found again by its value, so it holds no tensor and is equal to itself."""
        before = len(self.leaves)
        node = self.value(value, "key", depth)
        if len(self.leaves) != before or is_leaf(value) or value != value:  # noqa: PLR0124 - NaN is not
            raise UnsupportedValue("a tensor, long bytes or NaN as a key or in a set: it would not be found again")
        return node

    def _tensor(self, value: Any, name: str) -> JsonValue:
        known = self._known.get(id(value))
        if known is not None:
            node = {f"${known.stored.kind}": None, **known.stored.options}
            known.nodes.append(node)
            return node
        try:
            return self._leaf(value, name, stored_leaf(value))
        except ValueError as error:
            raise UnsupportedValue(str(error)) from None

    def _leaf(self, value: object, name: str, stored: StoredLeaf) -> JsonValue:
        node: dict[str, Any] = {f"${stored.kind}": None, **stored.options}
        leaf = Leaf(self._component, name or "value", value, stored, [node])
        self.leaves.append(leaf)
        self._known[id(value)] = leaf
        return node

    def _object(self, value: Any, prefix: str, depth: int) -> JsonValue:
        state_dict = None if isinstance(value, type) else getattr(value, "state_dict", None)
        if not callable(state_dict):
            raise UnsupportedValue(
                f"{type(value).__module__}.{type(value).__qualname__} is neither a value that can be stored nor has it "
                "a state_dict()"
            )
        if depth >= MAX_DEPTH:
            raise UnsupportedValue("state_dict() returns objects with a state_dict() without end")
        return self.value(state_dict(), prefix, depth + 1)


_Container: TypeAlias = Callable[[Flattener, Any, str, int], JsonValue]

# Functions, not methods bound to a flattener: that would be a cycle, and what was saved would outlive its last user
# until the collector comes.
_CONTAINERS: dict[type, _Container] = {
    dict: Flattener._dict,  # noqa: SLF001 - the class's own table
    OrderedDict: Flattener._ordered,  # noqa: SLF001
    list: Flattener._items,  # noqa: SLF001
    tuple: lambda self, value, prefix, depth: {"$tuple": self._items(value, prefix, depth)},
    set: lambda self, value, _, depth: {"$set": self._sorted(value, depth)},
    frozenset: lambda self, value, _, depth: {"$frozenset": self._sorted(value, depth)},
}


@contextlib.contextmanager
def _at(key: str) -> Iterator[None]:
    """Adds a key to the path of an unsupported value."""
    try:
        yield
    except UnsupportedValue as error:
        error.keys.append(key)
        raise


def _encoded(encode: Callable[[Any], JsonValue], value: object) -> JsonValue:
    try:
        return encode(value)
    except ValueError as error:
        raise UnsupportedValue(str(error)) from None


def _has_components(state: dict[Any, Any]) -> bool:
    """Whether the values of a dict are parts of a state, rather than its tensors."""
    if not all(map(is_component, state)) or len({key.lower() for key in state}) < len(state):
        return False
    return not all(is_leaf(value) or type(value) in ENCODERS for value in state.values())
