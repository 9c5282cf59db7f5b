"""Marks on checkpoints that somebody reads: a shared lock on the manifest, which dies with its process.

A cleanup asks for the lock alone and leaves the checkpoint be if it is refused. The lock is a courtesy: where a file
system has none, a reader that has opened its files keeps them, and what it has not opened yet is in the trash.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from model_checkpoint.errors import CheckpointInUseError, CheckpointNotFoundError, StorageError
from model_checkpoint.storage.names import MANIFEST_NAME
from model_checkpoint.utils import real_path
from model_checkpoint.utils.regular_file import RegularFile, open_regular

__all__ = ["is_in_use", "lease", "owned_alone"]

_PATIENCE_S = 5.0
_PAUSE_S = 0.01


def lease(manifest: RegularFile) -> None:
    """Mark the checkpoint of an open manifest as being read, until the file is closed.

    Raises:
        CheckpointNotFoundError: It was moved away while this waited for whoever moved it.
        StorageError: It cannot be told whether it was.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            fcntl.flock(manifest.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:  # somebody is moving it, which is a matter of milliseconds, or asks who reads it
            time.sleep(_PAUSE_S)
        except OSError:  # no locks here
            return
        else:
            break
    if not _is_at(manifest.path, manifest.fd):
        directory = os.path.dirname(manifest.path)
        raise CheckpointNotFoundError(f"{directory!r} has just been moved to the trash", ref=directory)


def is_in_use(directory: str) -> bool:
    """Whether a checkpoint is being read, as far as locks tell.

    Raises:
        FormatError: Its manifest is no regular file.
        StorageError: Its manifest cannot be opened.
    """
    try:
        with owned_alone(directory):
            return False
    except CheckpointInUseError:
        return True


@contextlib.contextmanager
def owned_alone(directory: str) -> Iterator[None]:
    """Hold a checkpoint while nobody reads it.

    Raises:
        CheckpointInUseError: Somebody does.
        FormatError: Its manifest is no regular file.
        StorageError: Its manifest cannot be opened.
    """
    manifest = open_regular(os.path.join(directory, MANIFEST_NAME), nofollow=True)
    with contextlib.ExitStack() as unlock:
        try:
            fcntl.flock(manifest.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unlock.callback(_unlock, manifest.fd)
        except BlockingIOError:
            raise CheckpointInUseError(f"{directory} is being read") from None
        except OSError:  # no locks here
            pass
        yield


def _unlock(fd: int) -> None:
    with contextlib.suppress(OSError):  # it ends with the descriptor
        fcntl.flock(fd, fcntl.LOCK_UN)


def _is_at(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(real_path.lstat(path), os.fstat(fd))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError.from_os_error(error, "cannot look at the manifest", path=path) from error
