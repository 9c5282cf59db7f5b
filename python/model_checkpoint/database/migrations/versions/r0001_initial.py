"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("monitor", sa.Text),
        sa.Column("mode", sa.Text),
        sa.Column("keep", sa.Text),
        sa.Column("config", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_experiments"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("experiment", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("nbytes", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("backend", sa.Text, nullable=False),
        sa.Column("parent", sa.Text),
        sa.Column("pinned", sa.Boolean, nullable=False),
        sa.Column("verified_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_checkpoints"),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.name"], name="fk_checkpoints_experiment"),
        sa.UniqueConstraint("seq", name="uq_checkpoints_seq"),
        sa.UniqueConstraint("path", name="uq_checkpoints_path"),
    )
    op.create_index("ix_checkpoints_experiment_state_seq", "checkpoints", ["experiment", "state", "seq"])
    op.create_index("ix_checkpoints_state_seq", "checkpoints", ["state", "seq"])
    op.create_index("ix_checkpoints_step", "checkpoints", ["step"])
    op.create_table(
        "checkpoint_metrics",
        sa.Column("checkpoint", sa.Text, nullable=False),
        sa.Column("experiment", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Double),
        sa.PrimaryKeyConstraint("checkpoint", "name", name="pk_checkpoint_metrics"),
        sa.ForeignKeyConstraint(
            ["checkpoint"], ["checkpoints.id"], name="fk_checkpoint_metrics_checkpoint", ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_checkpoint_metrics_experiment_name_value", "checkpoint_metrics", ["experiment", "name", "value"]
    )
    op.create_table(
        "tags",
        sa.Column("checkpoint", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("checkpoint", "key", name="pk_tags"),
        sa.ForeignKeyConstraint(["checkpoint"], ["checkpoints.id"], name="fk_tags_checkpoint", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "aliases",
        sa.Column("alias", sa.Text, nullable=False),
        sa.Column("experiment", sa.Text, nullable=False),
        sa.Column("checkpoint", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("alias", "experiment", name="pk_aliases"),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.name"], name="fk_aliases_experiment"),
        sa.ForeignKeyConstraint(["checkpoint"], ["checkpoints.id"], name="fk_aliases_checkpoint", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_aliases_checkpoint", "aliases", ["checkpoint"])
    op.create_table(
        "metrics",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("experiment", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("context", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_metrics"),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.name"], name="fk_metrics_experiment"),
    )
    op.create_index("ix_metrics_experiment_name_step", "metrics", ["experiment", "name", "step"])
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("checkpoint", sa.Text),
        sa.Column("actor", sa.Text),
        sa.Column("details", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
    )
    op.create_index("ix_audit_log_checkpoint", "audit_log", ["checkpoint"])
    op.create_table(
        "counters",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
