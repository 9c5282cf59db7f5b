"""What decides which checkpoint of an experiment is best may be more than one metric."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("experiments", sa.Column("criterion", sa.Text))
