"""What lies in a store besides its checkpoints: staging area, trash, catalogs that were put aside."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from model_checkpoint.cli.findings import Finding, fail, ok, warn
from model_checkpoint.cli.render import age, ago, count
from model_checkpoint.errors import StorageError
from model_checkpoint.storage.staging import Occupant
from model_checkpoint.storage.store import Store
from model_checkpoint.storage.trash import Remains, TrashEntry
from model_checkpoint.utils.clock import utc_now
from model_checkpoint.utils.sizes import format_size

__all__ = ["check_leftovers"]

_REMEDIES = {
    Remains.INTERRUPTED: "being deleted for good, or that was interrupted; mckpt reindex finishes it",
    Remains.EMPTY: "entries of the trash without a checkpoint; mckpt reindex removes them",
    Remains.UNRECORDED: "in the trash without a record that says what it is; remove it by hand",
}


def check_leftovers(store: Store) -> Iterator[Finding]:
    """What is being written, what was deleted and what was left behind, with how old it is."""
    for name, check in (("staging", _staging), ("trash", _trash), ("put aside", _put_aside)):
        try:
            yield from check(store)
        except StorageError as error:
            yield fail(name, str(error))


def _staging(store: Store) -> Iterator[Finding]:
    occupants = store.staging.occupants()
    left = [one for one in occupants if not one.is_alive]
    if left:
        remedy = f"left by killed processes, {_size_of(left)}; the next training removes it, and so does mckpt reindex"
        yield warn("staging", remedy, [f"{_name(store, one.path)} ({ago(one.since)})" for one in left])
    if len(left) < len(occupants):
        yield ok("staging", f"{count(len(occupants) - len(left), 'checkpoint')} being written")
    elif not left:
        yield ok("staging", "nothing left behind")


def _size_of(occupants: Sequence[Occupant]) -> str:
    return format_size(sum(_nbytes(one.path) for one in occupants))


def _trash(store: Store) -> Iterator[Finding]:
    yield ok("trash", _waiting(store.trash.entries()))
    for kind, remedy in _REMEDIES.items():
        items = [f"{_name(store, path)} ({_age_of(path)})" for path, found in store.trash.remains() if found is kind]
        if items:
            yield warn("trash", remedy, items)


def _waiting(entries: Sequence[TrashEntry]) -> str:
    """What can be restored, since when, and what of it goes when somebody opens the store."""
    restorable = f"{count(len(entries), 'checkpoint')} to restore"
    if not entries:
        return restorable
    now = utc_now()
    expired = sum(entry.expires_at <= now for entry in entries)
    nbytes = format_size(sum(_nbytes(entry.directory) for entry in entries))
    due = f"; the time of {expired} is up, the next program to open the store deletes them" if expired else ""
    return f"{restorable}, {nbytes}, the oldest deleted {ago(min(entry.trashed_at for entry in entries), now)}{due}"


def _put_aside(store: Store) -> Iterator[Finding]:
    """Damaged catalogs are kept, for whoever wants to look at them."""
    names = sorted(name for name in os.listdir(store.root) if name.startswith("catalog.db.damaged-"))
    if names:
        ages = ", ".join(f"{name} ({_age_of(os.path.join(store.root, name))})" for name in names[:3])
        yield ok("put aside", f"{count(len(names), 'file')} of damaged catalogs, yours to delete: {ages}")


def _name(store: Store, path: str) -> str:
    return os.path.relpath(path, store.root)


def _age_of(path: str) -> str:
    try:
        return age(datetime.fromtimestamp(os.lstat(path).st_mtime, UTC)) + " old"
    except FileNotFoundError:
        return "gone by now"


def _nbytes(directory: str) -> int:
    """Bytes of the files in a directory; those that vanish meanwhile have none, and links are not followed."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return total
