"""The files of a catalog, before SQLite opens them: it follows links, waits for pipes, and writes in place."""

from __future__ import annotations

import os
import stat

from model_checkpoint.errors import CatalogError
from model_checkpoint.utils.storage_errors import storage_errors

__all__ = ["FILES", "check_files"]

FILES = ("-journal", "-wal", "-shm", "")
"""What SQLite appends to a catalog's name. The main file comes last."""


def check_files(path: str) -> None:
    """Return if SQLite reads and writes nothing but these files.

    A directory passes: SQLite reports one, and it is set aside like a damaged catalog.

    Args:
        path: The catalog; neither it nor its journals need exist.

    Raises:
        CatalogError: One of them is a link, pipe or device; or it has a second name, under which SQLite would not find
            its journal, and with which another file would change.
        StorageError: One cannot be looked at.
    """
    place = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    for suffix in FILES:
        with storage_errors("cannot look at the catalog", place + suffix):
            try:
                status = os.lstat(place + suffix)
            except FileNotFoundError:
                continue
        if stat.S_ISDIR(status.st_mode):
            continue
        if not stat.S_ISREG(status.st_mode):
            raise CatalogError(f"{place + suffix} is no regular file but a link, a pipe or a device; move it away")
        if status.st_nlink > 1:
            raise CatalogError(f"{place + suffix} has another name (a hard link); put a copy in its place")
