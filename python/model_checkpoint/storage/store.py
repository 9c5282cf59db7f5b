"""A root of experiments on one file system: docs/format.md, section 4.

Names and paths that come from outside are checked before they touch the file system, and nothing below the root is
reached through a symbolic link: not even by whoever puts one in a directory's place while we look (`utils.real_path`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from model_checkpoint.errors import CheckpointNotFoundError, IntegrityError, StorageError
from model_checkpoint.storage.annotations import (
    Annotation,
    read_annotation,
    remove_annotation,
    update_annotation,
    without_alias,
)
from model_checkpoint.storage.commit import CommitLog, Draft, commit
from model_checkpoint.storage.contents import Contents
from model_checkpoint.storage.durable import make_directories, sync_directory
from model_checkpoint.storage.experiments import read_experiment, write_experiment
from model_checkpoint.storage.leases import is_in_use
from model_checkpoint.storage.names import (
    MANIFEST_NAME,
    METRICS_NAME,
    check_experiment,
    checkpoint_name,
    is_id,
    is_in_trash,
    parse_checkpoint_name,
    parse_checkpoint_path,
)
from model_checkpoint.storage.scan import ANNOTATIONS, Quarantined, StoreScan, open_at, scan_store
from model_checkpoint.storage.staging import StagingArea
from model_checkpoint.storage.trash import Trash, TrashEntry
from model_checkpoint.types import CheckpointInfo, ExperimentInfo
from model_checkpoint.utils import real_path
from model_checkpoint.utils.presence import is_directory, is_present
from model_checkpoint.utils.storage_errors import storage_errors

__all__ = ["TRASH_DAYS", "RecoveryReport", "Store"]

TRASH_DAYS = 7
"""How long a deleted checkpoint can be restored, unless its deletion says otherwise."""

_TEMPORARY = ".mckpt-"
_PATIENCE_S = 60 * 60


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What an unclean end had left.

    Attributes:
        reclaimed: Staging directories of dead writers; removed.
        finished: Deletions that were interrupted; finished.
        quarantined: What looks like a checkpoint and has no manifest; left alone.
    """

    reclaimed: tuple[str, ...]
    finished: tuple[str, ...]
    quarantined: tuple[Quarantined, ...]


class Store:
    """The directories of a store.

    Args:
        root: Where it is.
        create: Whether to create it if there is none. Without, nothing is written by opening it.

    Raises:
        CheckpointNotFoundError: There is none, and ``create`` is false.
        StorageError: It cannot be created, is no directory, or parts of it lie on another file system.
    """

    def __init__(self, root: str | os.PathLike[str], *, create: bool = True) -> None:
        self.root = os.path.realpath(root)
        if create:
            make_directories(self.root)
            self._settle_root()
        elif not is_directory(self.root):
            raise CheckpointNotFoundError(f"there is no directory {self.root!r}", ref=self.root)
        self.staging = StagingArea(os.path.join(self.root, ".staging"))
        self.trash = Trash(self.root, self._forget)
        for directory in (self.staging.directory, self.trash.directory):
            self._check_inside(directory)

    def __repr__(self) -> str:
        return f"Store({self.root!r})"

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def commit(self, draft: Draft, *, log: CommitLog | None = None, strict: bool = False) -> CheckpointInfo:
        """Write a checkpoint into the store: `storage.commit.commit`, which says what it raises."""
        path = f"{check_experiment(draft.experiment)}/{checkpoint_name(draft.step, draft.id)}"
        self._check_inside(os.path.join(self.root, draft.experiment))
        target = os.path.join(self.root, path)
        return commit(draft, area=self.staging, target=target, recorded_path=path, log=log, strict=strict).info(path)

    def directory(self, info: CheckpointInfo) -> str:
        """The directory of a checkpoint, wherever it is.

        Raises:
            CheckpointNotFoundError: It is not there.
            ConfigurationError: Its path is not one of a checkpoint in a store.
        """
        if not is_in_trash(info.path):
            directory = os.path.join(self.root, *parse_checkpoint_path(info.path))
        else:
            directory = self.trash.find(info.id).checkpoint
        if not is_directory(directory, follow=False):
            raise CheckpointNotFoundError(f"there is no checkpoint {info.path}", ref=info.ref)
        return directory

    def open(self, info: CheckpointInfo) -> Contents:
        """Open a checkpoint for reading; while it is open, nobody moves it to the trash.

        Raises:
            CheckpointNotFoundError: It is not there.
            IntegrityError: Its manifest is damaged, or is that of another checkpoint.
            StorageError: It cannot be read.
        """
        directory = self.directory(info)
        path = os.path.relpath(directory, self.root)
        origin = None if path == info.path and not is_in_trash(path) else self.trash.find(info.id).path
        return open_at(self.root, path, origin)

    def is_in_use(self, info: CheckpointInfo) -> bool:
        """Whether somebody reads a checkpoint, as far as locks tell.

        Raises:
            CheckpointNotFoundError: It is not there.
            FormatError: It has no manifest that could be locked.
        """
        return is_in_use(self.directory(info))

    def scan(self) -> StoreScan:
        """All that is in the store, from its files alone; see `scan_store`."""
        return scan_store(self.root, self.trash)

    def settle(self, experiment: str) -> None:
        """Make the names of an experiment's checkpoints durable, and of what was said of them.

        Whoever finds a checkpoint does not know whether the one who committed it lived, or could, to do so; and nothing
        older may be removed in favour of a checkpoint that a power cut could still take back.

        Raises:
            StorageError: The file system failed.
        """
        sync_directory(self._experiment(experiment))
        for directory in (self._annotations(experiment), self.staging.directory):
            if is_directory(directory, follow=False):
                sync_directory(directory)
        self.trash.settle()  # checkpoints come from there, too: a rename is durable when both of its ends are

    # --- deletion -----------------------------------------------------------------------------------------------------

    def delete(
        self, info: CheckpointInfo, *, reasons: Sequence[str] = (), keep: timedelta = timedelta(days=TRASH_DAYS)
    ) -> TrashEntry:
        """Move a checkpoint to the trash; `Trash.add` says what it raises."""
        return self.trash.add(info.id, info.path, reasons=reasons, keep=keep)

    def restore(self, checkpoint_id: str) -> CheckpointInfo:
        """Move a checkpoint from the trash back to where it was.

        Raises:
            CheckpointNotFoundError: It is not in the trash.
            CheckpointExistsError: Its place is taken.
            IntegrityError: Its manifest is damaged; it is back, and not to be trusted.
            StorageError: The file system failed.
        """
        entry = self.trash.find(checkpoint_id)
        self.trash.restore(entry)
        return open_at(self.root, entry.path).manifest.info(entry.path)

    def purge_expired(self) -> tuple[TrashEntry, ...]:
        """Delete for good what has been in the trash for long enough, and what was said of it.

        Raises:
            StorageError: The file system failed.
        """
        return self.trash.purge_expired()

    def _forget(self, entry: TrashEntry) -> None:
        directory = self._annotations(parse_checkpoint_path(entry.path)[0])
        remove_annotation(directory, entry.id)
        if is_directory(directory, follow=False):
            sync_directory(directory)  # the record in the trash, which tells what is to be forgotten, goes next

    # --- what is said of checkpoints and experiments ------------------------------------------------------------------

    def annotated(self, experiment: str) -> set[str]:
        """The ids of which something was said."""
        names = (name.removesuffix(".json") for name in _names(self._annotations(experiment)))
        return {name for name in names if is_id(name)}

    def annotation(self, info: CheckpointInfo) -> Annotation:
        """What was said of a checkpoint; `read_annotation` says what it raises."""
        return read_annotation(self._annotations(info.experiment), info.id)

    def annotate(self, info: CheckpointInfo, change: Callable[[Annotation], Annotation]) -> Annotation:
        """Change what is said of a checkpoint, durably; `update_annotation` says what it raises."""
        return update_annotation(self._annotations(info.experiment), info.id, change)

    def withdraw_alias(self, experiment: str, alias: str) -> None:
        """Take a name from every checkpoint that claims it, durably: its owner, and those from which an interrupted
        process was about to take it. These go first, oldest claim first: as long as the owner has it, nobody else gets
        it back meanwhile. Claims that are made meanwhile stay.

        Raises:
            StorageError: The file system failed.
        """
        directory = self._annotations(experiment)
        for checkpoint_id, claim in sorted(self._claims(experiment, alias), key=lambda claim: claim[1]):
            with contextlib.suppress(IntegrityError):  # somebody has damaged it just now: it says nothing
                update_annotation(directory, checkpoint_id, partial(_without_claim, alias=alias, claim=claim))

    def _claims(self, experiment: str, alias: str) -> Iterator[tuple[str, datetime]]:
        """The ids of the checkpoints that claim a name, and since when."""
        for checkpoint_id in self.annotated(experiment):
            with contextlib.suppress(IntegrityError):  # one that says nothing
                said = read_annotation(self._annotations(experiment), checkpoint_id)
                if alias in said.aliases:
                    yield checkpoint_id, said.aliases[alias]

    def read_experiment(self, name: str) -> ExperimentInfo | None:
        """The settings of an experiment, if it has any; `experiments.read_experiment` says what it raises."""
        return read_experiment(self._experiment(name))

    def write_experiment(self, info: ExperimentInfo) -> None:
        """Replace the settings of an experiment, durably; `experiments.write_experiment` says what it raises."""
        directory = self._experiment(info.name)
        make_directories(directory)
        write_experiment(directory, info)

    # --- recovery -----------------------------------------------------------------------------------------------------

    def recover(self) -> RecoveryReport:
        """Tidy up after processes that died. Safe at any time, from any number of processes; may itself be killed.

        Checkpoints are neither changed nor removed. What the catalog lacks is found by `scan`.

        Raises:
            StorageError: The file system failed.
        """
        self._remove_temporaries()
        return RecoveryReport(
            reclaimed=self.staging.reclaim(), finished=self.trash.recover(), quarantined=tuple(self._without_manifest())
        )

    def _without_manifest(self) -> list[Quarantined]:
        return [
            Quarantined(f"{experiment}/{name}", "it has no manifest")
            for experiment in self._experiment_names()
            for name in _names(os.path.join(self.root, experiment))
            if parse_checkpoint_name(name) is not None and _has_no_manifest(os.path.join(self.root, experiment, name))
        ]

    def _remove_temporaries(self) -> None:
        """Remove what interrupted replacements of settings and annotations have left."""
        for experiment in self._experiment_names():
            home = os.path.join(self.root, experiment)
            for directory in (home, self._annotations(experiment), os.path.join(home, METRICS_NAME)):
                for name in _names(directory):
                    path = os.path.join(directory, name)
                    if name.startswith(_TEMPORARY) and name.endswith(".tmp") and _is_old(path):
                        with storage_errors("cannot remove", path), contextlib.suppress(FileNotFoundError):
                            real_path.unlink(path)

    def _experiment_names(self) -> list[str]:
        return [
            name
            for name in _names(self.root)
            if not name.startswith(".") and is_directory(os.path.join(self.root, name), follow=False)
        ]

    # --- paths --------------------------------------------------------------------------------------------------------

    def _settle_root(self) -> None:
        """Make the root's own name durable: a process that was killed after it had created it may not have done so."""
        try:
            sync_directory(os.path.dirname(self.root))
        except StorageError as error:
            if error.errno not in {errno.EACCES, errno.EPERM}:  # it belongs to somebody else, and so does this care
                raise

    def _experiment(self, name: str) -> str:
        directory = os.path.join(self.root, check_experiment(name))
        self._check_inside(directory)
        return directory

    def _annotations(self, experiment: str) -> str:
        directory = os.path.join(self._experiment(experiment), ANNOTATIONS)
        self._check_inside(directory)
        return directory

    def _check_inside(self, directory: str) -> None:
        """Return if a directory does not exist yet, or is a real one on the root's file system.

        Raises:
            StorageError: It is a link, a file, or mounted from elsewhere: renames could not be atomic.
        """
        with storage_errors("cannot look at the directory", directory):
            try:
                status = real_path.lstat(directory)
            except FileNotFoundError:
                return
            if not stat.S_ISDIR(status.st_mode):
                raise StorageError("not a directory, or a link to one", path=directory, errno=errno.ENOTDIR)
            if status.st_dev != real_path.lstat(self.root).st_dev:
                message = "it lies on another file system than the store, so that renames could not be atomic"
                raise StorageError(message, path=directory, errno=errno.EXDEV)


def _without_claim(said: Annotation, *, alias: str, claim: datetime) -> Annotation:
    """An annotation without a claim to a name; one that was made since then stays."""
    return without_alias(said, alias) if said.aliases.get(alias) == claim else said


def _names(directory: str) -> list[str]:
    try:
        return real_path.names(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StorageError.from_os_error(error, "cannot list", path=directory) from error


def _has_no_manifest(directory: str) -> bool:
    """Whether a directory is there, and has none. In this order: it may be on its way to the trash.

    A link has none, wherever it leads.
    """
    if not is_directory(directory, follow=False):
        return is_present(directory)
    return not is_present(os.path.join(directory, MANIFEST_NAME)) and is_present(directory)


def _is_old(path: str) -> bool:
    with storage_errors("cannot look at", path), contextlib.suppress(FileNotFoundError):
        return time.time() - real_path.lstat(path).st_mtime > _PATIENCE_S
    return False
