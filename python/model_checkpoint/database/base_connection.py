"""Connections to a database: pooled, safe across threads and forks, with errors of ours."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from sqlalchemy import URL, Connection, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from model_checkpoint.database.sqlite import WRITES, sqlite_engine
from model_checkpoint.database.sqlite_errors import translate
from model_checkpoint.errors import CatalogBusyError, CatalogError, ConfigurationError
from model_checkpoint.monitoring.span import span
from model_checkpoint.utils.sqlite_version import sqlite_driver

__all__ = ["BaseDatabaseConnection"]

# Engines of a parent process. They are kept for ever: a forked child that closed their connections would undo or
# checkpoint what the parent is doing.
_inherited: list[Engine] = []


class BaseDatabaseConnection:
    """A database and the two kinds of transaction on it.

    Threads may share it: each transaction has a pooled connection of its own. A forked child may use it: it gets new
    connections. Transactions of one thread nest: a `read` inside a `write` sees what that wrote, and a `write` inside
    a `write` is a savepoint, so that several methods of a subclass become one transaction by a ``with`` around them.

    Example:
        >>> class Notes(BaseDatabaseConnection):
        ...     def add(self, text: str) -> None:
        ...         with self.write() as connection:
        ...             connection.execute(insert(notes).values(text=text))

    Attributes:
        location: The file, or the URL without its password; for messages.
    """

    def __init__(self, database: str | os.PathLike[str], *, busy_timeout: float = 30.0, pool_size: int = 5) -> None:
        """Prepare to connect; the first transaction does it.

        Args:
            database: A SQLite file, or the URL of another database.
            busy_timeout: Seconds to wait for locks of other processes, when a transaction begins and when it commits.
            pool_size: Connections to keep open; twice as many may be used at once.

        Raises:
            ConfigurationError: The URL makes no sense, or needs a driver that is not installed.
        """
        self._url = _url_of(os.fspath(database))
        self.location = str(self._url.database) if _is_sqlite(self._url) else self._url.render_as_string()
        self._busy_timeout = busy_timeout
        self._pool_size = pool_size
        self._connect_anew()

    @property
    def engine(self) -> Engine:
        """The engine of this process."""
        if self._pid != os.getpid():
            _inherited.append(self._engine)
            self._connect_anew()
        return self._engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one moment of the database.

        Raises:
            CatalogBusyError: A writer was in the way for longer than the time-out.
            CatalogDamagedError: The file is not a readable database.
            StorageError: The file system refused it.
            CatalogError: The database failed otherwise; the cause is chained.
        """
        outer = self._current()
        if outer is not None:
            yield outer.connection
        else:
            with self._transaction(writes=False) as connection:
                yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that excludes other writers from its first moment on.

        It is committed, and durable, when the block ends; an exception undoes all of it.

        Raises:
            CatalogError: As `read`; also if it is inside a `read` of the same thread, which it would wait for.
        """
        outer = self._current()
        if outer is None:
            with self._transaction(writes=True) as connection:
                yield connection
        elif outer.writes:
            with self._savepoint(outer.connection):
                yield outer.connection
        else:
            raise CatalogError("write() inside read() of the same thread would wait for itself")

    def close(self) -> None:
        """Close the pooled connections. A later transaction opens new ones."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect_anew(self) -> None:
        self._pid = os.getpid()
        self._local = threading.local()
        open_engine = sqlite_engine if _is_sqlite(self._url) else _server_engine
        self._engine = open_engine(self._url, busy_timeout=self._busy_timeout, pool_size=self._pool_size)

    def _current(self) -> _Current | None:
        """The transaction that this thread is in."""
        if self._pid != os.getpid():
            return None
        current: _Current | None = getattr(self._local, "current", None)
        return current

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        options = {WRITES: writes}
        with (
            span("catalog" if writes else "query"),
            self._translating(),
            self.engine.connect().execution_options(**options) as connection,
            connection.begin(),
        ):
            self._local.current = _Current(connection, writes)
            try:
                yield connection
            finally:
                self._local.current = None

    @contextmanager
    def _savepoint(self, connection: Connection) -> Iterator[None]:
        savepoint = connection.begin_nested()
        try:
            with self._translating():
                yield
                savepoint.commit()
        except BaseException as cause:
            try:
                savepoint.rollback()
            except DBAPIError:
                # A full disk, for one, makes SQLite undo the whole transaction. Nothing more may happen in it.
                connection.invalidate(cause)
            raise

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise translate(error.orig or error, self.location) from error
        except sqlite_driver().Error as error:
            raise translate(error, self.location) from error
        except PendingRollbackError as error:
            raise CatalogError(f"{self.location}: the transaction was undone by an earlier error") from error
        except PoolTimeoutError as error:
            raise CatalogBusyError(f"{self.location}: all connections of this process are in use") from error


@dataclass(frozen=True, slots=True)
class _Current:
    connection: Connection
    writes: bool


def _url_of(database: str) -> URL:
    """The URL itself, or that of a SQLite file."""
    if "://" not in database:
        return URL.create("sqlite+pysqlite", database=os.path.abspath(database))
    try:
        url = make_url(database)
    except ArgumentError as error:
        raise ConfigurationError("the database is neither a file nor a URL as SQLAlchemy reads them") from error
    if not _is_sqlite(url):
        return url
    if not url.database or url.database == ":memory:":
        raise ConfigurationError("a catalog in memory would end with its connection; name a file")
    return url.set(database=os.path.abspath(url.database))


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _server_engine(url: URL, *, busy_timeout: float, pool_size: int) -> Engine:
    try:
        return create_engine(url, pool_size=pool_size, pool_timeout=busy_timeout, pool_pre_ping=True)
    except (ArgumentError, ImportError) as error:  # NoSuchModuleError is an ArgumentError
        raise ConfigurationError(f"cannot connect to {url.render_as_string()}: {error}") from error
