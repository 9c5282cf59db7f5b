"""Manifests whose digest is right, whatever else they say."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime
from typing import Any

from model_checkpoint.storage import manifest as manifests
from model_checkpoint.storage.manifest import Durability, Manifest
from model_checkpoint.storage.names import is_experiment, is_file_name, is_id
from model_checkpoint.types import FileInfo
from tests.fuzz import json_text
from tests.fuzz.json_text import JsonText
from tests.fuzz.target import Target, Violation
from tests.fuzz.targets.state import random_tree

__all__ = ["TARGET", "random_manifest", "sealed"]

_START = b'{"digest":"'


def sealed(raw: bytes) -> bytes:
    """A text with the digest that it needs, if it begins as a manifest does."""
    if not raw.startswith(_START) or len(raw) < len(_START) + 64:
        return raw
    blank = _START + b"0" * 64 + raw[len(_START) + 64 :]
    digest = hashlib.sha256(b"mckpt.manifest.1".ljust(64, b"\0") + blank).hexdigest()
    return _START + digest.encode() + blank[len(_START) + 64 :]


def random_manifest(rng: random.Random, tree: Any, files: tuple[FileInfo, ...]) -> bytes:
    manifest = Manifest(
        id=f"{rng.getrandbits(128):032x}",
        experiment=rng.choice(("gpt2", "a", "A.b-c_d")),
        step=rng.choice((0, 1, 500, 2**63 - 1)),
        seq=rng.choice((0, 7)),
        created_at=datetime.fromtimestamp(rng.randrange(2**32), UTC),
        backend="safetensors",
        files=files,
        state=tree,
        content=manifests.content_digest(files, tree),
        parent=rng.choice((None, "0" * 32)),
        metrics={"loss": rng.choice((0.5, 1e300, float("nan"), float("-inf")))} if rng.random() < 0.7 else {},
        metadata={"note": "ä"} if rng.random() < 0.5 else {},
        environment={"python": "3"},
        durability=Durability(rng.random() < 0.5, rng.random() < 0.5),
    )
    return manifests.encode(manifest)[0]


def _seeds(rng: random.Random) -> list[bytes]:
    return [random_manifest(rng, random_tree(rng), _random_files(rng)) for _ in range(60)]


def _random_files(rng: random.Random) -> tuple[FileInfo, ...]:
    names = rng.sample(("config.json", "model.safetensors", "state.safetensors", "z.txt"), rng.randrange(4))
    return tuple(
        FileInfo(name, rng.choice((0, 1, 2**40)), f"{rng.getrandbits(256):064x}", rng.choice(("tensors", "blob")))
        for name in sorted(names)
    )


def _mutate(rng: random.Random, own: JsonText, donor: JsonText) -> bytes:
    raw = json_text.mutated(rng, own, donor)
    return sealed(raw) if rng.random() < 0.95 else raw


def _run(raw: bytes) -> str:
    manifest = manifests.decode(raw, path="manifest.json")
    if not (is_id(manifest.id) and is_experiment(manifest.experiment) and 0 <= manifest.step < 2**63):
        raise Violation("accepted with an illegal identity")
    names = [file.name for file in manifest.files]
    if not all(map(is_file_name, names)) or names != sorted(names) or len({*map(str.lower, names)}) != len(names):
        raise Violation("accepted with illegal file names")
    manifests.content_digest(manifest.files, manifest.state)
    manifest.info("a/b")
    text, again = manifests.encode(manifest)
    if manifests.encode(manifests.decode(text, path="manifest.json"))[0] != text or again.nbytes < 0:
        raise Violation("the manifest changes when it is written again")
    return f"{len(names)} {bool(manifest.metrics)} {type(manifest.state).__name__} {manifest.parent is None}"


TARGET = Target(
    name="manifest",
    promise="a manifest is read by every rule of the format or refused by one",
    seeds=_seeds,
    read=json_text.read,
    mutate=_mutate,
    run=_run,
)
