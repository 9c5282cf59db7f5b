"""Errors of the operating system as errors of this package."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from model_checkpoint.errors import StorageError

__all__ = ["storage_errors"]


@contextlib.contextmanager
def storage_errors(message: str, path: str) -> Iterator[None]:
    """Turn every OSError of the block into a StorageError that says what was tried."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError.from_os_error(error, message, path=path) from error
