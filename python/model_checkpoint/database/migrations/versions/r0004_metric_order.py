"""What the best checkpoint is chosen by is read from indexes alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.drop_index("ix_checkpoints_experiment_state_seq", "checkpoints")
    op.create_index(
        "ix_checkpoints_experiment_state_seq_step_id", "checkpoints", ["experiment", "state", "seq", "step", "id"]
    )
    op.drop_index("ix_checkpoint_metrics_experiment_name_value", "checkpoint_metrics")
    op.rename_table("checkpoint_metrics", "checkpoint_metrics_0003")
    op.create_table(
        "checkpoint_metrics",
        sa.Column("checkpoint", sa.Text, nullable=False),
        sa.Column("experiment", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Double),
        sa.PrimaryKeyConstraint("checkpoint", "name", name="pk_checkpoint_metrics"),
        sa.ForeignKeyConstraint(
            ["checkpoint"], ["checkpoints.id"], name="fk_checkpoint_metrics_checkpoint", ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO checkpoint_metrics (checkpoint, experiment, seq, name, value) "
        "SELECT m.checkpoint, m.experiment, c.seq, m.name, m.value "
        "FROM checkpoint_metrics_0003 AS m JOIN checkpoints AS c ON c.id = m.checkpoint"
    )
    op.drop_table("checkpoint_metrics_0003")
    op.create_index(
        "ix_checkpoint_metrics_experiment_name_value_seq", "checkpoint_metrics", ["experiment", "name", "value", "seq"]
    )
