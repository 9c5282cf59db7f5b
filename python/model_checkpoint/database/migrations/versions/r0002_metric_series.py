"""Points of metrics name their series by a number, and move to segments when there are many."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "series",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("experiment", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("split", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_series"),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.name"], name="fk_series_experiment"),
        sa.UniqueConstraint("experiment", "name", "split", "tags", name="uq_series_experiment"),
    )
    op.drop_index("ix_metrics_experiment_name_step", "metrics")
    op.rename_table("metrics", "metrics_0001")
    op.create_table(
        "metrics",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("series", sa.Integer, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_metrics"),
        sa.ForeignKeyConstraint(["series"], ["series.id"], name="fk_metrics_series"),
        sqlite_autoincrement=True,
    )
    # No version wrote a context.
    op.execute(
        "INSERT INTO series (experiment, name, split, tags) "
        "SELECT DISTINCT experiment, name, '', '{}' FROM metrics_0001 ORDER BY experiment, name"
    )
    op.execute(
        "INSERT INTO metrics (series, step, value, time) SELECT s.id, m.step, m.value, m.time "
        "FROM metrics_0001 AS m JOIN series AS s ON s.experiment = m.experiment AND s.name = m.name ORDER BY m.id"
    )
    op.drop_table("metrics_0001")
    op.create_table(
        "metric_segments",
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("experiment", sa.Text, nullable=False),
        sa.Column("points", sa.BigInteger, nullable=False),
        sa.Column("first_step", sa.BigInteger, nullable=False),
        sa.Column("last_step", sa.BigInteger, nullable=False),
        sa.Column("nbytes", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("path", name="pk_metric_segments"),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.name"], name="fk_metric_segments_experiment"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_metric_segments_experiment", "metric_segments", ["experiment"])
