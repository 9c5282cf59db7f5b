"""Frozen values of the catalog's own: what no manifest can bring back, and the form of some of its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

__all__ = ["AuditEntry", "MetricColumns", "SegmentInfo"]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit log.

    Attributes:
        at: When it was done (UTC).
        action: What was done, one word (``"save"``, ``"trash"``, ``"pin"``).
        checkpoint: Id of the checkpoint it was done to, or None. The checkpoint need not exist any more.
        actor: Who did it, or None for the program itself.
        details: Why and how; JSON values.
    """

    at: datetime
    action: str
    checkpoint: str | None = None
    actor: str | None = None
    details: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class MetricColumns:
    """Checkpoints as columns, in commit order: the same place in every column is the same checkpoint.

    Attributes:
        seqs: Their places in the commit order of the store, which tell them apart.
        values: By name of a metric, the value of each; None where one has none, or NaN.
    """

    seqs: Sequence[int]
    values: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """A file of points.

    Attributes:
        path: Where it is, relative to the store's root.
        experiment: Whose points it holds.
        points: How many.
        first_step: The lowest of their steps.
        last_step: The highest.
        nbytes: Its size.
        digest: SHA-256 of the file, in hexadecimal digits.
    """

    path: str
    experiment: str
    points: int
    first_step: int
    last_step: int
    nbytes: int
    digest: str
