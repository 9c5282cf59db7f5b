"""Checkpoints as rows of a table and as JSON: what `ls`, `best`, `prune` and `show` have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from model_checkpoint.cli.render import Cell, Column, age, count, number
from model_checkpoint.types import CheckpointInfo, CheckpointState
from model_checkpoint.utils.clock import format_rfc3339
from model_checkpoint.utils.sizes import format_size
from model_checkpoint.utils.strict_json import JsonValue

__all__ = [
    "NOT_KEPT",
    "checkpoint_json",
    "columns",
    "kept_because",
    "metric_names",
    "row",
    "state_cell",
    "state_text",
    "summary",
]

NOT_KEPT = "(goes at the next prune)"

_VERIFIED = "verified"
_STATE_STYLES = {
    CheckpointState.COMMITTED: "",
    CheckpointState.TRASHED: "dim",
    CheckpointState.LOST: "red",
    CheckpointState.QUARANTINED: "red",
}


def columns(metrics: Sequence[str]) -> list[Column]:
    """The headings of `row`."""
    return [
        Column("STEP", right=True),
        Column("ID"),
        Column("AGE", right=True),
        *(Column(name, right=True, clips=True) for name in metrics),
        Column("SIZE", right=True),
        Column("KEPT BECAUSE", wraps=True),
        Column("STATE"),
    ]


def row(info: CheckpointInfo, reasons: Sequence[str] | None, metrics: Sequence[str], now: datetime) -> list[str | Cell]:
    """One checkpoint under the headings of `columns`; ``reasons`` is why retention keeps it."""
    return [
        str(info.step),
        Cell(info.id[:8], "dim"),
        age(info.created_at, now),
        *(number(info.metrics.get(name)) for name in metrics),
        format_size(info.nbytes),
        kept_because(info, reasons),
        state_cell(info),
    ]


def kept_because(info: CheckpointInfo, reasons: Sequence[str] | None) -> Cell:
    """The reasons of retention, aliases (``@prod``) among them; None if they cannot be told."""
    if reasons is None:
        return Cell(" ".join(f"@{alias}" for alias in info.aliases))
    return Cell(", ".join(reasons)) if reasons else Cell(NOT_KEPT, "yellow")


def state_cell(info: CheckpointInfo) -> Cell:
    """Where it is in its life, or that its bytes were verified."""
    text = state_text(info)
    return Cell(text, "green" if text == _VERIFIED else _STATE_STYLES[info.state])


def state_text(info: CheckpointInfo) -> str:
    """``verified``, or the checkpoint's state as it is."""
    is_verified = info.state is CheckpointState.COMMITTED and info.verified_at is not None
    return _VERIFIED if is_verified else info.state.value


def metric_names(infos: Iterable[CheckpointInfo], monitor: str | None) -> tuple[str, ...]:
    """The metric to show: the monitored one, else the first by name that any checkpoint has."""
    if monitor is not None:
        return (monitor,)
    return tuple(sorted({name for info in infos for name in info.metrics})[:1])


def summary(shown: int, total: int, nbytes: int, freed_bytes: int) -> str:
    """``14 checkpoints · 19.6 GB · the next prune frees 610 MB``."""
    which = count(total, "checkpoint") if shown == total else f"the newest {shown:,} of {count(total, 'checkpoint')}"
    freed = f" · the next prune frees {format_size(freed_bytes)}" if freed_bytes else ""
    return f"{which} · {format_size(nbytes)}{freed}"


def checkpoint_json(info: CheckpointInfo, reasons: Sequence[str] | None = None) -> dict[str, JsonValue]:
    """A checkpoint as JSON; the keys are documented and only ever added to. ``reasons`` is None if not known."""
    return {
        "ref": info.ref,
        "id": info.id,
        "experiment": info.experiment,
        "step": info.step,
        "seq": info.seq,
        "created_at": format_rfc3339(info.created_at),
        "path": info.path,
        "bytes": info.nbytes,
        "digest": info.digest,
        "content": info.content,
        "metrics": dict(info.metrics),
        "state": info.state.value,
        "backend": info.backend,
        "parent": info.parent,
        "pinned": info.pinned,
        "aliases": list(info.aliases),
        "tags": dict(info.tags),
        "verified_at": format_rfc3339(info.verified_at) if info.verified_at else None,
        "kept_because": None if reasons is None else list(reasons),
    }
