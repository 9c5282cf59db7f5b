"""What differs between two files or two checkpoints, told by their digests: no tensor is read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from model_checkpoint.errors import UnverifiableError
from model_checkpoint.storage.contents import Contents, open_contents
from model_checkpoint.storage.manifest import encode_number
from model_checkpoint.storage.names import component_of
from model_checkpoint.storage.safetensors.plain_file import PlainFile, open_plain
from model_checkpoint.storage.state_tree import children, unflatten
from model_checkpoint.types import TensorInfo
from model_checkpoint.utils.presence import is_directory
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["Difference", "TensorChange", "ValueChange", "diff"]


@dataclass(frozen=True, slots=True)
class TensorChange:
    """A tensor that both sides have, with other bytes, dtype or shape."""

    name: str
    before: TensorInfo
    after: TensorInfo

    @property
    def is_reshaped(self) -> bool:
        """Whether dtype or shape changed, and so its bytes cannot be compared."""
        return (self.before.dtype, self.before.shape) != (self.after.dtype, self.after.shape)


@dataclass(frozen=True, slots=True)
class ValueChange:
    """Something else that differs: a number, a text, a metric. Absent from a side, it is None there.

    Attributes:
        path: Where it is in the state: ``scheduler.last_epoch``.
        before: Its value in the first.
        after: Its value in the second.
    """

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Difference:
    """How the second differs from the first.

    Attributes:
        added: Tensors that only the second has.
        removed: Tensors that only the first has.
        changed: Tensors that both have, and that differ.
        unchanged: How many tensors both have alike.
        values: Other values of the state that differ.
        metrics: Metrics that differ.
        files: Other files that differ, or that one of them lacks.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[TensorChange, ...]
    unchanged: int
    values: tuple[ValueChange, ...] = ()
    metrics: tuple[ValueChange, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether both hold the same state and files; metrics do not count."""
        return not (self.added or self.removed or self.changed or self.values or self.files)


def diff(a: str | os.PathLike[str] | Contents, b: str | os.PathLike[str] | Contents) -> Difference:
    """Compare two plain files, two checkpoint directories, or one with the other; a checkpoint may be open already.

    Raises:
        CheckpointNotFoundError: There is nothing at one of the paths.
        IntegrityError: One of them is damaged.
        UnverifiableError: One of them is a file without digests, and a comparison needs them.
        StorageError: One of them cannot be read.
    """
    first, second = _side(a), _side(b)
    added = tuple(name for name in second.tensors if name not in first.tensors)
    removed = tuple(name for name in first.tensors if name not in second.tensors)
    both = [(name, first.tensors[name], second.tensors[name]) for name in first.tensors if name in second.tensors]
    changed = tuple(TensorChange(name, one, other) for name, one, other in both if not _is_same(one, other, first.path))
    return Difference(
        added=added,
        removed=removed,
        changed=changed,
        unchanged=len(both) - len(changed),
        values=_changes(first.values, second.values),
        metrics=_changes(first.metrics, second.metrics),
        files=tuple(sorted({name for name, _ in first.blobs.items() ^ second.blobs.items()})),
    )


@dataclass(frozen=True, slots=True)
class _Side:
    """What is compared of one of the two."""

    path: str
    tensors: Mapping[str, TensorInfo]
    values: Mapping[str, JsonValue]
    metrics: Mapping[str, JsonValue]
    blobs: Mapping[str, str]


def _side(source: str | os.PathLike[str] | Contents) -> _Side:
    if isinstance(source, Contents):
        return _side_of(source)
    if is_directory(source):
        return _side_of(open_contents(source))
    plain = open_plain(source)
    return _Side(plain.path, dict(_tensors("", plain)), {}, {}, {})


def _side_of(contents: Contents) -> _Side:
    manifest = contents.manifest
    return _Side(
        path=contents.directory,
        tensors=dict(_components(contents)),
        values=dict(_values("", manifest.state)),
        metrics={name: encode_number(value) for name, value in manifest.metrics.items()},
        blobs={file.name: file.digest for file in manifest.files if file.kind == "blob"},
    )


def _components(contents: Contents) -> Iterator[tuple[str, TensorInfo]]:
    files = contents.tensor_files
    lone = {parsed[0] for name in files if (parsed := component_of(name)) is not None} == {"model"}
    for file_name, plain in files.items():
        parsed = component_of(file_name)
        yield from _tensors("" if lone or parsed is None else f"{parsed[0]}.", plain)


def _tensors(prefix: str, plain: PlainFile) -> Iterator[tuple[str, TensorInfo]]:
    return ((prefix + name, plain.header.info(name)) for name in plain.header.names)


def _values(path: str, node: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    """The nodes of a state tree that are neither containers with something in them nor tensors."""
    if isinstance(node, Mapping) and ("$tensor" in node or "$array" in node):
        return
    inside = children(node)
    if not inside:
        yield path or "state", node
        return
    for key, child in inside:
        name = key if isinstance(key, str) else f"[{key!r:.40}]"
        yield from _values(f"{path}.{name}" if path and isinstance(key, str) else path + name, child)


def _is_same(one: TensorInfo, other: TensorInfo, path: str) -> bool:
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    if one.digest is None or other.digest is None:
        raise UnverifiableError("a file without digests can only be compared by reading it", path=path)
    return one.digest == other.digest


def _changes(first: Mapping[str, JsonValue], second: Mapping[str, JsonValue]) -> tuple[ValueChange, ...]:
    """Nodes are compared, so that NaN equals itself, and 1 is not True."""
    names = [name for name in {**first, **second} if repr(first.get(name, ...)) != repr(second.get(name, ...))]
    return tuple(ValueChange(name, _shown(first.get(name)), _shown(second.get(name))) for name in names)


def _shown(node: JsonValue) -> Any:
    """The value of a node; of long bytes, which are stored as tensors, the reference."""
    return unflatten(node, lambda ref: ref, path="")
