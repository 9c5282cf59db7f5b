"""Waiting for other processes' locks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from model_checkpoint.database.sqlite_errors import is_busy
from model_checkpoint.errors import CatalogBusyError, CatalogDamagedError
from model_checkpoint.utils.sqlite_version import sqlite_driver

__all__ = ["SLICE", "retry_while_busy"]

SLICE = 0.01
"""Seconds that SQLite itself waits for a lock before this module's loop takes over. Short: SQLite cannot be interrupted
meanwhile, and looks ever more rarely whether the lock is gone.
"""

_PAUSE = 0.002  # some refusals come at once

T = TypeVar("T")


def retry_while_busy(operation: Callable[[], T], *, timeout: float, where: str) -> T:
    """Do ``operation`` until no lock is in its way.

    Args:
        operation: One statement that has no effect when it finds a lock.
        timeout: Seconds after which to give up.
        where: The database, for the message.

    Raises:
        CatalogBusyError: The time is up; the last refusal is chained.
        CatalogDamagedError: Its schema is damaged, and SQLite says so in words of that schema that are no text.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return operation()
        except UnicodeDecodeError as error:
            raise CatalogDamagedError(
                f"{where} is damaged (its schema is not UTF-8); `mckpt reindex` rebuilds it"
            ) from error
        except sqlite_driver().Error as error:
            if not is_busy(error):
                raise
            if time.monotonic() >= deadline:
                raise CatalogBusyError(f"{where} was locked by another process for {timeout:g} s") from error
        time.sleep(_PAUSE)
