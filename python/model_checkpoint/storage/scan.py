"""What a store holds, read from its files alone: enough to rebuild the catalog."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from model_checkpoint.errors import CheckpointError, FormatError, IntegrityError, StorageError
from model_checkpoint.storage.annotations import Annotation, read_annotation, with_annotation
from model_checkpoint.storage.contents import Contents, open_contents
from model_checkpoint.storage.experiments import read_experiment
from model_checkpoint.storage.manifest import Manifest
from model_checkpoint.storage.names import check_place, is_experiment, parse_checkpoint_name
from model_checkpoint.storage.trash import Trash
from model_checkpoint.types import CheckpointInfo, CheckpointState, ExperimentInfo
from model_checkpoint.utils import real_path
from model_checkpoint.utils.presence import is_present
from model_checkpoint.utils.storage_errors import storage_errors

__all__ = ["Quarantined", "StoreScan", "belongs_at", "is_checkpoint_path", "open_at", "scan_store"]

ANNOTATIONS = ".annotations"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Something in the store that cannot be trusted. It is never used, and never removed automatically.

    Attributes:
        path: Where it is, relative to the root.
        reason: What is wrong with it.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class StoreScan:
    """What was found.

    Attributes:
        checkpoints: Those with a valid manifest, those in the trash included, in commit order.
        experiments: Settings of experiments that have them.
        quarantined: What cannot be trusted.
    """

    checkpoints: tuple[CheckpointInfo, ...]
    experiments: tuple[ExperimentInfo, ...]
    quarantined: tuple[Quarantined, ...]


def scan_store(root: str, trash: Trash) -> StoreScan:
    """Read all manifests, annotations and settings. Files of tensors are not opened.

    Raises:
        StorageError: A directory cannot be listed, or something in the trash cannot be read.
    """
    scanner = _Scanner(root)
    for experiment in scanner.directories(root):
        if is_experiment(experiment):
            scanner.experiment(experiment)
    for entry in trash.entries():
        scanner.trashed(os.path.relpath(entry.checkpoint, root), entry.path)
    found = sorted(scanner.found, key=lambda pair: (pair[0].seq, pair[0].created_at))
    return StoreScan(
        checkpoints=tuple(_with_latest_aliases([info for info, _ in found], dict(scanner.claims(found)))),
        experiments=tuple(scanner.experiments),
        quarantined=tuple(scanner.quarantined),
    )


def open_at(root: str, path: str, origin: str | None = None, *, uncached: bool = False) -> Contents:
    """Open a checkpoint of a store, and check that it is the one that belongs there.

    Args:
        root: The store.
        path: Where it is, relative to the root.
        origin: Where it was before it went to the trash.
        uncached: Whether to read the manifest from the device, whatever the page cache has.

    Raises:
        CheckpointNotFoundError: There is none.
        ConfigurationError: There is never one at such a path.
        FormatError: Its manifest breaks a rule, or names another place (rule ``id``).
        CorruptionError: Its manifest differs from its digest.
        StorageError: It cannot be read.
    """
    contents = open_contents(os.path.join(root, check_place(path)), uncached=uncached, nofollow=True)
    manifest = contents.manifest
    if not belongs_at(manifest, origin or path):
        message = f"a copy: it was committed as step {manifest.step} of {manifest.experiment}, id {manifest.id}"
        raise FormatError(message, path=contents.manifest_file.path, rule="id")
    return contents


def belongs_at(manifest: Manifest, path: str) -> bool:
    """Whether a checkpoint was committed at a path of its store."""
    experiment, _, name = path.rpartition("/")
    return parse_checkpoint_name(name) == (manifest.step, manifest.id[:8]) and manifest.experiment == experiment


def is_checkpoint_path(path: str) -> bool:
    """Whether a path of a store is a checkpoint's, and not in the trash."""
    experiment, _, name = path.rpartition("/")
    return is_experiment(experiment) and parse_checkpoint_name(name) is not None


class _Scanner:
    """Collects what it finds."""

    def __init__(self, root: str) -> None:
        self._root = root
        self.found: list[tuple[CheckpointInfo, Annotation]] = []
        self.experiments: list[ExperimentInfo] = []
        self.quarantined: list[Quarantined] = []

    def directories(self, path: str) -> list[str]:
        """Names of the real directories in a directory; links are not followed."""
        with storage_errors("cannot list", path):
            return [name for name, is_directory in real_path.entries(path) if is_directory]

    def experiment(self, name: str) -> None:
        directory = os.path.join(self._root, name)
        try:
            settings = read_experiment(directory)
        except (IntegrityError, StorageError) as error:
            self.quarantined.append(Quarantined(f"{name}/experiment.json", str(error)))
        else:
            self.experiments.extend([settings] if settings is not None else [])
        for checkpoint in self.directories(directory):
            if parse_checkpoint_name(checkpoint) is not None:
                self._checkpoint(f"{name}/{checkpoint}", None)

    def trashed(self, path: str, origin: str) -> None:
        self._checkpoint(path, origin)

    def _checkpoint(self, path: str, origin: str | None) -> None:
        """Find a checkpoint, or see why it cannot be trusted now; what cannot be read now may be all right.

        Raises:
            StorageError: It is in the trash, where nobody would look for it again.
        """
        try:
            info = open_at(self._root, path, origin).manifest.info(path)
            annotation = self._annotation(info)
        except CheckpointError as error:
            if origin is not None and isinstance(error, StorageError):
                raise
            if is_present(os.path.join(self._root, path)):  # else somebody has just moved it
                self.quarantined.append(Quarantined(path, str(error)))
            return
        info = with_annotation(info, annotation)
        if origin is not None:
            info = dataclasses.replace(info, state=CheckpointState.TRASHED)
        self.found.append((info, annotation))

    def _annotation(self, info: CheckpointInfo) -> Annotation:
        directory = os.path.join(self._root, info.experiment, ANNOTATIONS)
        try:
            return read_annotation(directory, info.id)
        except IntegrityError as error:
            path = f"{info.experiment}/{ANNOTATIONS}/{info.id}.json"
            self.quarantined.append(Quarantined(path, str(error)))
            return Annotation(info.id)

    @staticmethod
    def claims(found: list[tuple[CheckpointInfo, Annotation]]) -> Iterator[tuple[tuple[str, str], str]]:
        """Experiment and alias, and the id of the checkpoint that claimed it last."""
        times: dict[tuple[str, str], datetime] = {}
        for info, annotation in found:
            for alias, time in annotation.aliases.items():
                key = (info.experiment, alias)
                if key not in times or time >= times[key]:
                    times[key] = time
                    yield key, info.id


def _with_latest_aliases(infos: list[CheckpointInfo], owners: dict[tuple[str, str], str]) -> Iterator[CheckpointInfo]:
    for info in infos:
        own = tuple(alias for alias in info.aliases if owners[info.experiment, alias] == info.id)
        yield info if own == info.aliases else dataclasses.replace(info, aliases=own)
