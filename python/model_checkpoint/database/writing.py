"""The statements that change the catalog. Each function works inside the transaction of its connection."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, Table, delete, func, insert, not_, select, union, update
from sqlalchemy.dialects import postgresql, sqlite

from model_checkpoint.database import schema
from model_checkpoint.database.rows import checkpoint_row, experiment_row, metric_row
from model_checkpoint.errors import CatalogConflictError, CheckpointNotFoundError
from model_checkpoint.types import CheckpointInfo, ExperimentInfo

__all__ = [
    "add_checkpoint",
    "delete_checkpoints",
    "insert_rows",
    "replace_all",
    "take_seq",
    "update_checkpoints",
    "upsert",
]

Rows = Sequence[Mapping[str, object]]
_SEQ = "seq"
_BELONGINGS = (schema.checkpoint_metrics, schema.tags, schema.aliases)
"""Tables whose rows belong to a checkpoint."""


def insert_rows(connection: Connection, table: Table, rows: Rows) -> None:
    if rows:
        connection.execute(insert(table), [dict(row) for row in rows])


def upsert(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert rows; those whose primary key exists replace what it had."""
    if not rows:
        return
    statement = _insert(connection, table)
    others = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
    connection.execute(
        statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=others),
        [dict(row) for row in rows],
    )


def take_seq(connection: Connection) -> int:
    """The next number of the commit order, whatever became of the counter."""
    raise_counter(connection, _SEQ, connection.execute(select(func.max(schema.checkpoints.c.seq))).scalar() or 0)
    return take_numbers(connection, _SEQ, 1)


def take_numbers(connection: Connection, counter: str, count: int) -> int:
    """The first of ``count`` numbers, one after the other, that a counter gives out for good; they begin with 1."""
    statement = _insert(connection, schema.counters).values(name=counter, value=count)
    value = schema.counters.c.value
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value + count}))
    # Not by RETURNING, which SQLite has only since 3.35; this transaction is the only writer.
    return int(connection.execute(select(value).where(schema.counters.c.name == counter)).scalar_one()) - count + 1


def raise_counter(connection: Connection, counter: str, at_least: int) -> None:
    """See to it that no number up to ``at_least`` is given out again."""
    statement = _insert(connection, schema.counters).values(name=counter, value=at_least)
    lower = schema.counters.c.value < statement.excluded.value
    connection.execute(
        statement.on_conflict_do_update(index_elements=["name"], set_={"value": statement.excluded.value}, where=lower)
    )


def add_checkpoint(connection: Connection, info: CheckpointInfo) -> None:
    """Insert one checkpoint, unless the very same is there.

    Raises:
        CatalogConflictError: Its id has another digest, or its seq or path belongs to another checkpoint.
    """
    table = schema.checkpoints
    same = (table.c.id == info.id) | (table.c.seq == info.seq) | (table.c.path == info.path)
    for row in connection.execute(select(table.c.id, table.c.digest, table.c.seq, table.c.path).where(same)):
        if row.id != info.id:
            what = f"seq {info.seq}" if row.seq == info.seq else f"path {info.path!r}"
            raise CatalogConflictError(f"{what} of checkpoint {info.id} belongs to checkpoint {row.id}")
        if row.digest != info.digest:
            raise CatalogConflictError(f"checkpoint {info.id} is known with digest {row.digest}, not {info.digest}")
        return
    for belonging in _BELONGINGS:  # left where somebody deleted rows by hand: SQLite's shell does not cascade
        connection.execute(delete(belonging).where(belonging.c.checkpoint == info.id))
    _insert_checkpoints(connection, [info])


def update_checkpoints(connection: Connection, ids: Iterable[str], **values: object) -> None:
    """Set columns of checkpoints.

    Raises:
        CheckpointNotFoundError: One of them does not exist.
    """
    for checkpoint in ids:
        statement = update(schema.checkpoints).where(schema.checkpoints.c.id == checkpoint).values(values)
        if connection.execute(statement).rowcount == 0:
            raise CheckpointNotFoundError(f"no checkpoint with id {checkpoint!r}", ref=checkpoint)


def delete_checkpoints(connection: Connection, ids: Iterable[str]) -> None:
    """Delete checkpoints with all that belongs to them; those that do not exist are no error."""
    for checkpoint in ids:
        connection.execute(delete(schema.checkpoints).where(schema.checkpoints.c.id == checkpoint))


def replace_all(connection: Connection, infos: Sequence[CheckpointInfo], experiments: Sequence[ExperimentInfo]) -> None:
    """Make these the checkpoints and experiments; an experiment with logged metrics stays in any case."""
    for table in (*_BELONGINGS, schema.checkpoints):
        connection.execute(delete(table))
    logged = union(select(schema.series.c.experiment), select(schema.metric_segments.c.experiment))
    connection.execute(delete(schema.experiments).where(not_(schema.experiments.c.name.in_(logged))))
    upsert(connection, schema.experiments, [experiment_row(info) for info in experiments])
    _insert_checkpoints(connection, in_distinct_order(infos))


def in_distinct_order(infos: Iterable[CheckpointInfo]) -> list[CheckpointInfo]:
    """Checkpoints by commit order, each with a seq of its own.

    Two manifests have the same seq if one was copied here from another store. The catalog then counts the later one,
    and those that it pushes, one higher.

    Raises:
        CatalogConflictError: Two have the same id.
    """
    ordered: list[CheckpointInfo] = []
    paths: dict[str, str] = {}
    for info in sorted(infos, key=lambda info: (info.seq, info.created_at, info.id)):
        if info.id in paths:
            both = f"{info.path!r} and {paths[info.id]!r}"
            raise CatalogConflictError(f"{both} both hold checkpoint {info.id}; move one away")
        paths[info.id] = info.path
        free = ordered[-1].seq + 1 if ordered else info.seq
        ordered.append(info if info.seq >= free else dataclasses.replace(info, seq=free))
    return ordered


def _insert_checkpoints(connection: Connection, infos: Sequence[CheckpointInfo]) -> None:
    """Insert checkpoints, given in commit order, with all that belongs to them. The later owner of an alias has it."""
    _insert_missing_experiments(connection, infos)
    insert_rows(connection, schema.checkpoints, [checkpoint_row(info) for info in infos])
    insert_rows(
        connection,
        schema.checkpoint_metrics,
        [metric_row(info, name, value) for info in infos for name, value in sorted(info.metrics.items())],
    )
    insert_rows(
        connection,
        schema.tags,
        [{"checkpoint": info.id, "key": key, "value": value} for info in infos for key, value in info.tags.items()],
    )
    upsert(
        connection,
        schema.aliases,
        [
            {"alias": alias, "experiment": info.experiment, "checkpoint": info.id}
            for info in infos
            for alias in info.aliases
        ],
    )
    if infos:
        raise_counter(connection, _SEQ, infos[-1].seq)


def _insert_missing_experiments(connection: Connection, infos: Sequence[CheckpointInfo]) -> None:
    """A checkpoint whose experiment has lost its settings is still a checkpoint."""
    known = set(connection.execute(select(schema.experiments.c.name)).scalars())
    firsts: dict[str, CheckpointInfo] = {}
    for info in infos:
        firsts.setdefault(info.experiment, info)
    bare = [ExperimentInfo(name, info.created_at) for name, info in firsts.items() if name not in known]
    insert_rows(connection, schema.experiments, [experiment_row(info) for info in bare])


def _insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """``INSERT`` that knows ``ON CONFLICT``, which SQLAlchemy has for each of the two databases."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
