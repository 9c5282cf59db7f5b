"""One state in one directory: save, load, verify, inspect; `diff` is in its own file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, overload

from model_checkpoint.errors import CheckpointNotFoundError, ConfigurationError, FormatError
from model_checkpoint.monitoring.span import span, spanned
from model_checkpoint.storage.backends import DEFAULT_BACKEND, get_backend
from model_checkpoint.storage.commit import Draft, commit
from model_checkpoint.storage.contents import Contents, check_file, checks, open_contents
from model_checkpoint.storage.manifest import Manifest, content_digest
from model_checkpoint.storage.names import is_experiment
from model_checkpoint.storage.restore import LoadReport, load_into
from model_checkpoint.storage.safetensors.inspect import FileReport, inspect_file
from model_checkpoint.storage.safetensors.verify import VerifyReport, verify_file
from model_checkpoint.storage.staged_files import blob_files, component_files, state_file_name
from model_checkpoint.storage.staging import StagingArea
from model_checkpoint.storage.state_tree import flatten, references, unflatten
from model_checkpoint.types import Receipt, VerifyLevel
from model_checkpoint.utils import real_path
from model_checkpoint.utils.collector import collector_paused
from model_checkpoint.utils.presence import is_directory, is_present
from model_checkpoint.utils.storage_errors import storage_errors

__all__ = [
    "DEFAULT_BACKEND",
    "CheckpointReport",
    "CheckpointVerifyReport",
    "inspect",
    "load",
    "read_state",
    "save",
    "verify",
    "verify_contents",
]

_NAMELESS = "checkpoint"


@dataclass(frozen=True, slots=True)
class CheckpointReport:
    """What a checkpoint says of itself, without reading its tensors.

    Attributes:
        path: Its directory.
        manifest: Its manifest, checked.
        files: Its files of tensors by name, their headers checked.
        extra: What lies in the directory and does not belong to it.
    """

    path: str
    manifest: Manifest
    files: Mapping[str, FileReport]
    extra: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckpointVerifyReport:
    """A checkpoint of which every byte is as it was committed.

    Attributes:
        path: Its directory.
        nbytes: The size of its files in bytes.
        digest: Its manifest digest, hexadecimal.
        files: How many files were checked, the manifest excluded.
        extra: What lies in the directory and does not belong to it.
        seconds: Wall time in seconds.
    """

    path: str
    nbytes: int
    digest: str
    files: int
    extra: tuple[str, ...]
    seconds: float


def save(
    state: Any,
    directory: str | os.PathLike[str],
    *,
    metadata: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None,
    files: Mapping[str, bytes | str | os.PathLike[str]] | None = None,
    shard_bytes: int | None = None,
    strict: bool = False,
) -> Receipt:
    """Save a state as a checkpoint directory, which appears whole and durable, or not at all.

    It is staged in ``.staging`` beside the directory; what a killed save has left there goes with the next one.

    Args:
        state: Nested dicts, lists, tuples, sets, tensors, arrays, numbers, text, bytes, and objects with a
            ``state_dict()``, which are saved as that.
        directory: Where; it must not exist. Missing parents are created.
        metadata: Text by name.
        metrics: Numbers by name.
        files: Further files by name: their bytes, or a path to copy from. A ``config.json`` makes the directory one
            that ``from_pretrained`` opens.
        shard_bytes: Split components into files of at most so many bytes of tensors.
        strict: Whether to read every byte back from the device before the checkpoint appears.

    Raises:
        UnsupportedStateError: Something in the state cannot be stored; the error says where it is.
        ConfigurationError: A file's name, the metadata or the metrics make no sense.
        CheckpointExistsError: There is something at ``directory``.
        DiskFullError: There is no room; nothing is visible.
        StorageError: The file system failed.
        CorruptionError: With ``strict``: the device did not keep what was written.
    """
    start = time.perf_counter()
    target = real_path.of(directory)
    name = os.path.basename(target)
    with collector_paused():
        flat = flatten(state)
        staged = [*component_files(flat, shard_bytes=shard_bytes), *blob_files(files or {})]
    draft = Draft(
        experiment=name if is_experiment(name) else _NAMELESS,
        step=0,
        tree=flat.tree,
        files=staged,
        metrics=metrics or {},
        metadata=metadata or {},
    )
    area = StagingArea(os.path.join(os.path.dirname(target), ".staging"))
    area.reclaim()
    try:
        manifest = commit(draft, area=area, target=target, strict=strict)
    finally:
        area.tidy()
    return Receipt(os.fspath(directory), manifest.nbytes, manifest.digest, time.perf_counter() - start)


@overload
def load(
    directory: str | os.PathLike[str],
    into: None = None,
    *,
    device: Any = "cpu",
    mmap: bool = False,
    verify: VerifyLevel = "full",
    strict: bool = True,
) -> Any: ...


@overload
def load(
    directory: str | os.PathLike[str],
    into: object,
    *,
    device: Any = "cpu",
    mmap: bool = False,
    verify: VerifyLevel = "full",
    strict: bool = True,
) -> LoadReport: ...


def load(
    directory: str | os.PathLike[str],
    into: object = None,
    *,
    device: Any = "cpu",
    mmap: bool = False,
    verify: VerifyLevel = "full",
    strict: bool = True,
) -> Any:
    """Load a checkpoint directory; no code from it is run.

    Args:
        directory: The checkpoint.
        into: What to load into, in place: tensors, modules, anything with ``load_state_dict``, and containers of such
            things and of plain values. Of a dict only its keys are loaded.
        device: Where torch tensors shall lie.
        mmap: Return views of private mappings of the files, which they keep alive, instead of owned memory. Nobody may
            truncate these files meanwhile: see `load_file`.
        verify: ``"full"`` checks every SHA-256, ``"fast"`` every CRC-32C of tensors, ``"none"`` only manifest and
            headers.
        strict: Whether ``into`` must have everything that the checkpoint has, and the reverse.

    Returns:
        The state, as it was saved but for objects, which are their state dicts; or, with ``into``, a report.

    Raises:
        CheckpointNotFoundError: There is no such directory.
        IntegrityError: Something is damaged, or is no checkpoint; nothing was changed.
        StateMismatchError: With ``strict``: ``into`` and the checkpoint do not fit; nothing was changed.
        StorageError: Something cannot be read.
        MissingDependencyError: The state holds something of torch's, and torch is not installed.
    """
    check = checks(verify)
    contents = open_contents(directory)
    if into is None:
        return read_state(contents, device=device, mmap=mmap, verify=verify)
    if contents.manifest.backend != DEFAULT_BACKEND:
        raise ConfigurationError(f"files of the backend {contents.manifest.backend!r} cannot be loaded into objects")
    if check != "none":
        contents.check_blobs()
    return load_into(contents, into, check, device=device, mmap=mmap, strict=strict)


def read_state(contents: Contents, *, device: Any = "cpu", mmap: bool = False, verify: VerifyLevel = "full") -> Any:
    """The state of an open checkpoint; `load` says more."""
    manifest, check = contents.manifest, checks(verify)
    if check != "none":
        contents.check_blobs()
    if manifest.backend != DEFAULT_BACKEND:
        return _backend_state(contents)
    path = contents.manifest_file.path
    refs = references(manifest.state, path=path)
    contents.tensor_files  # noqa: B018 - every file must be the one that was committed before anything is returned
    leaves = contents.leaves(refs, check, device=device, mmap=mmap)
    with span("restore"):
        return unflatten(manifest.state, leaves.__getitem__, path=path)


@spanned("read")
def _backend_state(contents: Contents) -> Any:
    backend = get_backend(contents.manifest.backend)
    name = state_file_name(backend)
    if all(file.name != name for file in contents.manifest.files):
        raise FormatError(f"the checkpoint has no {name}", path=contents.manifest_file.path, rule="files")
    path = os.path.join(contents.directory, name)
    message = f"the backend {type(backend).__name__} cannot read the file"
    with storage_errors(message, path), real_path.pinned(path) as pinned:
        return backend.load(pinned)


def verify(path: str | os.PathLike[str]) -> VerifyReport | CheckpointVerifyReport:
    """Check every byte of a plain file or of a checkpoint directory.

    Raises:
        CheckpointNotFoundError: There is nothing at the path.
        CorruptionError: A byte differs, or a file is missing.
        FormatError: A rule of the format is broken.
        UnverifiableError: It is a file without digests.
        StorageError: Something cannot be read.
    """
    if _is_directory(path):
        return verify_contents(open_contents(path))
    return verify_file(path)


def verify_contents(contents: Contents, advance: Callable[[int], None] | None = None) -> CheckpointVerifyReport:
    """Check every byte of an open checkpoint; ``advance`` is told of the bytes that are done."""
    start = time.perf_counter()
    manifest = contents.manifest
    references(manifest.state, path=contents.manifest_file.path)
    if content_digest(manifest.files, manifest.state) != manifest.content:
        raise FormatError(
            "the content digest is not that of the content", path=contents.manifest_file.path, rule="content"
        )
    contents.tensor_files  # noqa: B018 - headers first: they are small, and a swapped file shows at once
    for file in manifest.files:
        check_file(contents.directory, file, advance)
    seconds = time.perf_counter() - start
    return CheckpointVerifyReport(
        contents.directory, manifest.nbytes, manifest.digest, len(manifest.files), contents.extra, seconds
    )


def inspect(path: str | os.PathLike[str]) -> FileReport | CheckpointReport:
    """Describe a plain file or a checkpoint directory without reading tensors.

    Raises:
        CheckpointNotFoundError: There is nothing at the path.
        IntegrityError: A header or the manifest is damaged or breaks a rule.
        StorageError: Something cannot be read.
    """
    if not _is_directory(path):
        return inspect_file(path)
    contents = open_contents(path)
    files = {name: inspect_file(plain.path, nofollow=True) for name, plain in contents.tensor_files.items()}
    return CheckpointReport(contents.directory, contents.manifest, files, contents.extra)


def _is_directory(path: str | os.PathLike[str]) -> bool:
    text = os.fspath(path)
    if not is_present(real_path.of(text)):
        raise CheckpointNotFoundError(f"there is nothing at {text!r}", ref=text)
    return is_directory(text)
