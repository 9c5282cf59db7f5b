"""Which SQLite there is, and whether several processes may write to one WAL database with it.

SQLite 3.7.0 to 3.51.2 can damage a database in WAL mode when two connections write and checkpoint at the same
instant. 3.51.3 has the remedy; 3.50.7 and 3.44.6 have it as backports, and so have later patches of those two series.
Rollback journals are not affected.
"""

from __future__ import annotations

import functools
import importlib
import sqlite3
from types import ModuleType

__all__ = ["is_wal_safe", "sqlite_driver"]

_SAFE_FROM = (3, 51, 3)
_BACKPORTS = ((3, 50, 7), (3, 44, 6))


def is_wal_safe(version: tuple[int, ...]) -> bool:
    """Whether a SQLite of this version (``sqlite3.sqlite_version_info``) has the remedy."""
    return version >= _SAFE_FROM or any(version[:2] == fixed[:2] and version >= fixed for fixed in _BACKPORTS)


@functools.cache
def sqlite_driver() -> ModuleType:
    """The DB-API module to use: the standard library's, or ``pysqlite3`` where only that one brings a safe SQLite."""
    if is_wal_safe(sqlite3.sqlite_version_info):
        return sqlite3
    try:
        other = importlib.import_module("pysqlite3.dbapi2")
    except ImportError:
        return sqlite3
    return other if is_wal_safe(other.sqlite_version_info) else sqlite3
