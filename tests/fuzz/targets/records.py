"""The small files of a store that are changed in place: annotations, settings, the trash's records, owners."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from model_checkpoint.storage import annotations, experiments, staging, trash
from model_checkpoint.storage.annotations import Annotation
from model_checkpoint.utils import strict_json
from tests.fuzz import json_text
from tests.fuzz.memory_file import MemoryFile
from tests.fuzz.target import Target, Violation

__all__ = ["TARGETS"]

_ID = "0123456789abcdef" * 2
_NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_TIME = "2026-03-01T12:00:00.000000Z"


def _target(name: str, promise: str, seeds: Sequence[bytes], run: Callable[[bytes], str]) -> Target:
    return Target(
        name=name,
        promise=promise,
        seeds=lambda _: seeds,
        read=json_text.read,
        mutate=json_text.mutated,
        run=run,
        weight=0.375,
    )


def _run_annotation(raw: bytes) -> str:
    annotation = annotations._decode(strict_json.parse(raw, path="file"), "file")
    text = annotations._encode(annotation)
    if annotations._encode(annotations._decode(strict_json.parse(text, path="file"), "file")) != text:
        raise Violation("the annotation changes when it is written again")
    return f"{annotation.pinned} {bool(annotation.aliases)} {bool(annotation.metrics)} {bool(annotation.tags)}"


_ANNOTATIONS = [
    annotations._encode(Annotation(_ID)),
    annotations._encode(
        Annotation(_ID, True, {"best": _NOW, "ä": _NOW}, _NOW, {"loss": 0.5, "odd": float("nan")}, {"k": "v"})
    ),
]


def _run_experiment(raw: bytes) -> str:
    info = experiments._decode(strict_json.parse(raw, path="file"), "file")
    strict_json.dump(dict(info.config))
    return f"{info.mode} {info.monitor is None} {info.keep is None} {bool(info.config)}"


def _experiment(**more: object) -> bytes:
    members = {"name": "gpt2", "created_at": _TIME, "monitor": None, "mode": None, "keep": None, "config": {}} | more
    return json.dumps(members).encode()


_EXPERIMENTS = [
    _experiment(),
    _experiment(monitor="loss", mode="min", keep="last(3)", config={"lr": 0.5, "layers": [1, {"a": None}]}),
]


def _run_trash(raw: bytes) -> str:
    entry = trash._decode(strict_json.parse(raw, path="file"), "/store/.trash/x", "file")
    if os.path.dirname(os.path.normpath(entry.checkpoint)) != "/store/.trash/x":
        raise Violation(f"a checkpoint outside of its entry: {entry.checkpoint!r}")
    return f"{len(entry.reasons) > 0}"


_TRASH = [
    json.dumps(
        {
            "id": _ID,
            "path": f"gpt2/step-00000500-{_ID[:8]}",
            "trashed_at": _TIME,
            "expires_at": _TIME,
            "reasons": ["old"],
        }
    ).encode()
]


def _run_owner(raw: bytes) -> str:
    _OWNER.replace(raw)
    fd = os.open(_OWNER.path, os.O_RDONLY)
    try:
        pid, started, boot = staging._read_description(fd)
    finally:
        os.close(fd)
    staging._started(pid)
    return f"{type(pid).__name__} {type(started).__name__} {type(boot).__name__}"


_OWNER = MemoryFile("owner")

TARGETS = (
    _target("annotation", "what was said of a checkpoint is read or refused", _ANNOTATIONS, _run_annotation),
    _target("experiment", "an experiment's settings are read or refused", _EXPERIMENTS, _run_experiment),
    _target("trash", "a record of the trash is read or refused, and names no other place", _TRASH, _run_trash),
    _target("owner", "who stages a checkpoint is read, or counts as nobody", [staging._self_description()], _run_owner),
)
