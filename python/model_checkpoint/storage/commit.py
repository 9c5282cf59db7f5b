"""How a checkpoint comes into being, so that it is there whole and for good, or not at all.

A checkpoint exists when its directory, with a valid manifest, has been renamed into place and that rename is durable.
Everything before the rename happens where nobody looks; nothing after it can take the checkpoint back.

     1. Create a staging directory with a random name and mode 0700. No two writers share one, so that no lock is
        needed for correctness; and nobody reads what is not finished.
     2. Ask for free space. A disk that cannot hold the checkpoint is found out before the first byte is written, and
        once more by each file, which preallocates.
     3. Write each file and fsync it. A directory that survives a power cut with empty files in it would be a
        checkpoint of garbage. A failed fsync is final: the kernel forgets the pages that it could not write, so
        that a second fsync of the file would succeed. The whole commit fails.
     4. Take the next number of the commit order. Later is larger, whatever the training steps or clocks say.
     5. Write the manifest, check it as a reader would, and fsync it. It holds the size and digest of every file.
     6. Make files and directory readable for those who may read the target, and files writable for nobody.
     7. fsync the staging directory, or the checkpoint could survive a power cut without the names of its files.
     8. With ``strict``: read every byte back from the device, the manifest's included, and verify it. Through the page
        cache one would read what was written, whatever the device made of it.
     9. Rename the staging directory into place, without replacing anything. This is the commit point. If the rename
        reports an error, the target's manifest decides: a network file system may apply a rename and then lose the
        answer.
    10. fsync the target's parent, then the staging area. The rename changed both; without this the checkpoint could
        vanish in a power cut although the catalog knows it.
    11. Add it to the catalog. It is an index: if this fails, recovery finds the checkpoint by its manifest.
    12. Release the staging directory and return. Only now may anything older be removed.

A failure up to step 8 removes the staging directory; a process that dies leaves it to recovery. Earlier checkpoints are
never touched.
"""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from model_checkpoint import _native
from model_checkpoint.errors import (
    CheckpointError,
    CheckpointExistsError,
    ConfigurationError,
    CorruptionError,
    DiskFullError,
    StorageError,
)
from model_checkpoint.monitoring.span import spanned
from model_checkpoint.storage import manifest as manifests
from model_checkpoint.storage.contents import check_file, open_contents
from model_checkpoint.storage.durable import make_directories, read_small, sync_directory, write_new
from model_checkpoint.storage.environment import describe_environment
from model_checkpoint.storage.manifest import MAX_MANIFEST_BYTES, Manifest, content_digest
from model_checkpoint.storage.names import MANIFEST_NAME, check_experiment, check_file_name, check_id, check_step
from model_checkpoint.storage.staged_files import StagedFile
from model_checkpoint.storage.staging import Staging, StagingArea
from model_checkpoint.types import CheckpointInfo, FileInfo
from model_checkpoint.utils import real_path
from model_checkpoint.utils.clock import utc_now
from model_checkpoint.utils.collector import collector_paused
from model_checkpoint.utils.filesystem import free_bytes
from model_checkpoint.utils.presence import is_directory, is_present
from model_checkpoint.utils.storage_errors import storage_errors
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["CommitLog", "Draft", "commit"]

_SPARE_BYTES = 1024 * 1024
"""Room for the manifest and the file system's own structures."""


class CommitLog(Protocol):
    """Who numbers and records checkpoints: the catalog."""

    def next_seq(self) -> int:
        """A number that nobody else has, larger than all before."""

    def add(self, *infos: CheckpointInfo) -> None:
        """Record checkpoints, durably."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a checkpoint shall be.

    Attributes:
        experiment: Name of its experiment.
        step: Training step.
        tree: The state tree.
        files: Its files.
        id: 32 hexadecimal digits.
        parent: Id of the checkpoint that the run resumed from, or None.
        backend: Name of the storage backend of the files.
        metrics: Values by name.
        metadata: Text by name.
    """

    experiment: str
    step: int
    tree: JsonValue
    files: Sequence[StagedFile]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    parent: str | None = None
    backend: str = "safetensors"
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        """Raises:
        ConfigurationError: A field makes no sense.
        """
        check_experiment(self.experiment)
        check_id(self.id)
        check_step(self.step)
        object.__setattr__(self, "metrics", MappingProxyType(dict(map(_metric, self.metrics.items()))))
        object.__setattr__(self, "metadata", MappingProxyType(dict(map(_text, self.metadata.items()))))


def _metric(item: tuple[Any, Any]) -> tuple[str, float]:
    name, value = item
    try:
        return _text((name, ""))[0], float(value)
    except (TypeError, ValueError, OverflowError):
        raise ConfigurationError(f"the metric {name!r:.80} is no number but {value!r:.80}") from None


def _text(item: tuple[Any, Any]) -> tuple[str, str]:
    for text in item:
        if not isinstance(text, str):
            raise ConfigurationError(f"{text!r:.80} is no text")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ConfigurationError(f"{text!a:.80} has a surrogate, which has no UTF-8") from None
    return str(item[0]), str(item[1])


@spanned("commit")
def commit(
    draft: Draft,
    *,
    area: StagingArea,
    target: str,
    recorded_path: str = "",
    log: CommitLog | None = None,
    strict: bool = False,
) -> Manifest:
    """Write a checkpoint and make it appear at ``target``.

    Args:
        draft: What to write.
        area: Where to stage it, on the same file system.
        target: Its directory, which must not exist; no part of the path may be a link.
        recorded_path: The target as the catalog knows it.
        log: Who numbers and records it; without one, the number is 0.
        strict: Whether to read every byte back from the device before the checkpoint appears.

    Raises:
        CheckpointExistsError: There is something at the target.
        DiskFullError: There is no room; nothing is visible.
        StorageError: The file system failed. If the message speaks of syncing, the checkpoint may be in place and not
            yet durable; recovery will find it.
        CorruptionError: With ``strict``: the device did not keep what was written.
    """
    _check_names(draft.files)
    if is_present(target):
        raise CheckpointExistsError(f"{target} exists; checkpoints are never replaced")
    make_directories(os.path.dirname(target))
    staging = area.create()  # 1
    try:
        _check_space(area.directory, draft.files)  # 2
        infos = _write_files(staging.path, draft.files)  # 3
        seq = log.next_seq() if log is not None else 0  # 4
        manifest = _write_manifest(staging.path, draft, infos, seq, area)  # 5
        _open_up(staging.path, os.path.dirname(target))  # 6
        sync_directory(staging.path)  # 7
        if strict:
            _read_back(staging.path, manifest)  # 8
        _publish(staging, target, manifest)  # 9
    except BaseException:
        staging.abandon()
        raise
    try:
        _sync_parents(target, area.directory)  # 10
        if log is not None:
            log.add(manifest.info(recorded_path))  # 11
    finally:
        staging.release()  # 12
    return manifest


def _check_names(files: Sequence[StagedFile]) -> None:
    names = [check_file_name(file.name).lower() for file in files]
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()
    if twice:
        raise ConfigurationError(
            f"two files of the checkpoint are named {', '.join(sorted(twice))}, but for their case"
        )


def _check_space(directory: str, files: Sequence[StagedFile]) -> None:
    needed, free = sum(file.nbytes for file in files) + _SPARE_BYTES, free_bytes(directory)
    if free < needed:
        message = f"the checkpoint needs {needed} bytes, and {free} are free"
        raise DiskFullError(message, path=directory, errno=errno.ENOSPC)


def _write_files(directory: str, files: Sequence[StagedFile]) -> tuple[FileInfo, ...]:
    infos = [file.write(os.path.join(directory, file.name)) for file in files]
    return tuple(sorted(infos, key=lambda info: info.name))


@collector_paused()
def _write_manifest(directory: str, draft: Draft, infos: tuple[FileInfo, ...], seq: int, area: StagingArea) -> Manifest:
    path = os.path.join(directory, MANIFEST_NAME)
    raw, manifest = manifests.encode(
        Manifest(
            id=draft.id,
            experiment=draft.experiment,
            step=draft.step,
            seq=seq,
            created_at=utc_now(),
            backend=draft.backend,
            files=infos,
            state=draft.tree,
            content=content_digest(infos, draft.tree),
            parent=draft.parent,
            metrics=draft.metrics,
            metadata=draft.metadata,
            environment=describe_environment(),
            durability=area.durability,
        )
    )
    manifests.decode(raw, path=path)  # a manifest that no reader would accept must not be committed
    write_new(path, raw)
    return manifest


def _open_up(directory: str, parent: str) -> None:
    with storage_errors("cannot set the mode", directory):
        mode = stat.S_IMODE(real_path.lstat(parent).st_mode) & 0o777
        for name in real_path.names(directory):
            real_path.chmod(os.path.join(directory, name), mode & 0o444)
        real_path.chmod(directory, mode)


@spanned("verify", whole=True)
def _read_back(directory: str, manifest: Manifest) -> None:
    for file in manifest.files:
        check_file(directory, file, uncached=True)
    if open_contents(directory, uncached=True, nofollow=True).manifest.digest != manifest.digest:
        path = os.path.join(directory, MANIFEST_NAME)
        raise CorruptionError("not the manifest that was written", path=path, rule="digest")


def _publish(staging: Staging, target: str, manifest: Manifest) -> None:
    try:
        _native.rename_noreplace(staging.path, target)
    except OSError as error:
        if _is_committed(target, manifest):
            return
        if isinstance(error, FileExistsError) or is_present(target):
            raise CheckpointExistsError(f"{target} exists; checkpoints are never replaced") from error
        raise StorageError.from_os_error(error, "cannot rename the checkpoint into place", path=target) from error
    if not is_directory(target, follow=False):  # or somebody would be told of a checkpoint that is a link
        raise StorageError("the staging directory was exchanged for something else just now", path=target)


def _is_committed(target: str, manifest: Manifest) -> bool:
    """Whether the rename took place although it reported an error."""
    path = os.path.join(target, MANIFEST_NAME)
    try:
        return manifests.decode(read_small(path, limit=MAX_MANIFEST_BYTES), path=path).digest == manifest.digest
    except CheckpointError:
        return False


def _sync_parents(target: str, staging_area: str) -> None:
    sync_directory(os.path.dirname(target))
    sync_directory(staging_area)
