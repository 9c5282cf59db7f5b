"""What is at a path, told apart from not being able to tell.

``os.path.exists`` and its kin answer False when the file system fails. Where a missing file means "nothing was said" or
"it is gone", that would make a hiccup of the disk a loss: what cannot be looked at is an error here.
"""

from __future__ import annotations

import os
import stat

from model_checkpoint.utils import real_path
from model_checkpoint.utils.storage_errors import storage_errors

__all__ = ["is_directory", "is_file", "is_present"]


def is_present(path: str) -> bool:
    """Whether there is anything at a path; a link is something, wherever it leads.

    Raises:
        StorageError: It cannot be told, or the path to it leads through a link.
    """
    return _mode(path, follow=False) is not None


def is_directory(path: str | os.PathLike[str], *, follow: bool = True) -> bool:
    """Whether there is a directory at a path, or, with ``follow``, something that leads to one through links.

    Raises:
        StorageError: It cannot be told, or the path to it leads through a link and ``follow`` is false.
    """
    mode = _mode(path, follow=follow)
    return mode is not None and stat.S_ISDIR(mode)


def is_file(path: str) -> bool:
    """Whether there is a regular file at a path that leads through no link.

    Raises:
        StorageError: It cannot be told, or the path to it leads through a link.
    """
    mode = _mode(path, follow=False)
    return mode is not None and stat.S_ISREG(mode)


def _mode(path: str | os.PathLike[str], *, follow: bool) -> int | None:
    text = os.fspath(path)
    with storage_errors("cannot look at", text):
        try:
            return (os.stat(text) if follow else real_path.lstat(text)).st_mode
        except (FileNotFoundError, NotADirectoryError, ValueError):  # with a NUL in it, it is no path of anything
            return None
