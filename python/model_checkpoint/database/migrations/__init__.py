"""Changes of the schema, in order. Imported only to upgrade: Alembic takes longer to import than a catalog to open."""

from __future__ import annotations

import os

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

__all__ = ["configuration", "upgrade"]


def upgrade(connection: Connection) -> None:
    """Bring a catalog to the newest revision, within the transaction that ``connection`` is in.

    The caller holds the write lock and has looked at the revision under it.
    """
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def configuration() -> Config:
    """Alembic's settings; there is no ``alembic.ini``."""
    config = Config()
    config.set_main_option("script_location", os.path.dirname(__file__).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
