"""Deleted checkpoints, until they are deleted for good.

    1. Take the checkpoint alone, so that nobody reads it.
    2. Create ``.trash/<uuid>/`` with a ``trash.json`` that says where the checkpoint was; sync both.
    3. Rename the checkpoint into it. It disappears from its experiment whole, in one step: a removal file by file could
       be interrupted and leave half a checkpoint in sight.
    4. Sync the two directories that the rename has changed, its new one first.

Deleting for good renames the entry to ``<uuid>.deleting`` first, so that what an interruption leaves is never taken for
something that could be restored. ``trash.json`` goes last: it tells `recover` what else has to go.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from model_checkpoint import _native
from model_checkpoint.errors import (
    CheckpointExistsError,
    CheckpointInUseError,
    CheckpointNotFoundError,
    FormatError,
    IntegrityError,
    StorageError,
)
from model_checkpoint.storage.durable import (
    make_directories,
    read_small,
    remove_tree,
    sync_directory,
    write_new,
)
from model_checkpoint.storage.leases import owned_alone
from model_checkpoint.storage.names import MANIFEST_NAME, check_id, parse_checkpoint_path
from model_checkpoint.utils import real_path, strict_json
from model_checkpoint.utils.clock import format_rfc3339, parse_rfc3339, utc_now
from model_checkpoint.utils.presence import is_directory, is_present
from model_checkpoint.utils.storage_errors import storage_errors

__all__ = ["Remains", "Trash", "TrashEntry"]

_RECORD = "trash.json"
_LIMIT = 1024 * 1024
_DELETING = ".deleting"
_PATIENCE_S = 60 * 60
"""An entry without a checkpoint is of a deletion under way, or, after so long, of one that was interrupted."""


@dataclass(frozen=True, slots=True)
class TrashEntry:
    """A deleted checkpoint that can still be restored.

    Attributes:
        directory: Its entry in the trash.
        id: Its id.
        path: Where it was, relative to the store's root.
        trashed_at: When it was deleted.
        expires_at: From when on it may be deleted for good.
        reasons: Why it was deleted.
    """

    directory: str
    id: str
    path: str
    trashed_at: datetime
    expires_at: datetime
    reasons: tuple[str, ...]

    @property
    def checkpoint(self) -> str:
        """The checkpoint's directory, in the trash."""
        return os.path.join(self.directory, parse_checkpoint_path(self.path)[1])


class Remains(enum.Enum):
    """What is in the trash and cannot be restored."""

    INTERRUPTED = "interrupted"
    """A deletion for good is under way, or was interrupted; `Trash.recover` finishes it."""
    EMPTY = "empty"
    """An entry has been without a checkpoint for long; `Trash.recover` removes it."""
    UNRECORDED = "unrecorded"
    """Something lies there without a record that says what and whose; nobody touches it."""


class Trash:
    """The trash of one store.

    Args:
        root: The store.
        forget: Removes what was said of a checkpoint that is gone for good. May be called again after an interruption.
    """

    def __init__(self, root: str, forget: Callable[[TrashEntry], None]) -> None:
        self._root = root
        self._forget = forget
        self.directory = os.path.join(root, ".trash")

    def add(self, checkpoint_id: str, path: str, *, reasons: Sequence[str] = (), keep: timedelta) -> TrashEntry:
        """Move a checkpoint to the trash, durably.

        Args:
            checkpoint_id: Its id.
            path: Where it is, relative to the root.
            reasons: Why.
            keep: How long it can be restored.

        Raises:
            CheckpointInUseError: Somebody reads it.
            CheckpointNotFoundError: It is not there.
            StorageError: The file system failed.
        """
        experiment, name = parse_checkpoint_path(path)
        source = os.path.join(self._root, experiment, name)
        if not is_directory(source, follow=False):
            raise CheckpointNotFoundError(f"there is no checkpoint {path}", ref=path)
        now = utc_now()
        directory = os.path.join(self.directory, uuid.uuid4().hex)
        entry = TrashEntry(directory, check_id(checkpoint_id), path, now, now + keep, tuple(reasons))
        with _unless_moved(source, entry), owned_alone(source):  # 1
            self._create(entry)  # 2
            with storage_errors("cannot move the checkpoint to the trash", source):
                _native.rename_noreplace(source, entry.checkpoint)  # 3
        with _unless_purged():
            sync_directory(directory)  # 4
        sync_directory(os.path.dirname(source))
        return entry

    def _create(self, entry: TrashEntry) -> None:
        make_directories(entry.directory)
        record = {
            "id": entry.id,
            "path": entry.path,
            "trashed_at": format_rfc3339(entry.trashed_at),
            "expires_at": format_rfc3339(entry.expires_at),
            "reasons": list(entry.reasons),
        }
        write_new(os.path.join(entry.directory, _RECORD), strict_json.dump(record).encode("ascii") + b"\n")
        sync_directory(entry.directory)

    def restore(self, entry: TrashEntry) -> None:
        """Move a checkpoint back to where it was, durably.

        Raises:
            CheckpointExistsError: Its place is taken.
            CheckpointNotFoundError: It is not in the trash any more.
            StorageError: The file system failed.
        """
        target = os.path.join(self._root, *parse_checkpoint_path(entry.path))
        if not is_directory(entry.checkpoint, follow=False):
            raise CheckpointNotFoundError(f"{entry.path} is not in the trash", ref=entry.id)
        make_directories(os.path.dirname(target))
        try:
            with storage_errors("cannot restore the checkpoint", target):
                _native.rename_noreplace(entry.checkpoint, target)
        except OSError as error:
            is_waiting = is_present(entry.checkpoint)
            if is_waiting and is_present(target):
                raise CheckpointExistsError(f"{target} exists; checkpoints are never replaced") from error
            if is_waiting:
                raise
            if not is_present(target):
                raise CheckpointNotFoundError(f"{entry.path} is not in the trash any more", ref=entry.id) from error
            # It took place nevertheless: a network file system may apply a rename and then lose the answer.
        sync_directory(os.path.dirname(target))
        with _unless_purged():
            sync_directory(entry.directory)
        remove_tree(entry.directory)

    def entries(self) -> tuple[TrashEntry, ...]:
        """What can be restored, oldest deletion first. Entries whose record is damaged are left out and left alone.

        Raises:
            StorageError: One cannot be read, and may be all right.
        """
        found, failures = self._look_through()
        if failures:
            raise failures[0]
        return found

    def remains(self) -> tuple[tuple[str, Remains], ...]:
        """Directories in the trash that hold nothing to restore, except those of removals under way.

        Raises:
            StorageError: One cannot be read.
        """
        directories = [os.path.join(self.directory, name) for name in self._names()]
        return tuple((path, kind) for path in directories if (kind := _remains_of(path)) is not None)

    def _look_through(self) -> tuple[tuple[TrashEntry, ...], list[StorageError]]:
        """What can be restored, oldest deletion first, and why other entries cannot be read."""
        found, failures = [], []
        for name in self._names():
            if name.endswith(_DELETING):
                continue
            try:
                entry = _try_read(os.path.join(self.directory, name))
                if entry is not None and is_directory(entry.checkpoint, follow=False):
                    found.append(entry)
            except StorageError as error:
                failures.append(error)
        return tuple(sorted(found, key=lambda entry: entry.trashed_at)), failures

    def find(self, checkpoint_id: str) -> TrashEntry:
        """The entry of a checkpoint.

        Raises:
            CheckpointNotFoundError: It is not in the trash.
            StorageError: It may be there, but an entry cannot be read.
        """
        found, failures = self._look_through()
        for entry in found:
            if entry.id == checkpoint_id:
                return entry
        if failures:
            raise failures[0]
        raise CheckpointNotFoundError("it is not in the trash", ref=checkpoint_id)

    def purge(self, entry: TrashEntry) -> None:
        """Delete a checkpoint for good, and what was said of it.

        Raises:
            CheckpointInUseError: Somebody still reads it.
            CheckpointNotFoundError: Somebody else has just deleted or restored it.
            StorageError: The file system failed; `recover` finishes the work.
        """
        doomed = entry.directory + _DELETING
        try:
            with _unread(entry.checkpoint), storage_errors("cannot delete the checkpoint", entry.directory):
                real_path.rename(entry.directory, doomed)
        except StorageError as error:
            if is_present(entry.checkpoint):
                raise
            raise CheckpointNotFoundError(f"{entry.path} is not in the trash any more", ref=entry.id) from error
        if not self._finish(doomed):
            raise CheckpointNotFoundError(f"{entry.path} was restored just now", ref=entry.id)

    def purge_expired(self, now: datetime | None = None) -> tuple[TrashEntry, ...]:
        """Delete for good what has expired and nobody reads; returns it. What cannot be read now waits.

        What is no checkpoint any more, because its manifest is a link or a pipe, is left alone: it must not keep the
        store from being opened.
        """
        purged = []
        for entry in self._look_through()[0]:
            if entry.expires_at <= (now or utc_now()):
                with contextlib.suppress(CheckpointInUseError, CheckpointNotFoundError, FormatError):
                    self.purge(entry)
                    purged.append(entry)
        return tuple(purged)

    def recover(self) -> tuple[str, ...]:
        """Finish interrupted deletions; returns the directories that are gone. Safe at any time.

        Raises:
            StorageError: Something cannot be removed.
        """
        done = []
        for name in self._names():
            directory = os.path.join(self.directory, name)
            if name.endswith(_DELETING):
                self._finish(directory)
                done.append(directory)
            elif _is_abandoned(directory):
                remove_tree(directory)
                done.append(directory)
        return tuple(done)

    def _finish(self, doomed: str) -> bool:
        """Delete all that is left of an entry, its record last; whether that was a checkpoint, or part of one."""
        try:
            entry = _try_read(doomed)
        except StorageError:  # it may never be readable again, and shall not keep the store from being opened
            entry = None
        self._settle(doomed, entry)
        is_gone = entry is None or is_directory(entry.checkpoint, follow=False) or not self._is_elsewhere(entry)
        if entry is not None and is_gone:
            remove_tree(entry.checkpoint)
            if not is_present(os.path.join(self._root, entry.path)):  # else somebody has put a copy there
                self._forget(entry)
        remove_tree(doomed)
        return is_gone

    def _is_elsewhere(self, entry: TrashEntry) -> bool:
        """Whether somebody has restored a checkpoint from an entry just before it was to be deleted for good.

        It may be in the trash again by now, with all that was said of it.
        """
        if is_present(os.path.join(self._root, entry.path)):
            return True
        others, failures = self._look_through()
        return bool(failures) or any(other.id == entry.id for other in others)

    def settle(self) -> None:
        """Make durable what the trash holds: whoever moved it there, or out of it, may have been killed before.

        Raises:
            StorageError: The file system failed.
        """
        for name in self._names():
            directory = os.path.join(self.directory, name)
            if is_directory(directory, follow=False):
                with _unless_purged():
                    sync_directory(directory)

    def _settle(self, doomed: str, entry: TrashEntry | None) -> None:
        """Make durable what has brought a checkpoint here, or a power cut could bring it back without its files.

        Whoever moved it to the trash, or marked it, may have been killed before.
        """
        sync_directory(self.directory)  # the mark
        if is_directory(doomed, follow=False):  # a link has brought nothing here
            with _unless_purged():
                sync_directory(doomed)
        if entry is not None and is_directory(
            origin := os.path.join(self._root, os.path.dirname(entry.path)), follow=False
        ):
            sync_directory(origin)

    def _names(self) -> list[str]:
        with storage_errors("cannot list the trash", self.directory):
            try:
                return real_path.names(self.directory)
            except FileNotFoundError:
                return []


@contextlib.contextmanager
def _unless_moved(source: str, entry: TrashEntry) -> Iterator[None]:
    """Another process may move the checkpoint to the trash after it was looked for and before it is owned alone."""
    try:
        yield
    except StorageError as error:
        if error.errno != errno.ENOENT or is_present(source):
            raise
        remove_tree(entry.directory)
        raise CheckpointNotFoundError(f"there is no checkpoint {entry.path} any more", ref=entry.path) from error


@contextlib.contextmanager
def _unless_purged() -> Iterator[None]:
    """An entry that has expired as soon as it is there may be gone again: another process empties the trash, too."""
    try:
        yield
    except StorageError as error:
        if error.errno != errno.ENOENT:
            raise


def _unread(directory: str) -> contextlib.AbstractContextManager[None]:
    """`owned_alone`; a checkpoint that has lost its manifest is read by nobody."""
    if is_present(os.path.join(directory, MANIFEST_NAME)):
        return owned_alone(directory)
    return contextlib.nullcontext()


def _remains_of(directory: str) -> Remains | None:
    if directory.endswith(_DELETING):
        return Remains.INTERRUPTED
    if _is_abandoned(directory):
        return Remains.EMPTY
    return Remains.UNRECORDED if _try_read(directory) is None and _has_directory(directory) else None


def _has_directory(directory: str) -> bool:
    with storage_errors("cannot list", directory), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return any(is_directory for _, is_directory in real_path.entries(directory))
    return False


def _is_abandoned(directory: str) -> bool:
    """Whether an entry has lost or never got its checkpoint, for long."""
    try:
        if any(is_directory for _, is_directory in real_path.entries(directory)):
            return False
        return time.time() - real_path.lstat(directory).st_mtime > _PATIENCE_S
    except OSError:
        return False


def _try_read(directory: str) -> TrashEntry | None:
    """The entry, or None if it has no record that could be trusted.

    Raises:
        StorageError: It cannot be read.
    """
    path = os.path.join(directory, _RECORD)
    try:
        return _decode(strict_json.parse(read_small(path, limit=_LIMIT), path=path), directory, path)
    except IntegrityError:
        return None
    except StorageError as error:
        if error.errno not in {errno.ENOENT, errno.ENOTDIR}:
            raise
        return None  # it has none yet, or none any more


def _decode(members: Any, directory: str, path: str) -> TrashEntry:
    try:
        parse_checkpoint_path(members["path"])
        reasons = members["reasons"]
        if type(reasons) is not list or not all(type(reason) is str for reason in reasons):
            raise TypeError("not a list of texts")
        return TrashEntry(
            directory=directory,
            id=check_id(members["id"]),
            path=members["path"],
            trashed_at=parse_rfc3339(members["trashed_at"]),
            expires_at=parse_rfc3339(members["expires_at"]),
            reasons=tuple(reasons),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"not a record of the trash: {error}", path=path, rule="trash") from None
