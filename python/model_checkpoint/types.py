"""Frozen values that several layers share."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Literal

__all__ = [
    "CheckpointInfo",
    "CheckpointState",
    "ExperimentInfo",
    "FileInfo",
    "Mode",
    "Receipt",
    "TensorInfo",
    "VerifyLevel",
]

Mode = Literal["min", "max"]
VerifyLevel = Literal["auto", "full", "fast", "none"]


class CheckpointState(enum.StrEnum):
    """Where a checkpoint is in its life. Values are stored in catalogs: never rename one."""

    COMMITTED = "committed"
    TRASHED = "trashed"
    LOST = "lost"
    """The catalog knows it, the store does not have it."""
    QUARANTINED = "quarantined"
    """It is in the store, and its manifest cannot be trusted."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What a header says of one tensor.

    Attributes:
        name: Its name.
        dtype: Its element type, as spelled in safetensors headers (``"BF16"``).
        shape: Its dimensions.
        nbytes: Its size in bytes.
        offset: File offset in bytes of its first byte.
        digest: Its tensor digest in hexadecimal, or None in a foreign file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    offset: int
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One file of a checkpoint, as its manifest lists it.

    Attributes:
        name: Its name inside the checkpoint directory.
        nbytes: Its size in bytes.
        digest: File digest (``kind="tensors"``) or SHA-256 of its bytes (``kind="blob"``), hexadecimal.
        kind: ``"tensors"`` or ``"blob"``.
    """

    name: str
    nbytes: int
    digest: str
    kind: Literal["tensors", "blob"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a finished save reports.

    Attributes:
        path: Where it is.
        nbytes: Bytes written.
        digest: File digest of a file, manifest digest of a checkpoint, hexadecimal.
        seconds: Wall time of the whole save, in seconds.
    """

    path: str
    nbytes: int
    digest: str
    seconds: float


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """What the catalog knows of one checkpoint.

    Attributes:
        id: 32 hexadecimal digits.
        experiment: Name of its experiment.
        step: Training step.
        seq: Position in the store's commit order; later is larger.
        created_at: When it was saved (UTC).
        path: Its directory, relative to the store's root.
        nbytes: Sum of its files' sizes in bytes.
        digest: Manifest digest, hexadecimal.
        content: Content digest, hexadecimal.
        metrics: Values given at the save, and those attached afterwards.
        state: Where it is in its life.
        backend: Name of the storage backend that wrote it.
        parent: Id of the checkpoint that its run resumed from, or None.
        pinned: Whether the user pinned it.
        aliases: Names that the user gave it, sorted.
        tags: Key and value pairs that the user attached.
        verified_at: When all of its bytes were last verified, or None.
    """

    id: str
    experiment: str
    step: int
    seq: int
    created_at: datetime
    path: str
    nbytes: int
    digest: str
    content: str
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    state: CheckpointState = CheckpointState.COMMITTED
    backend: str = "safetensors"
    parent: str | None = None
    pinned: bool = False
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    verified_at: datetime | None = None

    @property
    def ref(self) -> str:
        """A reference that finds it: ``experiment:step-id``."""
        return f"{self.experiment}:{self.step}-{self.id[:8]}"

    def __str__(self) -> str:
        metrics = ", ".join(f"{name}={value:.4g}" for name, value in sorted(self.metrics.items()))
        return f"{self.ref} ({metrics})" if metrics else self.ref


@dataclass(frozen=True, slots=True)
class ExperimentInfo:
    """The settings of one experiment.

    Attributes:
        name: Its name.
        created_at: When it was first used (UTC).
        monitor: The metric that decides which checkpoint is best, or None.
        mode: Whether a smaller (``"min"``) or a larger (``"max"``) value of ``monitor`` is better, or None.
        keep: Its retention policy as text, or None.
        criterion: What decides which checkpoint is best, as the text of a `BestModelSelector`, where that is more than
            ``monitor`` and ``mode``; these are then the first of the metrics that it looks at. Or None.
        config: Settings that the user wants to find again; JSON values.
    """

    name: str
    created_at: datetime
    monitor: str | None = None
    mode: Mode | None = None
    keep: str | None = None
    config: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    criterion: str | None = None
