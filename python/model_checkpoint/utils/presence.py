"""What is at a path, told apart from not being able to tell.

``os.path.exists`` and its kin answer False when the file system fails. Where a missing file means "nothing was said" or
"it is gone", that would make a hiccup of the disk a loss: what cannot be looked at is an error here.
"""

from __future__ import annotations

import os
import stat

from model_checkpoint.errors import StorageError

__all__ = ["is_directory", "is_present"]


def is_present(path: str) -> bool:
    """Whether there is anything at a path; a link is something, wherever it leads.

    Raises:
        StorageError: It cannot be told.
    """
    return _mode(path, follow=False) is not None


def is_directory(path: str | os.PathLike[str], *, follow: bool = True) -> bool:
    """Whether there is a directory at a path, or, with ``follow``, a link to one.

    Raises:
        StorageError: It cannot be told.
    """
    mode = _mode(path, follow=follow)
    return mode is not None and stat.S_ISDIR(mode)


def _mode(path: str | os.PathLike[str], *, follow: bool) -> int | None:
    try:
        return os.stat(path, follow_symlinks=follow).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # with a NUL in it, it is no path of anything
        return None
    except OSError as error:
        raise StorageError.from_os_error(error, "cannot look at", path=os.fspath(path)) from error
