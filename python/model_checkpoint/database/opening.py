"""What happens to a catalog before its first use."""

from __future__ import annotations

import os
from collections.abc import Callable

from sqlalchemy import Connection, inspect, text

from model_checkpoint.database import queries
from model_checkpoint.database.base_connection import BaseDatabaseConnection
from model_checkpoint.database.catalog_files import FILES
from model_checkpoint.database.listing import CATALOG_NAME
from model_checkpoint.database.revision import is_current, no_catalog, no_program
from model_checkpoint.errors import StorageError
from model_checkpoint.utils import real_path
from model_checkpoint.utils.clock import utc_now
from model_checkpoint.utils.presence import is_present

__all__ = ["bring_up_to_date", "set_aside"]


def bring_up_to_date(database: BaseDatabaseConnection, fill: Callable[[], None]) -> None:
    """Create or upgrade the schema if it is not this version's. Any number of processes may do so at once.

    Args:
        database: The catalog.
        fill: Is called after the schema was created, in the same transaction.

    Raises:
        CatalogError: The catalog is of a later version.
        CatalogDamagedError: It is no catalog.
    """
    with database.read() as connection:
        if _is_up_to_date(connection, database.location):
            return
    from model_checkpoint.database.migrations import upgrade

    with database.write() as connection:
        if not _is_up_to_date(connection, database.location):  # nobody else did it meanwhile
            is_new = not inspect(connection).get_table_names()
            upgrade(connection)
            if is_new:
                fill()


def set_aside(root: str | os.PathLike[str]) -> str | None:
    """Rename a damaged catalog, so that a new one can be built; nothing is deleted.

    Args:
        root: The store's directory.

    Returns:
        The path that it has now, or None if there was none.

    Raises:
        StorageError: The file system refused it.
    """
    path = os.path.join(os.path.realpath(root), CATALOG_NAME)
    aside = f"{path}.damaged-{utc_now():%Y%m%dT%H%M%S.%fZ}"
    if not is_present(path):
        return None
    for suffix in FILES:  # the main file last: a new one must never meet the journal of an old one
        try:
            real_path.rename(path + suffix, aside + suffix)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError.from_os_error(error, "cannot set the catalog aside", path=path + suffix) from error
    return aside


def _is_up_to_date(connection: Connection, where: str) -> bool:
    if connection.dialect.name == "sqlite":
        no_program(connection.execute(text(queries.PROGRAMS)).scalars().all(), where)
    inspector = inspect(connection)
    if inspector.has_table("alembic_version"):
        found = connection.execute(text(queries.REVISION)).scalar()
        return is_current(found or "", where)
    if inspector.get_table_names():
        raise no_catalog(where)
    return False
