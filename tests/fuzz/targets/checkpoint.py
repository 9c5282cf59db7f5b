"""Whole checkpoints whose manifest is forged: what it says of the state meets tensors that are something else."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import zlib
from multiprocessing import util
from typing import Any

import numpy as np
import torch

from model_checkpoint.errors import UnsupportedStateError
from model_checkpoint.storage import checkpoint_dir
from model_checkpoint.storage.safetensors.writer import save_file
from tests.fuzz import json_text
from tests.fuzz.json_text import JsonText
from tests.fuzz.state_grammar import keeps_grammar
from tests.fuzz.target import Target, Violation
from tests.fuzz.targets.manifest import sealed
from tests.fuzz.targets.state import random_value
from tests.harness.memory_place import memory_place

__all__ = ["TARGET"]

_TENSORS: dict[str, Any] = {
    "pairs": torch.arange(6.0, dtype=torch.float64).reshape(3, 2),
    "triples": torch.arange(6.0).reshape(2, 3),
    "quads": np.zeros((2, 4)),
    "none": np.zeros((3, 0)),
    "scalar": torch.tensor(1.5),
    "whole": torch.arange(4),
    "bytes": torch.arange(9, dtype=torch.uint8),
    "half": torch.zeros(2, dtype=torch.bfloat16),
    "tiny": torch.zeros(4, dtype=torch.float8_e4m3fn),
    "complex": torch.zeros(2, dtype=torch.complex64),
    "truth": torch.tensor([True, False]),
}
_BLOB = b"{}"


class _Directory:
    """One checkpoint of the process, in memory, whose manifest is replaced again and again."""

    def __init__(self) -> None:
        self._pid = -1
        self._path = ""

    def with_manifest(self, raw: bytes) -> str:
        if self._pid != os.getpid():
            self._create()
        with open(os.path.join(self._path, "manifest.json"), "wb") as file:
            file.write(raw)
        return self._path

    def _create(self) -> None:
        place = contextlib.ExitStack()
        self._path, self._pid = str(place.enter_context(memory_place("fuzz"))), os.getpid()
        util.Finalize(None, place.close, exitpriority=0)  # children of a fork know no atexit
        for component in ("model", "more"):
            path = os.path.join(self._path, f"{component}.safetensors")
            save_file({name: _TENSORS[name] for name in _TENSORS}, path)
        with open(os.path.join(self._path, "config.json"), "wb") as file:
            file.write(_BLOB)


_DIRECTORY = _Directory()


def _files() -> list[dict[str, Any]]:
    """The entries of the manifest for what really lies there."""
    path = _DIRECTORY.with_manifest(b"")
    entries: list[dict[str, Any]] = [
        {"name": "config.json", "bytes": len(_BLOB), "digest": hashlib.sha256(_BLOB).hexdigest(), "kind": "blob"}
    ]
    for component in ("model", "more"):
        name = f"{component}.safetensors"
        with open(os.path.join(path, name), "rb") as file:
            raw = file.read()
        entries.append({"name": name, "bytes": len(raw), "digest": raw[41:105].decode(), "kind": "tensors"})
    return entries


def _seeds(rng: random.Random) -> list[bytes]:
    files = _files()
    return [_forged(_manifest(files, _random_tree(rng))) for _ in range(60)]


def _manifest(files: list[dict[str, Any]], tree: Any) -> bytes:
    members = {
        "digest": "0" * 64,
        "format": "mckpt.manifest",
        "version": 1,
        "requires": [],
        "id": "0" * 32,
        "experiment": "a",
        "step": 1,
        "seq": 0,
        "created_at": "2026-03-01T12:00:00.000000Z",
        "parent": None,
        "backend": "safetensors",
        "metrics": {},
        "metadata": {},
        "files": files,
        "state": tree,
        "content": "0" * 64,
        "environment": {},
        "durability": {"synced": True, "noreplace": True},
    }
    return json.dumps(members, separators=(",", ":")).encode() + b"\n"


def _random_tree(rng: random.Random) -> Any:
    """A tree that refers to the tensors there are, in all the ways there are."""
    from model_checkpoint.storage.state_tree import flatten

    leaves = [_random_leaf(rng) for _ in range(rng.choice((1, 2, 3, 6)))]
    small = flatten({"x": random_value(rng, 2)}).tree if rng.random() < 0.5 else 0
    return {"leaves": leaves, "small": _without_leaves(small)}


def _random_leaf(rng: random.Random) -> dict[str, Any]:
    form = rng.choice(("$tensor", "$array", "$bytes"))
    node: dict[str, Any] = {form: [rng.choice(("model", "more")), rng.choice(list(_TENSORS))]}
    if form != "$bytes" and rng.random() < 0.5:
        names = ("complex128", "complex32", "datetime64[s]", "timedelta64[ns]", "complex64", "int8", "datetime64")
        node["dtype"] = rng.choice(names)
    for flag in ("parameter", "requires_grad"):
        if form == "$tensor" and rng.random() < 0.3:
            node[flag] = True
    return node


def _without_leaves(node: Any) -> Any:
    """A tree that refers to no tensor."""
    if isinstance(node, list):
        return [_without_leaves(item) for item in node]
    if not isinstance(node, dict):
        return node
    if any(isinstance(node.get(form), list) and form != "$tuple" for form in ("$tensor", "$array", "$bytes")):
        return None
    return {key: _without_leaves(value) for key, value in node.items()}


def _mutate(rng: random.Random, own: JsonText, donor: JsonText) -> bytes:
    return _forged(json_text.mutated(rng, own, donor))


def _forged(raw: bytes) -> bytes:
    """A manifest with the content digest and the digest that it needs, as far as it is one."""
    try:
        members = json.loads(raw)
        pairs = sorted([file["name"], file["digest"]] for file in members["files"])
        content = {"files": pairs, "state": members["state"]}
        text = json.dumps(content, separators=(",", ":"), sort_keys=True).encode("ascii")
        old = members["content"].encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return sealed(raw)
    digest = hashlib.sha256(b"mckpt.content.1".ljust(64, b"\0") + text).hexdigest()
    return sealed(raw.replace(b'"content":"' + old, b'"content":"' + digest.encode()))


def _run(raw: bytes) -> str:
    path = _DIRECTORY.with_manifest(raw)
    kind = zlib.crc32(raw) % 4
    if kind == 0:
        checkpoint_dir.verify(path)
        return "verified"
    if kind == 1:
        checkpoint_dir.inspect(path)
        return "inspected"
    try:
        value = checkpoint_dir.load(path, mmap=kind == 2, verify="none" if kind == 2 else "full")
    except UnsupportedStateError:
        return "unsupported"
    tree = json.loads(raw)["state"]
    if not keeps_grammar(tree):
        raise Violation("a tree was accepted that the format does not have")
    _check_dtypes(value, tree)
    return f"loaded {type(value).__name__}"


def _check_dtypes(value: Any, node: Any) -> None:
    """A leaf is what its node says, and not something like it."""
    if isinstance(node, list) and isinstance(value, list):
        for item, child in zip(value, node, strict=True):
            _check_dtypes(item, child)
    elif isinstance(node, dict):
        kinds = {"$tensor": torch.Tensor, "$array": np.ndarray, "$bytes": bytes}
        for form, kind in kinds.items():
            if form in node:
                _check_leaf(value, kind, node.get("dtype"))
                return
        if isinstance(value, dict) and not any(key.startswith("$") for key in node):
            for key, child in node.items():
                _check_dtypes(value[key], child)


def _check_leaf(value: Any, kind: type, dtype: str | None) -> None:
    if not isinstance(value, kind):
        raise Violation(f"a {type(value).__name__} where the state says {kind.__name__}")
    if dtype is not None and str(value.dtype).removeprefix("torch.") != str(_named(dtype, kind)):
        raise Violation(f"a leaf of {value.dtype} where the state says {dtype}")


def _named(dtype: str, kind: type) -> Any:
    return np.dtype(dtype) if kind is np.ndarray else dtype


TARGET = Target(
    name="checkpoint",
    promise="a checkpoint with a forged manifest is loaded as the format has it, or refused",
    seeds=_seeds,
    read=json_text.read,
    mutate=_mutate,
    run=_run,
    weight=0.2,
)
