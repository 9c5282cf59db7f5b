"""The starts of the runs of an experiment, in the audit log: how often it had to be resumed."""

from __future__ import annotations

from model_checkpoint.analytics.save_interval import RunStart
from model_checkpoint.database.catalog import Catalog
from model_checkpoint.types import CheckpointInfo
from model_checkpoint.utils.clock import format_rfc3339, parse_rfc3339

__all__ = ["note_start", "read_starts"]

_ACTION = "start"


def note_start(catalog: Catalog, experiment: str, resumed_from: CheckpointInfo | None) -> None:
    """Say that a process begins to train."""
    details: dict[str, object] = {"experiment": experiment}
    if resumed_from is not None:
        details["saved_at"] = format_rfc3339(resumed_from.created_at)
    catalog.audit(_ACTION, checkpoint=None if resumed_from is None else resumed_from.id, details=details)


def read_starts(catalog: Catalog, experiment: str) -> tuple[RunStart, ...]:
    """All starts that the catalog knows, oldest first."""
    found = [entry for entry in catalog.actions(_ACTION) if entry.details.get("experiment") == experiment]
    saved = [entry.details.get("saved_at") for entry in found]
    return tuple(
        RunStart(entry.at, parse_rfc3339(at) if isinstance(at, str) else None)
        for entry, at in zip(found, saved, strict=True)
    )
