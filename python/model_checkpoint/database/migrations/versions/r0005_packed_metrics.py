"""Points of metrics are packed: a row has those that were added together."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_POINT = struct.Struct("<qqqdqd")
_PIECE = 100_000


def upgrade() -> None:
    connection = op.get_bind()
    _create("packed_metrics")
    for (experiment,) in connection.execute(sa.text("SELECT DISTINCT experiment FROM series")).all():
        _pack(connection, experiment)
    _count_on(connection)
    op.drop_table("metrics")
    _create("metrics")  # a table that was renamed would have another text in SQLite than one that was created
    connection.execute(sa.text("INSERT INTO metrics SELECT * FROM packed_metrics"))
    op.drop_table("packed_metrics")


def _create(name: str) -> None:
    op.create_table(
        name,
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("experiment", sa.Text, nullable=False),
        sa.Column("points", sa.BigInteger, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.name"], name=f"fk_{name}_experiment"),
    )


def _pack(connection: sa.Connection, experiment: str) -> None:
    """Pack the points of an experiment, in their order."""
    statement = sa.text(
        "SELECT m.id, m.series, m.step, m.value, m.time, m.epoch FROM metrics AS m JOIN series AS s ON s.id = m.series "
        "WHERE s.experiment = :experiment ORDER BY m.id"
    )
    for rows in connection.execute(statement, {"experiment": experiment}).partitions(_PIECE):
        data = b"".join(map(_packed, rows))
        connection.execute(
            sa.text("INSERT INTO packed_metrics VALUES (:id, :experiment, :points, :data)"),
            {"id": rows[-1][0], "experiment": experiment, "points": len(rows), "data": data},
        )


def _packed(row: Sequence[Any]) -> bytes:
    number, series, step, value, time, epoch = row
    return _POINT.pack(number, series, step, _or_nan(value), time, _or_nan(epoch))


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _count_on(connection: sa.Connection) -> None:
    """Go on with ids where the table stopped, which remembers those that moved to segments, too."""
    last = sa.text("SELECT max(id) FROM metrics")
    if connection.dialect.name == "sqlite":
        last = sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'metrics'")
    last_id = connection.execute(last).scalar()
    if last_id:
        connection.execute(sa.text("INSERT INTO counters VALUES ('point', :last_id)"), {"last_id": last_id})
