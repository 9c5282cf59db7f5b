"""The commit record of a checkpoint: docs/format.md, 3.1 and 3.2."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from model_checkpoint.errors import CorruptionError, FormatError, UnsupportedVersionError
from model_checkpoint.storage.base_backend import is_backend_name
from model_checkpoint.storage.names import is_experiment, is_file_name, is_id
from model_checkpoint.storage.safetensors.digest import blanked_digest, domain
from model_checkpoint.types import CheckpointInfo, FileInfo
from model_checkpoint.utils import strict_json
from model_checkpoint.utils.clock import format_rfc3339, parse_rfc3339
from model_checkpoint.utils.collector import collector_paused
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["MAX_MANIFEST_BYTES", "Durability", "Manifest", "content_digest", "decode", "encode"]

MAX_MANIFEST_BYTES = 1024 * 1024 * 1024
"""Larger files are not read: a million tensors need about a tenth."""

_FORMAT, _VERSION = "mckpt.manifest", 1
_START = b'{"digest":"'
_DIGITS = 64
_ZEROS = "0" * _DIGITS
_DOMAIN, _CONTENT_DOMAIN = "mckpt.manifest.1", "mckpt.content.1"
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MAX_INT = 2**63 - 1
_KINDS = ("tensors", "blob")


@dataclass(frozen=True, slots=True)
class Durability:
    """What the file system granted when a checkpoint was written.

    Attributes:
        synced: Directories could be synced, so that the checkpoint survives a power cut.
        noreplace: The rename into place could not have replaced anything.
    """

    synced: bool = True
    noreplace: bool = True


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint is.

    Attributes:
        id: 32 hexadecimal digits, random.
        experiment: Name of its experiment.
        step: Training step.
        seq: Position in the store's commit order.
        created_at: When it was saved (UTC).
        backend: Name of the storage backend that wrote the files.
        files: Its files, sorted by name.
        state: The state tree.
        content: The content digest, hexadecimal; see `content_digest`.
        parent: Id of the checkpoint that its run resumed from, or None.
        metrics: Values given at the save.
        metadata: Text given at the save.
        environment: Versions and platform; informative.
        durability: What the file system granted.
        digest: The manifest digest, hexadecimal; empty before it is encoded.
    """

    id: str
    experiment: str
    step: int
    seq: int
    created_at: datetime
    backend: str
    files: tuple[FileInfo, ...]
    state: JsonValue
    content: str
    parent: str | None = None
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    durability: Durability = Durability()
    digest: str = ""

    @property
    def nbytes(self) -> int:
        """Sum of the files' sizes in bytes, the manifest's excluded."""
        return sum(file.nbytes for file in self.files)

    def info(self, path: str) -> CheckpointInfo:
        """What a catalog keeps of it; ``path`` is its directory, relative to the store's root."""
        return CheckpointInfo(
            id=self.id,
            experiment=self.experiment,
            step=self.step,
            seq=self.seq,
            created_at=self.created_at,
            path=path,
            nbytes=self.nbytes,
            digest=self.digest,
            content=self.content,
            metrics=self.metrics,
            backend=self.backend,
            parent=self.parent,
        )


def content_digest(files: Sequence[FileInfo], state: JsonValue) -> str:
    """The name of what a checkpoint holds, whenever and wherever it was saved: docs/format.md, 3.2."""
    pairs = sorted([file.name, file.digest] for file in files)
    text = strict_json.dump({"files": pairs, "state": state}, sort_keys=True)
    return hashlib.sha256(domain(_CONTENT_DOMAIN) + text.encode("ascii")).hexdigest()


# --- writing ----------------------------------------------------------------------------------------------------------


def encode(manifest: Manifest) -> tuple[bytes, Manifest]:
    """The manifest's text, and the manifest with the digest of that text."""
    members: dict[str, JsonValue] = {
        "digest": _ZEROS,
        "format": _FORMAT,
        "version": _VERSION,
        "requires": [],
        "id": manifest.id,
        "experiment": manifest.experiment,
        "step": manifest.step,
        "seq": manifest.seq,
        "created_at": format_rfc3339(manifest.created_at),
        "parent": manifest.parent,
        "backend": manifest.backend,
        "metrics": {name: encode_number(value) for name, value in manifest.metrics.items()},
        "metadata": dict(manifest.metadata),
        "files": [_file_members(file) for file in manifest.files],
        "state": manifest.state,
        "content": manifest.content,
        "environment": dict(manifest.environment),
        "durability": {"synced": manifest.durability.synced, "noreplace": manifest.durability.noreplace},
    }
    lines = [f"{strict_json.dump(name)}:{strict_json.dump(value)}" for name, value in members.items()]
    blank = ("{" + ",\n".join(lines) + "}\n").encode("ascii")
    digest = blanked_digest(_DOMAIN, blank, len(_START))
    return (
        blank[: len(_START)] + digest.encode("ascii") + blank[len(_START) + _DIGITS :],
        dataclasses.replace(manifest, digest=digest),
    )


def _file_members(file: FileInfo) -> JsonValue:
    return {"name": file.name, "bytes": file.nbytes, "digest": file.digest, "kind": file.kind}


def encode_number(value: float) -> JsonValue:
    """A metric: a float, or the form of a float that JSON lacks."""
    value = float(value)
    if math.isfinite(value):
        return value
    return {"$float": "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")}


# --- reading ----------------------------------------------------------------------------------------------------------


@collector_paused()
def decode(raw: bytes, *, path: str) -> Manifest:
    """Check a manifest by every rule but two: the forms in the state tree are checked when the state is built, and the
    content digest by a full verification.

    Args:
        raw: The whole file.
        path: The file, for messages.

    Raises:
        FormatError: It breaks a rule; ``error.rule`` names the member.
        UnsupportedVersionError: It is of a later version, or requires a feature that is unknown here.
        CorruptionError: Its digest differs.
    """
    digest = _check_digest(raw, path)
    members = strict_json.parse(raw, path=path)
    return _Reader(members, path).manifest(digest)


def _check_digest(raw: bytes, path: str) -> str:
    if not raw.startswith(_START) or len(raw) < len(_START) + _DIGITS:
        raise FormatError("not a manifest: it does not begin with its digest", path=path, offset=0, rule="digest")
    digest = blanked_digest(_DOMAIN, raw, len(_START))
    if raw[len(_START) : len(_START) + _DIGITS] != digest.encode("ascii"):
        raise CorruptionError("the manifest differs from its digest", path=path, offset=0, rule="digest")
    return digest


class _Reader:
    """Takes checked members out of a parsed manifest."""

    def __init__(self, members: dict[str, Any], path: str) -> None:
        self._members = members
        self._path = path

    def manifest(self, digest: str) -> Manifest:
        self._check_version()
        files = tuple(map(self._file, self._of("files", list)))
        if [file.name for file in files] != sorted(file.name for file in files):
            raise self._broken("files", "the files are not sorted by name")
        if len({file.name.lower() for file in files}) < len(files):
            raise self._broken("files", "two files have the same name but for its case")
        return Manifest(
            id=self._matching("id", is_id),
            experiment=self._matching("experiment", is_experiment),
            step=self._natural("step"),
            seq=self._natural("seq"),
            created_at=self._time("created_at"),
            backend=self._matching("backend", is_backend_name),
            files=files,
            state=self._member("state"),
            content=self._matching("content", lambda text: _DIGEST.fullmatch(text) is not None),
            parent=None if self._member("parent") is None else self._matching("parent", is_id),
            metrics=MappingProxyType({name: self._number(value) for name, value in self._of("metrics", dict).items()}),
            metadata=self._texts("metadata"),
            environment=self._texts("environment"),
            durability=self._durability(),
            digest=digest,
        )

    def _broken(self, rule: str, message: str) -> FormatError:
        return FormatError(message, path=self._path, rule=rule)

    def _member(self, name: str) -> Any:
        try:
            return self._members[name]
        except KeyError:
            raise self._broken(name, f"there is no {name!r}") from None

    def _of(self, name: str, kind: type) -> Any:
        value = self._member(name)
        if type(value) is not kind:
            raise self._broken(name, f"{name!r} is not of type {kind.__name__}")
        return value

    def _matching(self, name: str, is_right: Callable[[str], bool]) -> str:
        value: str = self._of(name, str)
        if not is_right(value):
            raise self._broken(name, f"{name!r} has an illegal value: {ascii(value)[:64]}")
        return value

    def _natural(self, name: str) -> int:
        value: int = self._of(name, int)
        if not 0 <= value <= _MAX_INT:
            raise self._broken(name, f"{name!r} is not in [0, 2^63)")
        return value

    def _time(self, name: str) -> datetime:
        try:
            return parse_rfc3339(self._of(name, str))
        except ValueError:
            raise self._broken(name, f"{name!r} is not a time") from None

    def _texts(self, name: str) -> Mapping[str, str]:
        members: dict[str, Any] = self._of(name, dict)
        if not all(type(text) is str for text in members.values()):
            raise self._broken(name, f"{name!r} does not map strings to strings")
        return MappingProxyType(members)

    def _number(self, value: Any) -> float:
        if type(value) is dict and value.keys() == {"$float"} and value["$float"] in ("nan", "inf", "-inf"):
            return float(value["$float"])
        if type(value) not in (int, float) or not abs(value) <= 1.7976931348623157e308:
            raise self._broken("metrics", "a metric is not a number")
        return float(value)

    def _check_version(self) -> None:
        if type(self._members) is not dict or self._of("format", str) != _FORMAT:
            raise self._broken("format", f"not a {_FORMAT}")
        if self._of("version", int) != _VERSION:
            message = f"manifest version {self._members['version']}; this package knows {_VERSION}"
            raise UnsupportedVersionError(message, path=self._path, rule="version")
        if self._of("requires", list):
            message = f"features that this package lacks: {ascii(self._members['requires'])[:80]}"
            raise UnsupportedVersionError(message, path=self._path, rule="requires")

    def _file(self, entry: Any) -> FileInfo:
        match entry:
            case {"name": str(name), "bytes": int(nbytes), "digest": str(digest), "kind": str(kind)}:
                pass
            case _:
                raise self._broken("files", "an entry is not a file's")
        if not is_file_name(name):
            raise self._broken("files", f"illegal file name {ascii(name)[:64]}")
        if type(nbytes) is not int or not 0 <= nbytes <= _MAX_INT:
            raise self._broken("files", f"illegal size of {name}")
        if not _DIGEST.fullmatch(digest):
            raise self._broken("files", f"illegal digest of {name}")
        if kind not in _KINDS:
            raise self._broken("files", f"unknown kind of {name}: {ascii(kind)[:24]}")
        return FileInfo(name, nbytes, digest, kind)  # type: ignore[arg-type]

    def _durability(self) -> Durability:
        match self._of("durability", dict):
            case {"synced": bool(synced), "noreplace": bool(noreplace)}:
                return Durability(synced, noreplace)
        raise self._broken("durability", "'durability' lacks 'synced' or 'noreplace'")
