"""State, taken apart into a JSON tree and tensors, and put together again: docs/format.md, 3.3.

`flatten` reads no tensor's bytes: the leaves of a `FlatState` share memory with the state, so whoever wants a snapshot
copies them. Everything else in it is a copy already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from model_checkpoint.errors import FormatError, IntegrityError, UnsupportedStateError
from model_checkpoint.storage.flattener import ONE_COMPONENT, Flattener, UnsupportedValue
from model_checkpoint.storage.leaf_homes import assign_homes
from model_checkpoint.storage.leaves import LeafRef
from model_checkpoint.storage.safetensors.gather import Gathered
from model_checkpoint.storage.tree_builder import TreeBuilder
from model_checkpoint.utils.collector import collector_paused
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["ONE_COMPONENT", "FlatState", "children", "flatten", "references", "unflatten"]


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
    flattener = Flattener()
    try:
        tree = flattener.value(state, "", 0) if single else flattener.top(state)
    except UnsupportedValue as error:
        raise UnsupportedStateError(error.reason, where=error.where) from error.__cause__
    return FlatState(tree, assign_homes(flattener.leaves))


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
        return TreeBuilder(fetch).build(tree, 0)
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
        builder = TreeBuilder(lambda _: None)
        return [(builder.build(key, 0), value) for key, value in node[form]]
    return None
