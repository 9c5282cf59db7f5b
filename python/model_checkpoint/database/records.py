"""Frozen values that only the catalog holds: no manifest can bring them back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

__all__ = ["AuditEntry"]


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
