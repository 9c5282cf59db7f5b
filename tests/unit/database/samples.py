"""Checkpoints and experiments to put into catalogs."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import text

from model_checkpoint.database import Catalog
from model_checkpoint.database.migrations import configuration
from model_checkpoint.types import CheckpointInfo, ExperimentInfo

START = datetime(2025, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


def make_info(seq: int, *, experiment: str = "gpt2", id: str | None = None, **fields: Any) -> CheckpointInfo:  # noqa: A002
    """A committed checkpoint whose every value follows from ``seq``, unless it is given."""
    id = id or hashlib.sha256(f"{experiment}/{seq}".encode()).hexdigest()[:32]  # noqa: A001
    step = fields.pop("step", seq * 100)
    return CheckpointInfo(
        id=id,
        experiment=experiment,
        step=step,
        seq=seq,
        created_at=fields.pop("created_at", START + timedelta(seconds=seq)),
        path=fields.pop("path", f"{experiment}/step-{step:08d}-{id[:8]}"),
        nbytes=fields.pop("nbytes", 1000 + seq),
        digest=fields.pop("digest", hashlib.sha256(id.encode()).hexdigest()),
        content=fields.pop("content", hashlib.sha256(b"content").hexdigest()),
        **fields,
    )


def make_experiment(name: str = "gpt2", **fields: Any) -> ExperimentInfo:
    return ExperimentInfo(name, fields.pop("created_at", START), **fields)


def make_earlier_catalog(root: Path, revision: str, script: str) -> None:
    """A catalog of an earlier revision, with what the statements of a script insert."""
    config = configuration()
    with Catalog(root / "catalog.db") as catalog, catalog.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement in script.split(";"):
            connection.execute(text(statement))
