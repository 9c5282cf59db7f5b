"""Copies of a checkpoint's files that appear whole and verified, or not at all.

    1. Refuse a target that exists.
    2. Copy into a sibling directory with a random name.
    3. Verify the copy, not the source: whatever went wrong on the way is found.
    4. Sync each file and the directory.
    5. Rename into place without replacing anything, and sync the parent.

A failure removes the sibling and leaves nothing at the target.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Sequence

from model_checkpoint import _native
from model_checkpoint.cli.progress import Advance
from model_checkpoint.errors import CheckpointExistsError, StorageError
from model_checkpoint.storage.contents import check_file, open_contents
from model_checkpoint.storage.durable import remove_tree, sync_directory
from model_checkpoint.storage.names import MANIFEST_NAME
from model_checkpoint.types import FileInfo
from model_checkpoint.utils import real_path
from model_checkpoint.utils.regular_file import open_regular
from model_checkpoint.utils.storage_errors import storage_errors

__all__ = ["copy_directory", "copy_file"]

_BLOCK_BYTES = 8 * 1024 * 1024


def copy_directory(
    source: str, files: Sequence[FileInfo], target: str, advance: Advance, *, with_manifest: bool
) -> None:
    """Copy files of a checkpoint into a new directory.

    Args:
        source: The checkpoint's directory.
        files: Which of its files.
        target: The new directory.
        advance: Told of each block.
        with_manifest: Whether to copy the manifest too, so that the copy is a checkpoint.

    Raises:
        CheckpointExistsError: There is something at the target.
        IntegrityError: The copy is not what the manifest says.
        StorageError: The file system failed.
    """
    target = real_path.of(target)
    with _sibling(target) as temporary:
        for file in files:
            _copy(source, file, temporary, advance)
        if with_manifest:
            _copy_bytes(os.path.join(source, MANIFEST_NAME), os.path.join(temporary, MANIFEST_NAME), advance)
            open_contents(temporary)  # checks the manifest's digest
        sync_directory(temporary)
        _publish(temporary, target)


def copy_file(source: str, file: FileInfo, target: str, advance: Advance) -> None:
    """Copy one file of a checkpoint to a new path.

    Raises:
        CheckpointExistsError: There is something at the target.
        IntegrityError: The copy is not what the manifest says.
        StorageError: The file system failed.
    """
    target = real_path.of(target)
    with _sibling(target) as temporary:
        _copy(source, file, temporary, advance)
        _publish(os.path.join(temporary, file.name), target)


@contextlib.contextmanager
def _sibling(target: str) -> Iterator[str]:
    """A directory beside the target, removed afterwards if it is still there."""
    _refuse_existing(target)
    temporary = os.path.join(os.path.dirname(target), f".mckpt-{uuid.uuid4().hex}.tmp")
    with storage_errors("cannot export", target):
        os.mkdir(temporary)
    try:
        yield temporary
    finally:
        remove_tree(temporary)


def _copy(source: str, file: FileInfo, directory: str, advance: Advance) -> None:
    _copy_bytes(os.path.join(source, file.name), os.path.join(directory, file.name), advance)
    check_file(directory, file)


def _copy_bytes(source: str, target: str, advance: Advance) -> None:
    opened = open_regular(source, nofollow=True)
    with storage_errors("cannot copy", target), open(target, "xb", buffering=0) as out:
        offset = 0
        while block := os.pread(opened.fd, _BLOCK_BYTES, offset):
            offset += len(block)
            view = memoryview(block)
            while view:
                view = view[out.write(view) :]
            advance(len(block))
        _native.sync_file(out.fileno(), target)


def _publish(temporary: str, target: str) -> None:
    try:
        _native.rename_noreplace(temporary, target)
    except FileExistsError:
        _refuse_existing(target)
        raise
    except OSError as error:
        raise StorageError.from_os_error(error, "cannot put the copy in place", path=target) from error
    sync_directory(os.path.dirname(target))


def _refuse_existing(target: str) -> None:
    if os.path.lexists(target):
        raise CheckpointExistsError(f"{target} exists; nothing is ever replaced")
