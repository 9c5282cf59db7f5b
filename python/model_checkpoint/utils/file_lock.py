"""Locks of open files, which end with the descriptor: nobody has to tidy up after a process that died."""

from __future__ import annotations

import fcntl

__all__ = ["try_lock"]


def try_lock(fd: int) -> bool:
    """Lock an open file or directory, so that no other descriptor can; false if one has it.

    Where the file system has no locks, everybody is told that it has one: who calls this relies on something else, too.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
