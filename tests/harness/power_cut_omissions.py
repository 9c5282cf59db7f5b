"""Syncs that can be left out of a save, to see whether the harness notices. A process loses them for good."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from unittest import mock

from model_checkpoint.database import sqlite
from model_checkpoint.database.sqlite import JournalPolicy
from model_checkpoint.storage import commit, durable, staging
from model_checkpoint.storage.safetensors.writer import PreparedFile
from model_checkpoint.utils import atomic_file

__all__ = ["OMISSIONS"]


def _data() -> None:
    write = PreparedFile.write

    def without_sync(self: PreparedFile, *arguments: Any, **_: Any) -> Any:
        return write(self, *arguments, sync=False)

    _replace(PreparedFile, "write", without_sync)


def _manifest() -> None:
    def without_sync(path: str, data: bytes) -> None:
        with open(path, "xb") as file:
            file.write(data)

    _replace(commit, "write_new", without_sync)


def _annotations() -> None:
    replace = atomic_file.replacing
    _replace(atomic_file, "replacing", lambda path, **_: replace(path, durable=False))


def _staging_directory() -> None:
    sync = commit.sync_directory

    def parents_only(target: str, area: str) -> None:
        sync(os.path.dirname(target))
        sync(area)

    _replace(commit, "sync_directory", lambda _: True)
    _replace(commit, "_sync_parents", parents_only)


def _parents() -> None:
    _replace(commit, "_sync_parents", lambda *_: None)


def _directories_of_the_commit() -> None:
    _replace(commit, "sync_directory", lambda _: True)


def _all_directories() -> None:
    _directories_of_the_commit()
    for module in (durable, staging):
        _replace(module, "sync_directory", lambda _: True)


def _sqlite(synchronous: str) -> Callable[[], None]:
    def weaken() -> None:
        _replace(sqlite, "WAL", JournalPolicy("wal", synchronous))
        _replace(sqlite, "ROLLBACK", JournalPolicy("truncate", synchronous))

    return weaken


def _replace(owner: Any, name: str, by: Any) -> None:
    """As `setattr`, of something that is there."""
    mock.patch.object(owner, name, by).start()


OMISSIONS: dict[str, Callable[[], None]] = {
    "nothing": lambda: None,
    "the files of tensors": _data,
    "the manifest": _manifest,
    "annotations and settings": _annotations,
    "the staging directory": _staging_directory,
    "both parent directories": _parents,
    "all three directories": _directories_of_the_commit,
    "all directories of the store": _all_directories,
    "SQLite's files (synchronous=NORMAL)": _sqlite("NORMAL"),
    "SQLite's files (synchronous=OFF)": _sqlite("OFF"),
}
