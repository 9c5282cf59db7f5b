"""State trees: what a manifest says that a state was."""

from __future__ import annotations

import random
from collections import OrderedDict
from typing import Any

import numpy as np
import torch

from model_checkpoint.storage.leaves import LeafRef
from model_checkpoint.storage.state_tree import children, flatten, unflatten
from model_checkpoint.utils import strict_json
from tests.fuzz import json_text
from tests.fuzz.state_grammar import keeps_grammar
from tests.fuzz.target import Target, Violation

__all__ = ["TARGET", "random_tree", "random_value"]

_ATOMS = (
    None,
    True,
    0,
    -1,
    2**63 - 1,
    2**64,
    1.5,
    -0.0,
    float("nan"),
    "text",
    "ä",
    b"bytes",
    1 + 2j,
    complex(float("inf"), 0.0),
    np.float32(1),
    np.int8(-1),
    np.datetime64("2026-03-01"),
    np.complex128(1),
    torch.Size([2, 3]),
    torch.float32,
    torch.device("cpu"),
    torch.strided,
    torch.contiguous_format,
)
_FLOATS = np.arange(6.0).reshape(3, 2)
_LEAVES = (
    torch.arange(4.0),
    torch.nn.Parameter(torch.ones(2)),
    torch.zeros(2, dtype=torch.complex128),
    torch.ones(1, requires_grad=True),
    _FLOATS,
    _FLOATS[1:],
    np.zeros((0, 2), np.complex128),
    np.array(["2026-03-01"], "datetime64[s]"),
    np.zeros(3, np.complex64),
    b"long" * 1100,
)


def random_value(rng: random.Random, depth: int = 0) -> Any:  # noqa: PLR0911 - one for each kind
    """A small state."""
    kind = rng.randrange(12 if depth < 3 else 4)
    if kind < 2:
        return rng.choice(_ATOMS)
    if kind < 4:
        return rng.choice(_LEAVES)
    items = [random_value(rng, depth + 1) for _ in range(rng.choice((0, 1, 2, 3)))]
    keys = [rng.choice(("a", "b", "weight", "$odd", 7, (1, 2), None, 0.5)) for _ in items]
    if kind == 4:
        return {rng.choice((1, "x", b"y", (1, "z"), 2.5)), rng.choice(("s", None))}
    if kind == 5:
        return frozenset(range(len(items)))
    if kind == 6:
        return _ordered(keys, items, rng)
    if kind < 9:
        return tuple(items) if kind == 7 else items
    return dict(zip(keys if kind == 9 else map(str, keys), items, strict=True))


def _ordered(keys: list[Any], items: list[Any], rng: random.Random) -> OrderedDict[Any, Any]:
    result = OrderedDict(zip(keys, items, strict=True))
    if rng.random() < 0.5:
        result._metadata = {"": {"version": 1}}
    return result


def random_tree(rng: random.Random) -> Any:
    return flatten({"model": random_value(rng), "more": [random_value(rng)]}).tree


def _seeds(rng: random.Random) -> list[bytes]:
    return [strict_json.dump(random_tree(rng)).encode() for _ in range(120)]


def _run(raw: bytes) -> str:
    tree = strict_json.parse(raw, path="tree")
    value = unflatten(tree, _fetch(), path="tree")
    if not keeps_grammar(tree):
        raise Violation("a tree was accepted that the format does not have")
    _walk(tree)
    once = flatten(value, single=True).tree
    twice = flatten(unflatten(once, _fetch(), path="tree"), single=True).tree
    if strict_json.dump(_sorted(once)) != strict_json.dump(_sorted(twice)):
        raise Violation("the state changes when it is written again")
    return type(value).__name__


def _fetch() -> Any:
    """Something for each reference, the same for the same."""
    made: dict[LeafRef, Any] = {}

    def fetch(ref: LeafRef) -> Any:
        if ref not in made:
            made[ref] = torch.zeros(1) if ref.kind == "tensor" else np.zeros(1) if ref.kind == "array" else b"x" * 5000
        return made[ref]

    return fetch


def _walk(node: Any) -> None:
    for _, child in children(node) or ():
        _walk(child)


def _sorted(node: Any) -> Any:
    """A tree whose sets, which have no order, are in one."""
    if isinstance(node, list):
        return [_sorted(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: _sorted(value) for key, value in node.items()}
    for form in ("$set", "$frozenset"):
        if form in result:
            result[form] = sorted(result[form], key=strict_json.dump)
    return result


TARGET = Target(
    name="state",
    promise="a state tree becomes a value that the format has, or is refused",
    seeds=_seeds,
    read=json_text.read,
    mutate=json_text.mutated,
    run=_run,
)
