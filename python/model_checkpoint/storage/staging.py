"""Directories in which checkpoints are written before they appear, and who is writing them.

Names are random, so that no two writers ever share a directory: correctness needs no lock. Locks only tell the
leftovers of dead writers from the work of live ones, so that somebody can remove the former. A writer is alive while
it holds a lock on ``<uuid>.owner``. Where locks do nothing, the process and the boot named in that file decide; on a
network file system, the owner of another host counts as alive for a day.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import json
import os
import stat
import time
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from model_checkpoint import _native
from model_checkpoint.errors import DurabilityWarning, StorageError
from model_checkpoint.storage.durable import make_directories, remove_tree, sync_directory
from model_checkpoint.storage.manifest import Durability
from model_checkpoint.utils import real_path
from model_checkpoint.utils.file_lock import try_lock
from model_checkpoint.utils.filesystem import file_system_of
from model_checkpoint.utils.presence import is_present
from model_checkpoint.utils.regular_file import write_fully
from model_checkpoint.utils.storage_errors import storage_errors

__all__ = ["Occupant", "Staging", "StagingArea"]

_OWNER = ".owner"
_PATIENCE_S = 24 * 60 * 60
_ATTEMPTS = 16


@dataclass(frozen=True, slots=True)
class Staging:
    """A directory of one live writer.

    Attributes:
        path: Where it is.
        owner: The file that marks it as in use, locked through ``owner_fd``.
        owner_fd: Open until `release`.
    """

    path: str
    owner: str
    owner_fd: int

    def release(self) -> None:
        """The directory has been renamed away. What cannot be removed now is left to `StagingArea.reclaim`."""
        with contextlib.suppress(OSError):
            real_path.unlink(self.owner)
        with contextlib.suppress(OSError):  # the lock is gone, whatever it says
            os.close(self.owner_fd)

    def abandon(self) -> None:
        """Remove the directory. What cannot be removed now is left to `StagingArea.reclaim`."""
        with contextlib.suppress(OSError):
            remove_tree(self.path)
            real_path.unlink(self.owner)
        with contextlib.suppress(OSError):
            os.close(self.owner_fd)


@dataclass(frozen=True, slots=True)
class Occupant:
    """A directory in the staging area.

    Attributes:
        path: Where it is.
        is_alive: Whether its owner may still be writing; else `StagingArea.reclaim` removes it.
        since: When something in it was last created or renamed (UTC).
    """

    path: str
    is_alive: bool
    since: datetime


class StagingArea:
    """The place for staging directories of one file system.

    Args:
        directory: Created when first needed.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory

    @functools.cached_property
    def durability(self) -> Durability:
        """What this file system grants, found out by trying.

        Raises:
            StorageError: Directories cannot be created or synced here.
        """
        staging = self.create()  # which has an owner: what has none is reclaimed at any moment
        try:
            probe = os.path.join(staging.path, "probe")
            with storage_errors("cannot write here", self.directory):
                real_path.mkdir(probe, 0o700)
                noreplace = _native.rename_noreplace(probe, probe + "d")
        finally:
            staging.abandon()
        granted = Durability(synced=sync_directory(self.directory), noreplace=noreplace)
        if granted != Durability():
            kind = file_system_of(self.directory).kind
            lacks = "sync directories" if not granted.synced else "rename without replacing, atomically"
            message = f"{self.directory}: this file system ({kind}) cannot {lacks}; manifests will record it"
            warnings.warn(message, DurabilityWarning, stacklevel=2)
        return granted

    def create(self) -> Staging:
        """A new, empty directory that only this user can enter.

        Raises:
            StorageError: It cannot be created.
        """
        with storage_errors("cannot create a staging directory", self.directory):
            for _ in range(_ATTEMPTS):
                make_directories(self.directory)
                with contextlib.suppress(FileNotFoundError):  # the area was empty, and somebody tidied it away
                    staging = self._try_create(os.path.join(self.directory, uuid.uuid4().hex))
                    if staging is not None:
                        return staging
        raise StorageError("staging directories vanish while they are created", path=self.directory)

    def _try_create(self, path: str) -> Staging | None:
        owner = path + _OWNER
        fd = real_path.open_file(owner, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            locked = try_lock(fd)
            write_fully(fd, _self_description(), 0, owner)
            # `reclaim` may have seen the file before it was locked, and removed it.
            if locked and is_present(owner):
                real_path.mkdir(path, 0o700)
                return Staging(path, owner, fd)
        except BaseException:
            Staging(path, owner, fd).abandon()
            raise
        with contextlib.suppress(OSError):  # nothing is lost with it
            os.close(fd)
        return None

    def reclaim(self) -> tuple[str, ...]:
        """Remove what dead writers left; returns the directories. Safe at any time, from any number of processes.

        Raises:
            StorageError: The area cannot be read, or something cannot be removed.
        """
        return tuple(path for stem in self._stems() if (path := self._reclaim(stem)) is not None)

    def occupants(self) -> tuple[Occupant, ...]:
        """What is there, of the living and of the dead; nothing is changed.

        Raises:
            StorageError: The area cannot be read, or it cannot be told whether an owner lives.
        """
        return tuple(occupant for path in self._stems() for occupant in _look_at(path))

    def _stems(self) -> list[str]:
        """Paths of directories that are there, or of which there is an owner's file."""
        with storage_errors("cannot list", self.directory):
            try:
                names = real_path.names(self.directory)
            except FileNotFoundError:
                return []
        return [os.path.join(self.directory, stem) for stem in sorted({name.removesuffix(_OWNER) for name in names})]

    def _reclaim(self, path: str) -> str | None:
        """Remove one directory if its owner is dead: an owner's file exists before its directory, and longer."""
        owner = path + _OWNER
        with storage_errors("cannot reclaim", path), _opened(owner) as fd:
            if fd is not None and _is_alive(fd, owner):
                return None
            existed = is_present(path)
            remove_tree(path)
            with contextlib.suppress(FileNotFoundError):
                real_path.unlink(owner)
            return path if existed else None

    def tidy(self) -> None:
        """Remove the area itself if nothing is in it."""
        with contextlib.suppress(OSError):
            real_path.rmdir(self.directory)


def _look_at(path: str) -> Iterator[Occupant]:
    """The directory at a path, if there is one."""
    owner = path + _OWNER
    with storage_errors("cannot look at", path), contextlib.suppress(FileNotFoundError), _opened(owner) as fd:
        is_alive = fd is not None and _is_alive(fd, owner)
        since = datetime.fromtimestamp(real_path.lstat(path).st_mtime, UTC)
        yield Occupant(path, is_alive, since)


@contextlib.contextmanager
def _opened(owner: str) -> Iterator[int | None]:
    """The descriptor of an owner's file, or None if there is none.

    Raises:
        OSError: What has its name cannot be opened, or is no regular file.
    """
    try:
        fd = real_path.open_file(owner, os.O_RDWR | os.O_NONBLOCK)
    except FileNotFoundError:
        yield None
        return
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", owner)
        yield fd
    finally:
        with contextlib.suppress(OSError):  # nothing was written to it
            os.close(fd)


def _is_alive(fd: int, owner: str) -> bool:
    """Whether the owner of a staging directory may still be writing; without locks, by the process that it names."""
    if not try_lock(fd):
        return True
    pid, started, boot = _read_description(fd)
    if boot != _boot_id():
        age = time.time() - os.fstat(fd).st_mtime
        return file_system_of(owner).is_network and age < _PATIENCE_S
    return not _locks_work(owner) and started is not None and _started(pid) == started


def _locks_work(owner: str) -> bool:
    """Whether a second descriptor is refused the lock that the caller holds."""
    with _opened(owner) as fd:
        if fd is None:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


def _self_description() -> bytes:
    pid = os.getpid()
    return json.dumps({"pid": pid, "started": _started(pid), "boot": _boot_id()}).encode() + b"\n"


def _read_description(fd: int) -> tuple[int, str | None, str]:
    """Process, its start and its boot; an unreadable file belongs to no process."""
    try:
        members = json.loads(os.pread(fd, 4096, 0).decode())  # bytes could choose an encoding, which is a module
        return int(members["pid"]), members["started"], str(members["boot"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 0, None, _boot_id()


def _started(pid: int) -> str | None:
    """When a process started, in ticks since boot, so that a reused number is told apart; None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return None


@functools.cache
def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown"
