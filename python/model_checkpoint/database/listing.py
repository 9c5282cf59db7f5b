"""The catalog, read-only and over the standard library alone: it opens in a few milliseconds.

Importing SQLAlchemy takes longer than a command line may take to answer. Nothing here, or imported from here, imports
it, numpy, or Alembic; a test sees to it.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Self

from model_checkpoint.database import queries
from model_checkpoint.database.busy import SLICE, retry_while_busy
from model_checkpoint.database.catalog_files import check_files
from model_checkpoint.database.lookup import Lookup
from model_checkpoint.database.revision import is_current, no_catalog, no_program
from model_checkpoint.database.rows import Fetch, Row
from model_checkpoint.database.sqlite_errors import needs_recovery, translate
from model_checkpoint.errors import CatalogError
from model_checkpoint.utils.sqlite_version import sqlite_driver

if TYPE_CHECKING:
    import sqlite3

__all__ = ["CATALOG_NAME", "Listing"]

CATALOG_NAME = "catalog.db"


class Listing(Lookup):
    """Answers from the catalog of a store, and never changes it. Use from one thread; close it, or use ``with``."""

    def __init__(self, connection: sqlite3.Connection, path: str, *, busy_timeout: float) -> None:
        """Use an open connection; see `Listing.open`."""
        self._connection = connection
        self._path = path
        self._busy_timeout = busy_timeout

    @classmethod
    def open(cls, root: str | os.PathLike[str], *, busy_timeout: float = 5.0) -> Listing:
        """Open the catalog of the store at ``root``.

        Args:
            root: The store's directory.
            busy_timeout: Seconds to wait for a writer's lock.

        Raises:
            CatalogError: There is no catalog, or one of another version of this package; or SQLite would be led to
                other files.
            CatalogBusyError: A writer held it for longer than ``busy_timeout``.
            CatalogDamagedError: It is not readable as a catalog.
            StorageError: The file system refuses it.
        """
        path = os.path.abspath(os.path.join(root, CATALOG_NAME))
        check_files(path)
        if not os.path.exists(path) or os.path.getsize(path) == 0:
            raise CatalogError(f"there is no catalog at {path}; `mckpt reindex` builds it from the manifests")
        try:
            return cls._open_checked(path, "ro", busy_timeout)
        except sqlite_driver().Error as error:
            if not needs_recovery(error):
                raise translate(error, path) from error
        # A writer was killed: what it left half done has to be undone before anybody can read.
        try:
            return cls._open_checked(path, "rw", busy_timeout)
        except sqlite_driver().Error as error:
            raise translate(error, path) from error

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _snapshot(self) -> Iterator[Fetch]:
        try:
            self._execute("BEGIN")
            try:
                self._execute_patiently("SELECT 1 FROM sqlite_master")
                yield self._connection.execute
            finally:
                self._connection.rollback()
        except sqlite_driver().Error as error:
            raise translate(error, self._path) from error

    @classmethod
    def _open_checked(cls, path: str, mode: str, busy_timeout: float) -> Listing:
        uri = f"file:{urllib.parse.quote(path)}?mode={mode}"
        connection = sqlite_driver().connect(uri, uri=True, timeout=SLICE, isolation_level=None)
        listing = cls(connection, path, busy_timeout=busy_timeout)
        try:
            listing._prepare()
        except BaseException:
            connection.close()
            raise
        return listing

    def _prepare(self) -> None:
        for pragma in ("query_only = ON", "cell_size_check = ON", "trusted_schema = OFF"):
            self._execute(f"PRAGMA {pragma}")
        tables = self._execute_patiently(queries.TABLES)
        no_program([name for (name,) in self._execute_patiently(queries.PROGRAMS)], self._path)
        if ("alembic_version",) not in tables:
            raise no_catalog(self._path)
        found = self._execute_patiently(queries.REVISION)
        if not is_current(found[0][0] if found else "", self._path):
            raise CatalogError(f"{self._path} is of an earlier version; any command that changes the store upgrades it")

    def _execute_patiently(self, statement: str) -> list[Row]:
        """For a statement that may meet a writer's lock: every one outside of a transaction, and the first in one."""
        return retry_while_busy(partial(self._execute, statement), timeout=self._busy_timeout, where=self._path)

    def _execute(self, statement: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
        rows: list[Row] = self._connection.execute(statement, parameters or {}).fetchall()
        return rows
