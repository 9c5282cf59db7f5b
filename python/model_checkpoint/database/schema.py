"""The tables. What is changed here needs a new migration; a test compares the two.

Times are integers: microseconds since 1970, UTC. Structured values are JSON text. Booleans ask yes-or-no questions.
A stored value of NULL in a metric is NaN (SQLite has no other way to say it); a metric that was not measured has no
row. Infinities are themselves. The strings in ``state`` and ``mode`` are those of `model_checkpoint.types`: frozen.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

__all__ = [
    "aliases",
    "audit_log",
    "checkpoint_metrics",
    "checkpoints",
    "counters",
    "experiments",
    "metadata",
    "metric_segments",
    "metrics",
    "series",
    "tags",
]

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

experiments = Table(
    "experiments",
    metadata,
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("monitor", Text),
    Column("mode", Text),
    Column("keep", Text),
    Column("config", Text, nullable=False),
    Column("criterion", Text),
    PrimaryKeyConstraint("name"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("id", Text, nullable=False),
    Column("experiment", Text, ForeignKey("experiments.name"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("path", Text, nullable=False),
    Column("nbytes", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("parent", Text),
    Column("pinned", Boolean, nullable=False),
    Column("verified_at", BigInteger),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("seq"),
    UniqueConstraint("path"),
    Index(None, "experiment", "state", "seq", "step", "id"),  # the newest of an experiment; covers `queries.order`
    Index(None, "state", "seq"),  # the newest of the store
    Index(None, "step"),
)

checkpoint_metrics = Table(
    "checkpoint_metrics",
    metadata,
    Column("checkpoint", Text, ForeignKey("checkpoints.id", ondelete="CASCADE"), nullable=False),
    Column("experiment", Text, nullable=False),  # the checkpoint's, and its seq: repeated for the index below
    Column("seq", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("value", Double),
    PrimaryKeyConstraint("checkpoint", "name"),
    Index(None, "experiment", "name", "value", "seq"),  # the best of an experiment; covers `queries.VALUES`
    sqlite_with_rowid=False,
)

tags = Table(
    "tags",
    metadata,
    Column("checkpoint", Text, ForeignKey("checkpoints.id", ondelete="CASCADE"), nullable=False),
    Column("key", Text, nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("checkpoint", "key"),
    sqlite_with_rowid=False,
)

aliases = Table(
    "aliases",
    metadata,
    Column("alias", Text, nullable=False),
    Column("experiment", Text, ForeignKey("experiments.name"), nullable=False),
    Column("checkpoint", Text, ForeignKey("checkpoints.id", ondelete="CASCADE"), nullable=False),
    PrimaryKeyConstraint("alias", "experiment"),
    Index(None, "checkpoint"),
    sqlite_with_rowid=False,
)

series = Table(
    "series",
    metadata,
    Column("id", Integer, nullable=False),
    Column("experiment", Text, ForeignKey("experiments.name"), nullable=False),
    Column("name", Text, nullable=False),
    Column("split", Text, nullable=False),  # empty: none
    Column("tags", Text, nullable=False),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("experiment", "name", "split", "tags"),
)

metrics = Table(  # the points that are in no segment yet; no index: rows are few, and read all together
    "metrics",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), nullable=False),  # of its last point
    Column("experiment", Text, ForeignKey("experiments.name"), nullable=False),
    Column("points", BigInteger, nullable=False),  # how many
    Column("data", LargeBinary, nullable=False),  # packed: see `model_checkpoint.database.metric_batch`
    PrimaryKeyConstraint("id"),
)

metric_segments = Table(
    "metric_segments",
    metadata,
    Column("path", Text, nullable=False),
    Column("experiment", Text, ForeignKey("experiments.name"), nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("first_step", BigInteger, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("nbytes", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    PrimaryKeyConstraint("path"),
    Index(None, "experiment"),
    sqlite_with_rowid=False,
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
    Column("checkpoint", Text),  # no foreign key: the log outlives what it tells of
    Column("actor", Text),
    Column("details", Text, nullable=False),
    PrimaryKeyConstraint("id"),
    Index(None, "checkpoint"),
)

counters = Table(
    "counters",
    metadata,
    Column("name", Text, nullable=False),
    Column("value", BigInteger, nullable=False),
    PrimaryKeyConstraint("name"),
)
