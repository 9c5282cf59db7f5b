"""What SQLite's errors mean here. Knows only DB-API modules, so that listing needs no SQLAlchemy."""

from __future__ import annotations

import errno
import os
import sqlite3

from model_checkpoint.errors import (
    CatalogBusyError,
    CatalogDamagedError,
    CatalogError,
    CheckpointError,
    DiskFullError,
    StorageError,
)

__all__ = ["is_busy", "needs_recovery", "translate"]

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NEEDS_RECOVERY = frozenset(
    {
        sqlite3.SQLITE_READONLY_ROLLBACK,
        sqlite3.SQLITE_READONLY_RECOVERY,
        sqlite3.SQLITE_READONLY_CANTINIT,
        sqlite3.SQLITE_READONLY_CANTLOCK,
    }
)
_STORAGE = {
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_AUTH: errno.EACCES,
    sqlite3.SQLITE_CANTOPEN: None,
    sqlite3.SQLITE_IOERR: errno.EIO,
}


def _primary_code(error: BaseException) -> int | None:
    """SQLite's result code without its extension, or None if SQLite did not raise the error."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def is_busy(error: BaseException) -> bool:
    """Whether another connection's lock is in the way, so that waiting helps."""
    return _primary_code(error) in _BUSY


def translate(error: BaseException, where: str) -> CheckpointError:
    """The exception of ours for an error of a DB-API module about the database at ``where``."""
    code = _primary_code(error)
    if code in _BUSY:
        return CatalogBusyError(f"{where} is locked by another process: {error}")
    if code in _DAMAGED or os.path.isdir(where):
        reason = "it is a directory" if os.path.isdir(where) else str(error)
        return CatalogDamagedError(f"{where} is damaged ({reason}); `mckpt reindex` rebuilds it from the manifests")
    if code == sqlite3.SQLITE_FULL:
        return DiskFullError(f"cannot write the catalog: {error}", path=where, errno=errno.ENOSPC)
    if code in _STORAGE:
        return StorageError(f"cannot use the catalog: {error}", path=where, errno=_STORAGE[code])
    return CatalogError(f"{where}: {error}")


def needs_recovery(error: BaseException) -> bool:
    """Whether a killed writer left something to undo, which a read-only connection cannot do."""
    return getattr(error, "sqlite_errorcode", None) in _NEEDS_RECOVERY
