"""What is said of a checkpoint after it was committed: ``.annotations/<id>.json``, docs/format.md, section 4."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from model_checkpoint.errors import FormatError
from model_checkpoint.storage.durable import make_directories, read_small
from model_checkpoint.storage.manifest import encode_number
from model_checkpoint.storage.names import check_id
from model_checkpoint.types import CheckpointInfo
from model_checkpoint.utils import real_path, strict_json
from model_checkpoint.utils.atomic_file import replace_bytes
from model_checkpoint.utils.clock import format_rfc3339, parse_rfc3339
from model_checkpoint.utils.presence import is_present
from model_checkpoint.utils.storage_errors import storage_errors
from model_checkpoint.utils.strict_json import JsonValue

__all__ = [
    "Annotation",
    "read_annotation",
    "remove_annotation",
    "update_annotation",
    "with_annotation",
    "without_alias",
]

_LIMIT = 16 * 1024 * 1024
_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Annotation:
    """What may change of a checkpoint.

    Attributes:
        id: Whose.
        pinned: Whether the user pinned it.
        aliases: Names that the user gave it, and when; where two checkpoints claim a name, the later has it.
        verified_at: When all of its bytes were last verified, or None.
        metrics: Values attached afterwards; they win over those of the manifest.
        tags: Key and value pairs.
    """

    id: str
    pinned: bool = False
    aliases: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    verified_at: datetime | None = None
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def with_annotation(info: CheckpointInfo, annotation: Annotation) -> CheckpointInfo:
    """A checkpoint with what was said of it."""
    return dataclasses.replace(
        info,
        pinned=annotation.pinned,
        aliases=tuple(sorted(annotation.aliases)),
        verified_at=annotation.verified_at,
        metrics=MappingProxyType({**info.metrics, **annotation.metrics}),
        tags=annotation.tags,
    )


def without_alias(annotation: Annotation, alias: str) -> Annotation:
    """An annotation that does not claim a name."""
    aliases = {name: time for name, time in annotation.aliases.items() if name != alias}
    return dataclasses.replace(annotation, aliases=MappingProxyType(aliases))


def read_annotation(directory: str, checkpoint_id: str) -> Annotation:
    """The annotation of a checkpoint; an empty one if nothing was said.

    Args:
        directory: The ``.annotations`` of its experiment.
        checkpoint_id: Whose.

    Raises:
        FormatError: The file breaks a rule.
        StorageError: It cannot be read.
    """
    path = _path(directory, checkpoint_id)
    if not is_present(path):
        return Annotation(checkpoint_id)
    annotation = _decode(strict_json.parse(read_small(path, limit=_LIMIT), path=path), path)
    if annotation.id != checkpoint_id:
        raise FormatError("the annotation is of another checkpoint", path=path, rule="annotation")
    return annotation


def update_annotation(directory: str, checkpoint_id: str, change: Callable[[Annotation], Annotation]) -> Annotation:
    """Change the annotation of a checkpoint, durably, and return it. Changes by other processes are not lost, as far
    as the file system has locks.

    Raises:
        FormatError: What was said before breaks a rule.
        StorageError: The file system failed.
    """
    path = _path(directory, checkpoint_id)
    make_directories(directory)
    with _locked(os.path.join(directory, _LOCK)):
        annotation = change(read_annotation(directory, checkpoint_id))
        replace_bytes(path, _encode(annotation), nofollow=True)
    return annotation


def remove_annotation(directory: str, checkpoint_id: str) -> None:
    """Forget what was said of a checkpoint that is gone for good.

    Raises:
        StorageError: The file cannot be removed.
    """
    path = _path(directory, checkpoint_id)
    with storage_errors("cannot remove the annotation", path), contextlib.suppress(FileNotFoundError):
        real_path.unlink(path)


def _path(directory: str, checkpoint_id: str) -> str:
    return os.path.join(directory, f"{check_id(checkpoint_id)}.json")


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    with storage_errors("cannot open the lock", path):
        fd = real_path.open_file(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK)
    try:
        with contextlib.suppress(OSError):  # no locks here: a rename still keeps the file whole
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        with contextlib.suppress(OSError):  # nothing was written to it
            os.close(fd)


def _encode(annotation: Annotation) -> bytes:
    verified_at = annotation.verified_at
    members: dict[str, JsonValue] = {
        "id": annotation.id,
        "pinned": annotation.pinned,
        "aliases": {alias: format_rfc3339(time) for alias, time in annotation.aliases.items()},
        "verified_at": None if verified_at is None else format_rfc3339(verified_at),
        "metrics": {name: encode_number(value) for name, value in annotation.metrics.items()},
        "tags": dict(annotation.tags),
    }
    return strict_json.dump(members).encode("ascii") + b"\n"


def _decode(members: Any, path: str) -> Annotation:
    try:
        verified_at = members.get("verified_at")
        return Annotation(
            id=check_id(members["id"]),
            pinned=_flag(members.get("pinned", False)),
            aliases=MappingProxyType({_text(k): parse_rfc3339(v) for k, v in members.get("aliases", {}).items()}),
            verified_at=None if verified_at is None else parse_rfc3339(verified_at),
            metrics=MappingProxyType({_text(k): _number(v) for k, v in members.get("metrics", {}).items()}),
            tags=MappingProxyType({_text(k): _text(v) for k, v in members.get("tags", {}).items()}),
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"not an annotation: {error}", path=path, rule="annotation") from None


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError("not a truth value")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError("not a text")
    return value


def _number(value: Any) -> float:
    if isinstance(value, Mapping):
        value = value["$float"]
        if value not in ("nan", "inf", "-inf"):
            raise ValueError("not a number")
    elif type(value) not in (int, float):
        raise TypeError("not a number")
    return float(value)
