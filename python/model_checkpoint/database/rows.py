"""Between the tables' rows and the frozen values of `model_checkpoint.types` and `records`."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from model_checkpoint.database import queries
from model_checkpoint.database.records import AuditEntry
from model_checkpoint.errors import CatalogDamagedError
from model_checkpoint.types import CheckpointInfo, CheckpointState, ExperimentInfo
from model_checkpoint.utils.clock import from_microseconds, to_microseconds

__all__ = [
    "Fetch",
    "Row",
    "audit_row",
    "checkpoint_row",
    "experiment_row",
    "metric_row",
    "read_audit",
    "read_checkpoints",
    "read_experiments",
]

Row = Sequence[Any]
Fetch = Callable[[str, Mapping[str, object]], Iterable[Row]]
"""Runs one statement of `queries` with its named parameters, inside the transaction that it belongs to.

The rows come one by one, and end with the transaction: ten thousand tuples at once would set off the garbage collector.
"""

# --- values into rows -------------------------------------------------------------------------------------------------


def checkpoint_row(info: CheckpointInfo) -> dict[str, object]:
    """The row of ``checkpoints``; metrics, tags and aliases have rows of their own."""
    return {name: getattr(info, name) for name in queries.COLUMNS} | {
        "created_at": to_microseconds(info.created_at),
        "state": info.state.value,
        "verified_at": None if info.verified_at is None else to_microseconds(info.verified_at),
    }


def metric_row(info: CheckpointInfo, name: str, value: float) -> dict[str, object]:
    return {
        "checkpoint": info.id,
        "experiment": info.experiment,
        "seq": info.seq,
        "name": name,
        "value": _number(value),
    }


def experiment_row(info: ExperimentInfo) -> dict[str, object]:
    return {
        "name": info.name,
        "created_at": to_microseconds(info.created_at),
        "monitor": info.monitor,
        "mode": info.mode,
        "keep": info.keep,
        "config": _json(info.config),
        "criterion": info.criterion,
    }


def audit_row(entry: AuditEntry) -> dict[str, object]:
    return {
        "at": to_microseconds(entry.at),
        "action": entry.action,
        "checkpoint": entry.checkpoint,
        "actor": entry.actor,
        "details": _json(entry.details),
    }


def _number(value: float) -> float | None:
    """NaN is stored as NULL (see `schema`), explicitly: not every database would do it by itself."""
    return None if math.isnan(value) else float(value)


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(dict(value), sort_keys=True, separators=(",", ":"))


# --- rows into values -------------------------------------------------------------------------------------------------


def read_checkpoints(fetch: Fetch, selection: str, parameters: Mapping[str, object]) -> tuple[CheckpointInfo, ...]:
    """The checkpoints of a selection of `queries`, in its order, with all that belongs to them.

    Raises:
        CatalogDamagedError: A row holds what no catalog holds.
    """
    chosen = list(fetch(selection, parameters))
    if not chosen:
        return ()
    of_metrics, of_tags, of_aliases = queries.details_of(selection)
    metrics: dict[str, dict[str, float]] = defaultdict(dict)
    tags: dict[str, dict[str, str]] = defaultdict(dict)
    aliases: dict[str, list[str]] = defaultdict(list)
    for checkpoint, name, value in fetch(of_metrics, parameters):
        metrics[checkpoint][name] = _float(value)
    for checkpoint, key, value in fetch(of_tags, parameters):
        tags[checkpoint][key] = value
    for checkpoint, alias in fetch(of_aliases, parameters):
        aliases[checkpoint].append(alias)
    with _trusted("checkpoints"):
        return tuple(_checkpoint(row, metrics[row[0]], tags[row[0]], aliases[row[0]]) for row in chosen)


def read_experiments(rows: Iterable[Row]) -> tuple[ExperimentInfo, ...]:
    with _trusted("experiments"):
        return tuple(
            ExperimentInfo(name, from_microseconds(created_at), monitor, mode, keep, _object(config), criterion)
            for name, created_at, monitor, mode, keep, config, criterion in rows
        )


def read_audit(rows: Iterable[Row]) -> tuple[AuditEntry, ...]:
    with _trusted("audit_log"):
        return tuple(
            AuditEntry(from_microseconds(at), action, checkpoint, actor, _object(details))
            for at, action, checkpoint, actor, details in rows
        )


def _checkpoint(row: Row, metrics: dict[str, float], tags: dict[str, str], aliases: list[str]) -> CheckpointInfo:
    values = dict(zip(queries.COLUMNS, row, strict=True))
    verified_at = values["verified_at"]
    values["created_at"] = from_microseconds(values["created_at"])
    values["verified_at"] = None if verified_at is None else from_microseconds(verified_at)
    values["state"] = CheckpointState(values["state"])
    values["pinned"] = bool(values["pinned"])
    return CheckpointInfo(
        **values, metrics=MappingProxyType(metrics), tags=MappingProxyType(tags), aliases=tuple(aliases)
    )


def _object(text: str) -> Mapping[str, object]:
    return MappingProxyType(json.loads(text))


def _float(value: float | None) -> float:
    return math.nan if value is None else value


@contextmanager
def _trusted(table: str) -> Iterator[None]:
    """Rows are what this package wrote; anything else means that the catalog was damaged or edited."""
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        raise CatalogDamagedError(
            f"the catalog's table {table} holds an impossible value ({error}); `mckpt reindex` rebuilds it"
        ) from error
