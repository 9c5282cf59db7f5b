"""Experiments and checkpoints as Arrow tables, for questions in SQL."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from model_checkpoint.database.metric_table import SeriesKey
from model_checkpoint.types import CheckpointInfo, ExperimentInfo
from model_checkpoint.utils.optional_import import require

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["checkpoints_table", "experiments_table", "wanted_table"]


_OF_EXPERIMENT = ("name", "created_at", "monitor", "mode", "criterion", "keep", "config")


def experiments_table(experiments: Iterable[ExperimentInfo]) -> pa.Table:
    """name, created_at, monitor, mode, criterion, keep, and config as JSON text."""
    arrow: Any = require("pyarrow", extra="analytics")
    time = arrow.timestamp("us", tz="UTC")
    columns = dict.fromkeys(_OF_EXPERIMENT, arrow.utf8())
    rows = [
        {name: getattr(info, name) for name in columns} | {"config": json.dumps(dict(info.config), sort_keys=True)}
        for info in experiments
    ]
    return arrow.Table.from_pylist(rows, schema=arrow.schema(columns | {"created_at": time}))


def checkpoints_table(checkpoints: Iterable[CheckpointInfo]) -> pa.Table:
    """What `CheckpointInfo` has; metrics and tags are maps, aliases a list."""
    arrow: Any = require("pyarrow", extra="analytics")
    text, whole, time = arrow.utf8(), arrow.int64(), arrow.timestamp("us", tz="UTC")
    types: dict[str, Any] = {
        **dict.fromkeys(("id", "experiment", "path", "digest", "content", "state", "backend", "parent"), text),
        **dict.fromkeys(("seq", "step", "nbytes"), whole),
        **dict.fromkeys(("created_at", "verified_at"), time),
        "pinned": arrow.bool_(),
        "metrics": arrow.map_(text, arrow.float64()),
        "tags": arrow.map_(text, text),
        "aliases": arrow.list_(text),
    }
    rows = [{name: _plain(getattr(info, name)) for name in types} for info in checkpoints]
    return arrow.Table.from_pylist(rows, schema=arrow.schema(types))


def wanted_table(keys: Iterable[SeriesKey]) -> pa.Table:
    """name, split, tags, and number: the place of each series among those given."""
    arrow: Any = require("pyarrow", extra="analytics")
    schema = arrow.schema({**dict.fromkeys(SeriesKey._fields, arrow.utf8()), "number": arrow.int16()})
    return arrow.Table.from_pylist([{**key._asdict(), "number": n} for n, key in enumerate(keys)], schema=schema)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return list(value.items())
    return getattr(value, "value", value)  # states are enumerations
