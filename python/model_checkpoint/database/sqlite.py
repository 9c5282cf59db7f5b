"""What is particular to SQLite: how a catalog file is opened so that several processes can trust it.

Journal mode. WAL with ``synchronous=FULL`` where the SQLite at hand is safe for several writers (see
`model_checkpoint.utils.sqlite_version`) and the file system is local; otherwise a rollback journal with
``synchronous=EXTRA``, which is as durable and safe, and lets readers wait while a commit is written. Never WAL on a
network file system: its shared memory does not reach other hosts.

Transactions. The driver is in autocommit mode and never begins by itself. A write begins with ``BEGIN IMMEDIATE``, so
that it takes its lock before it reads; a read takes its lock at once as well. So only the first and the last statement
of a transaction can meet another process's lock, and those two can be repeated.
"""

from __future__ import annotations

import functools
import sqlite3
import warnings
from dataclasses import dataclass
from functools import partial
from typing import cast

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from model_checkpoint.database.busy import SLICE, retry_while_busy
from model_checkpoint.database.catalog_files import check_files
from model_checkpoint.database.sqlite_errors import is_busy
from model_checkpoint.errors import CatalogError, DurabilityWarning
from model_checkpoint.utils.filesystem import file_system_of
from model_checkpoint.utils.sqlite_version import is_wal_safe, sqlite_driver

__all__ = ["WRITES", "JournalPolicy", "journal_policy", "sqlite_engine"]

WRITES = "mckpt_writes"
"""Execution option of a connection whose next transaction writes."""


@dataclass(frozen=True, slots=True)
class JournalPolicy:
    """Attributes:
    journal_mode: As ``PRAGMA journal_mode`` spells it.
    synchronous: As ``PRAGMA synchronous`` spells it.
    """

    journal_mode: str
    synchronous: str


WAL = JournalPolicy("wal", "FULL")
ROLLBACK = JournalPolicy("truncate", "EXTRA")


def journal_policy(path: str, version: tuple[int, ...]) -> JournalPolicy:
    """How a catalog at ``path`` is to be written by a SQLite of this version.

    Warns:
        DurabilityWarning: It is on a network file system; once for each path and process.
    """
    file_system = file_system_of(path)
    if file_system.is_network:
        _warn_once(
            f"{path} is on a network file system ({file_system.kind}), whose locks may not hold: let one host write"
        )
    return WAL if is_wal_safe(version) and not file_system.is_network else ROLLBACK


def sqlite_engine(url: URL, *, busy_timeout: float, pool_size: int) -> Engine:
    """An engine for the catalog file that ``url`` names.

    A transaction waits at most ``busy_timeout`` seconds for a lock when it begins, and again when it commits.
    """
    driver = sqlite_driver()
    engine = create_engine(
        url,
        module=driver,
        connect_args={"isolation_level": None, "timeout": SLICE, "check_same_thread": False},
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=busy_timeout,
    )
    path = str(url.database)
    wait = _Wait(busy_timeout, path)
    policy = journal_policy(path, driver.sqlite_version_info)
    if path not in ("", ":memory:", "None"):
        event.listen(engine, "do_connect", lambda *_: check_files(path))
    event.listen(engine, "connect", partial(_on_connect, policy, wait))
    event.listen(engine, "begin", partial(_on_begin, wait))
    event.listen(engine, "commit", partial(_on_commit, wait))
    return engine


@dataclass(frozen=True, slots=True)
class _Wait:
    timeout: float
    path: str

    def execute(self, connection: sqlite3.Connection, statement: str) -> object:
        """Run a statement as soon as no lock is in its way; the first column of its first row, or None."""
        row = retry_while_busy(lambda: connection.execute(statement).fetchone(), timeout=self.timeout, where=self.path)
        return None if row is None else row[0]


def _on_connect(policy: JournalPolicy, wait: _Wait, connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    for pragma in (
        "foreign_keys = ON",
        "trusted_schema = OFF",  # a forged catalog runs nothing
        "cell_size_check = ON",  # damage is found before it is followed
        "cache_spill = OFF",  # no lock is needed in the middle of a transaction
    ):
        connection.execute(f"PRAGMA {pragma}")
    mode = _set_journal_mode(policy, wait, connection)
    synchronous = WAL.synchronous if mode == WAL.journal_mode else ROLLBACK.synchronous
    connection.execute(f"PRAGMA synchronous = {synchronous}")


def _set_journal_mode(policy: JournalPolicy, wait: _Wait, connection: sqlite3.Connection) -> object:
    """Change the mode if need be, and return the one in force."""
    mode = wait.execute(connection, "PRAGMA journal_mode")
    if mode == policy.journal_mode:
        return mode
    if mode != WAL.journal_mode and policy != WAL:  # concerns this connection only: it cannot be refused
        return wait.execute(connection, f"PRAGMA journal_mode = {policy.journal_mode}")
    mode = _convert(policy, connection, mode)
    if mode == WAL.journal_mode and policy != WAL:
        _warn_once(
            f"{wait.path} is in WAL mode and in use, so it stays so; WAL is not safe here (SQLite "
            f"{sqlite_driver().sqlite_version}, network file systems). Close the other processes and open it again"
        )
    return mode


def _convert(policy: JournalPolicy, connection: sqlite3.Connection, mode: object) -> object:
    """Turn the file from or to WAL; it stays as it is while others use it, or where it cannot be written."""
    try:
        return connection.execute(f"PRAGMA journal_mode = {policy.journal_mode}").fetchone()[0]
    except sqlite_driver().OperationalError as error:
        if is_busy(error) or error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}:
            return mode
        raise


def _on_begin(wait: _Wait, connection: Connection) -> None:
    driver_connection = _driver_connection(connection)
    if connection.get_execution_options().get(WRITES):
        wait.execute(driver_connection, "BEGIN IMMEDIATE")
    else:
        driver_connection.execute("BEGIN")
        wait.execute(driver_connection, "SELECT 1 FROM sqlite_master")


def _on_commit(wait: _Wait, connection: Connection) -> None:
    """Commit. The driver's own commit then finds nothing to do.

    Raises:
        CatalogError: SQLite has undone the transaction by itself, and the error that said so was swallowed.
    """
    driver_connection = _driver_connection(connection)
    if not driver_connection.in_transaction:
        raise CatalogError(f"{wait.path}: the transaction was undone by an earlier error")
    wait.execute(driver_connection, "COMMIT")


def _driver_connection(connection: Connection) -> sqlite3.Connection:
    return cast("sqlite3.Connection", connection.connection.driver_connection)


@functools.cache
def _warn_once(message: str) -> None:
    warnings.warn(message, DurabilityWarning, stacklevel=3)
