"""What the file system grants the store, and what state the store is in."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from model_checkpoint.cli.agreement_checks import check_agreement
from model_checkpoint.cli.findings import Finding, fail, ok, warn
from model_checkpoint.cli.leftover_checks import check_leftovers
from model_checkpoint.cli.render import count
from model_checkpoint.cli.root import is_store
from model_checkpoint.database.catalog import Catalog
from model_checkpoint.database.listing import CATALOG_NAME, Listing
from model_checkpoint.errors import CatalogError, CheckpointError, CorruptionError, DurabilityWarning, StorageError
from model_checkpoint.storage.store import Store
from model_checkpoint.types import CheckpointInfo, CheckpointState
from model_checkpoint.utils import real_path
from model_checkpoint.utils.filesystem import file_system_of, free_bytes
from model_checkpoint.utils.sizes import format_size

__all__ = ["check_store"]

_NO_CATALOG = "there is none; mckpt reindex builds it from the manifests"


def check_store(root: Path) -> Iterator[Finding]:
    """The store at ``root``, or the place where it would be."""
    if not is_store(root):
        yield warn("store", f"there is none at {root}; the first save makes it, -C names another")
        yield _file_system(root)
        return
    yield ok("store", os.path.realpath(root))
    yield _file_system(root)
    yield from _check_writing(root)
    try:
        store = Store(root, create=False)
    except StorageError as error:
        yield fail("store", str(error))
        return
    yield from _check_grants(store)
    catalog, checkpoints = _check_catalog(root)
    yield catalog
    yield from _check_metrics(root)
    yield _check_space(root, checkpoints)
    yield from check_agreement(store)
    yield from check_leftovers(store)


# --- the file system --------------------------------------------------------------------------------------------------


def _file_system(root: Path) -> Finding:
    found = file_system_of(root)
    where = f"{found.kind} at {found.mount_point}"
    if found.is_network:
        return warn("file system", f"{where}: shared with other hosts, whose locks may not hold; let one host write")
    return ok("file system", where)


def _check_writing(root: Path) -> Iterator[Finding]:
    """Write a file that vanishes, through the page cache and around it."""
    try:
        with tempfile.NamedTemporaryFile(dir=root, prefix=".mckpt-", suffix=".tmp") as probe:
            yield ok("writing", "allowed")
            yield _direct(probe.name)
    except OSError as error:
        yield fail("writing", f"impossible: {error.strerror or error}; what is there can be read")


def _direct(path: str) -> Finding:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC))
    except OSError as error:
        return warn("O_DIRECT", f"refused ({error.strerror}): bytes go through the page cache, at its speed")
    return ok("O_DIRECT", "granted")


def _check_grants(store: Store) -> Iterator[Finding]:
    """What commits depend on, found out by trying."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DurabilityWarning)  # what it says is what is reported here
            granted = store.staging.durability
        store.staging.tidy()
    except StorageError as error:
        yield fail("staging", str(error))
        return
    if granted.noreplace:
        yield ok("rename", "without replacing, atomically")
    else:
        yield warn("rename", "not atomic where the target exists: let one process write an experiment")
    if granted.synced:
        yield ok("directory sync", "granted")
    else:
        yield warn("directory sync", "refused: a checkpoint may not survive a power cut right after its save")


def _check_space(root: Path, checkpoints: Sequence[CheckpointInfo]) -> Finding:
    """Two more of the largest checkpoint should fit; one more must."""
    free, largest = free_bytes(root), max((info.nbytes for info in checkpoints), default=0)
    text = f"{format_size(free)} free"
    if free < largest:
        return fail("space", f"{text}: the next save of {format_size(largest)} will not fit")
    if free < 2 * largest:
        return warn("space", f"{text}: room for one more save of {format_size(largest)}")
    return ok("space", text)


# --- the catalog ------------------------------------------------------------------------------------------------------


def _check_catalog(root: Path) -> tuple[Finding, tuple[CheckpointInfo, ...]]:
    """Read all of the catalog; what was found, and what it knows."""
    if not (root / CATALOG_NAME).is_file():
        return fail("catalog", _NO_CATALOG), ()
    try:
        with Catalog.open(root, fill=_refuse) as catalog:
            catalog.check()
            checkpoints = catalog.list(states=tuple(CheckpointState))
            with catalog.read() as connection:
                mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    except CheckpointError as error:
        return fail("catalog", str(error)), ()
    return ok("catalog", f"sound, {count(len(checkpoints), 'checkpoint')}, journal mode {mode}"), checkpoints


def _refuse(_catalog: Catalog) -> None:
    """Make no catalog of an empty file: nobody could see then that it lacks everything."""
    raise CatalogError(_NO_CATALOG)


# --- the metrics ------------------------------------------------------------------------------------------------------


def _check_metrics(root: Path) -> Iterator[Finding]:
    """Look at the segments without reading them: whether each is there, in its size."""
    try:
        with Listing.open(root) as listing:
            segments = listing.segments()
    except CheckpointError:  # said already
        return
    wrong = [segment.path for segment in segments if _size(os.path.realpath(root), segment.path) != segment.nbytes]
    points, nbytes = sum(one.points for one in segments), sum(one.nbytes for one in segments)
    if wrong:
        yield fail("metrics", "gone, or not the size that was written; mckpt verify --all reads all of them", wrong)
    elif segments:
        yield ok("metrics", f"{count(len(segments), 'segment')}, {points:,} points, {format_size(nbytes)}")


def _size(root: str, path: str) -> int | None:
    from model_checkpoint.analytics.segment import segment_path

    try:
        return real_path.lstat(segment_path(root, path)).st_size
    except (FileNotFoundError, StorageError, CorruptionError):
        return None
