"""State, taken apart into a JSON tree and tensors, and put together again: docs/format.md, 3.3.

`flatten` reads no tensor's bytes: the leaves of a `FlatState` share memory with the state, so whoever wants a snapshot
copies them. Everything else in it is a copy already.
"""

from __future__ import annotations

import contextlib
import json
import math
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from model_checkpoint.errors import FormatError, IntegrityError, UnsupportedStateError
from model_checkpoint.storage.atoms import BYTES_LIMIT, DECODERS, ENCODERS, encode_foreign
from model_checkpoint.storage.leaves import LeafRef, StoredLeaf, is_leaf, stored_bytes, stored_leaf
from model_checkpoint.storage.names import is_component
from model_checkpoint.storage.safetensors.alias import Alias
from model_checkpoint.storage.safetensors.gather import Gathered, gather
from model_checkpoint.storage.safetensors.layout import TensorSpec
from model_checkpoint.storage.safetensors.names import METADATA_KEY
from model_checkpoint.utils.collector import collector_paused
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["ONE_COMPONENT", "FlatState", "children", "flatten", "references", "unflatten"]

MAX_DEPTH = 64

ONE_COMPONENT = "model"
"""Where the tensors of a state without parts go."""

_LOOSE = "state"
"""The component of tensors that stand beside components at the top of a state."""
_MAX_NAME_BYTES = 480
"""Room for ``~2`` and the like within the 512 bytes of a tensor's name."""
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class FlatState:
    """A state taken apart.

    Attributes:
        tree: The state tree, which refers to tensors by component and name.
        components: The tensors to store, and the further names of those that share memory. A component without any
            is left out.
    """

    tree: JsonValue
    components: Mapping[str, Gathered]


@collector_paused()
def flatten(state: object, *, single: bool = False) -> FlatState:
    """Take a state apart.

    The values of a dict whose keys could be files become components of these names; any other state, and a flat dict
    of tensors, becomes the component ``model``. With ``single`` every state does.

    Raises:
        UnsupportedStateError: Something in it cannot be stored; the error says where it is.
    """
    flattener = _Flattener()
    try:
        tree = flattener.value(state, "", 0) if single else flattener.top(state)
    except _UnsupportedValue as error:
        raise UnsupportedStateError(error.reason, where=error.where) from error.__cause__
    return FlatState(tree, _assign(flattener.leaves))


@collector_paused()
def unflatten(tree: JsonValue, fetch: Callable[[LeafRef], Any], *, path: str) -> Any:
    """Put a state together again.

    Args:
        tree: The state tree; every form in it is checked.
        fetch: Gives the leaf for a reference. Equal references ask for one object.
        path: The manifest, for messages.

    Raises:
        FormatError: The tree breaks a rule of docs/format.md, 3.3 (rule ``state``).
        MissingDependencyError: It holds something of torch's, and torch is not installed.
    """
    try:
        return _Builder(fetch).build(tree, 0)
    except IntegrityError:
        raise  # of a tensor's file, which `fetch` reads
    except (ValueError, TypeError) as error:
        raise FormatError(f"a malformed value in the state tree: {error}", path=path, rule="state") from None


def references(tree: JsonValue, *, path: str) -> list[LeafRef]:
    """The tensors that a state tree refers to, each once; every form in the tree is checked.

    Raises:
        FormatError: As `unflatten`.
    """
    found: dict[LeafRef, None] = {}
    unflatten(tree, found.setdefault, path=path)
    return list(found)


def children(node: JsonValue) -> list[tuple[Any, JsonValue]] | None:
    """Keys and nodes of what a checked node holds, if it is a dict or a sequence; None for any other node."""
    if isinstance(node, list):
        return list(enumerate(node))
    if not isinstance(node, dict):
        return None
    form = next((key for key in node if key[:1] == "$"), None)
    if form is None:
        return list(node.items())
    if form == "$tuple":
        return list(enumerate(node[form]))
    if form in ("$dict", "$ordered"):
        builder = _Builder(lambda _: None)
        return [(builder.build(key, 0), value) for key, value in node[form]]
    return None


# --- taking apart -----------------------------------------------------------------------------------------------------


class _UnsupportedValue(Exception):  # noqa: N818 - becomes an UnsupportedStateError once its path is known
    """A value that cannot be stored; each container on the way out adds its key."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.keys: list[str] = []

    @property
    def where(self) -> str:
        return "".join(reversed(self.keys)).removeprefix(".") or "the state itself"


@dataclass(slots=True)
class _Leaf:
    """A tensor that was met: what to store of it, how to name it, and the nodes that wait for the name."""

    component: str
    name: str
    value: object
    stored: StoredLeaf
    nodes: list[dict[str, Any]]


class _Flattener:
    """Walks a state. Recursion is bounded: containers are at most `MAX_DEPTH` deep."""

    def __init__(self) -> None:
        self.leaves: list[_Leaf] = []
        self._component = ONE_COMPONENT
        self._known: dict[int, _Leaf] = {}  # by the id of the value, which the leaf keeps, so that it stays its own
        self._open: set[int] = set()
        self._containers: dict[type, Callable[[Any, str, int], JsonValue]] = {
            dict: self._dict,
            OrderedDict: self._ordered,
            list: self._list,
            tuple: lambda value, prefix, depth: {"$tuple": self._items(value, prefix, depth)},
            set: lambda value, _, depth: {"$set": self._sorted(value, depth)},
            frozenset: lambda value, _, depth: {"$frozenset": self._sorted(value, depth)},
        }

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
        container = self._containers.get(kind)
        if container is not None:
            return self._inside(container, value, prefix, depth)
        if is_leaf(value):
            return self._tensor(value, prefix)
        node = _encoded(encode_foreign, value)
        return node if node is not None else self._object(value, prefix, depth)

    def _inside(
        self, container: Callable[[Any, str, int], JsonValue], value: Any, prefix: str, depth: int
    ) -> JsonValue:
        if id(value) in self._open:
            raise _UnsupportedValue("a container that holds itself")
        if depth >= MAX_DEPTH:
            raise _UnsupportedValue(f"containers nested more than {MAX_DEPTH} deep")
        self._open.add(id(value))
        node = container(value, prefix, depth + 1)
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
        except _UnsupportedValue as error:
            error.keys.append(f".{key}")
            raise
        return node

    def _ordered(self, value: OrderedDict[Any, Any], prefix: str, depth: int) -> JsonValue:
        node: dict[str, JsonValue] = {"$ordered": self._pairs(value, prefix, depth)}
        attributes = vars(value)
        if attributes.keys() - {"_metadata"}:
            raise _UnsupportedValue(f"an OrderedDict with attributes: {', '.join(map(str, attributes))}")
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
        except _UnsupportedValue as error:
            error.keys.append(f".{key}" if type(key) is str else f"[{key!r:.40}]")
            raise
        return pairs

    def _list(self, value: list[Any], prefix: str, depth: int) -> JsonValue:
        return self._items(value, prefix, depth)

    def _items(self, value: Iterable[Any], prefix: str, depth: int) -> list[JsonValue]:
        items = list(value)
        if _speak_for_themselves(items):
            return items
        join = f"{prefix}." if prefix else ""
        nodes: list[JsonValue] = []
        try:
            for index, item in enumerate(items):
                nodes.append(self.value(item, f"{join}{index}", depth))
        except _UnsupportedValue as error:
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
            raise _UnsupportedValue("a tensor, long bytes or NaN as a key or in a set: it would not be found again")
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
            raise _UnsupportedValue(str(error)) from None

    def _leaf(self, value: object, name: str, stored: StoredLeaf) -> JsonValue:
        node: dict[str, Any] = {f"${stored.kind}": None, **stored.options}
        leaf = _Leaf(self._component, name or "value", value, stored, [node])
        self.leaves.append(leaf)
        self._known[id(value)] = leaf
        return node

    def _object(self, value: Any, prefix: str, depth: int) -> JsonValue:
        state_dict = None if isinstance(value, type) else getattr(value, "state_dict", None)
        if not callable(state_dict):
            raise _UnsupportedValue(
                f"{type(value).__module__}.{type(value).__qualname__} is neither a value that can be stored nor has it "
                "a state_dict()"
            )
        if depth >= MAX_DEPTH:
            raise _UnsupportedValue("state_dict() returns objects with a state_dict() without end")
        return self.value(state_dict(), prefix, depth + 1)


@contextlib.contextmanager
def _at(key: str) -> Iterator[None]:
    """Adds a key to the path of an unsupported value."""
    try:
        yield
    except _UnsupportedValue as error:
        error.keys.append(key)
        raise


def _encoded(encode: Callable[[Any], JsonValue], value: object) -> JsonValue:
    try:
        return encode(value)
    except ValueError as error:
        raise _UnsupportedValue(str(error)) from None


def _speak_for_themselves(items: list[Any]) -> bool:
    """Whether a sequence is its own node. Long lists of numbers are common: sampler orders, random states."""
    kinds = set(map(type, items))
    if kinds == {int}:
        return bool(min(items) >= _INT_MIN and max(items) <= _INT_MAX)
    if kinds == {float}:
        return all(map(math.isfinite, items))
    if kinds == {str}:
        return all(map(str.isascii, items))
    return kinds <= {bool, type(None)}


def _has_components(state: dict[Any, Any]) -> bool:
    """Whether the values of a dict are parts of a state, rather than its tensors."""
    if not all(map(is_component, state)) or len({key.lower() for key in state}) < len(state):
        return False
    return not all(is_leaf(value) or type(value) in ENCODERS for value in state.values())


# --- names and sharing ------------------------------------------------------------------------------------------------


class _Home(NamedTuple):
    """Where a leaf is stored."""

    component: str
    name: str

    @property
    def key(self) -> str:
        """One text for both; components have no slash."""
        return f"{self.component}/{self.name}"


class _Names:
    """Gives each tensor of a component a name of its own that the format allows."""

    def __init__(self) -> None:
        self._taken: dict[str, set[str]] = {}

    def free(self, component: str, wanted: str) -> _Home:
        taken = self._taken.setdefault(component, {METADATA_KEY})
        base = wanted if wanted.isascii() and wanted.isprintable() else _cleaned(wanted)
        if len(base) > _MAX_NAME_BYTES // 4:
            base = base.encode()[:_MAX_NAME_BYTES].decode(errors="ignore")
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}~{number}"
        taken.add(name)
        return _Home(component, name)


def _cleaned(name: str) -> str:
    """The name in NFC (two names may not differ only in normalisation), without control characters and surrogates."""
    return "".join(
        "_" if unicodedata.category(character) in ("Cc", "Cs") else character
        for character in unicodedata.normalize("NFC", name)
    )


def _assign(leaves: list[_Leaf]) -> dict[str, Gathered]:
    """Name all leaves, store each memory once, and tell every node where its tensor is."""
    names = _Names()
    homes = [names.free(leaf.component, leaf.name) for leaf in leaves]
    by_key = {home.key: home for home in homes}
    gathered = gather({home.key: leaf.stored.value for home, leaf in zip(homes, leaves, strict=True)})
    aliases: dict[str, dict[str, Alias]] = {}
    for home, leaf in zip(homes, leaves, strict=True):
        alias = gathered.aliases.get(home.key)
        found = home if alias is None else _alias(home, by_key[alias.of], alias, names, aliases)
        for node in leaf.nodes:
            node[f"${leaf.stored.kind}"] = [*found]
    return _split(gathered, by_key, aliases)


def _alias(home: _Home, target: _Home, alias: Alias, names: _Names, aliases: dict[str, dict[str, Alias]]) -> _Home:
    """Record a further name in its target's component, and return where the leaf is found then."""
    if home.component != target.component:
        if alias.view is None:
            return target
        home = names.free(target.component, f"{home.component}.{home.name}")
    aliases.setdefault(target.component, {})[home.name] = Alias(target.name, alias.view)
    return home


def _split(
    gathered: Gathered, homes: Mapping[str, _Home], aliases: Mapping[str, Mapping[str, Alias]]
) -> dict[str, Gathered]:
    """What was gathered as one, by component."""
    rows: dict[str, list[tuple[TensorSpec, Any, Any]]] = {}
    for spec, tensor, adapter in zip(gathered.specs, gathered.tensors, gathered.adapters, strict=True):
        component, name = homes[spec.name]
        rows.setdefault(component, []).append((TensorSpec(name, spec.dtype, spec.shape), tensor, adapter))
    return {
        component: Gathered(specs, aliases.get(component, {}), tensors, adapters)
        for component, (specs, tensors, adapters) in ((key, zip(*row, strict=True)) for key, row in rows.items())
    }


# --- putting together -------------------------------------------------------------------------------------------------


class _Builder:
    """Builds the values of a state tree, checking every form. Raises FormatError, ValueError or TypeError."""

    def __init__(self, fetch: Callable[[LeafRef], Any]) -> None:
        self._fetch = fetch
        self._components: set[str] = set()
        self._forms: dict[str, Callable[[dict[str, Any], int], Any]] = {
            "$tensor": self._leaf,
            "$array": self._leaf,
            "$bytes": self._bytes,
            "$tuple": lambda node, depth: tuple(self._items(node["$tuple"], depth)),
            "$set": lambda node, depth: _distinct(set, self._items(node["$set"], depth)),
            "$frozenset": lambda node, depth: _distinct(frozenset, self._items(node["$frozenset"], depth)),
            "$dict": lambda node, depth: self._pairs(dict, node["$dict"], depth),
            "$ordered": self._ordered,
        }

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
        special = self._forms.get(form)
        if special is not None:
            return special(node, depth)
        decode = DECODERS.get(form)
        if decode is None:
            raise ValueError(f"unknown form {ascii(form)[:40]}")
        if len(node) != 1:
            raise ValueError(f"{form} takes no options")
        return decode(node[form])

    def _items(self, nodes: Any, depth: int) -> list[Any]:
        if type(nodes) is not list:
            raise TypeError("not a list")
        if depth >= MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
        if _speak_for_themselves(nodes):
            return nodes[:]
        return [self.build(node, depth + 1) for node in nodes]

    def _pairs(self, kind: type[dict[Any, Any]], nodes: Any, depth: int) -> Any:
        if type(nodes) is not list or depth >= MAX_DEPTH:
            raise ValueError(f"not a list, or nested more than {MAX_DEPTH} deep")
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
