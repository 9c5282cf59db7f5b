"""Syncs left out, one at a time."""

from __future__ import annotations

from tests.harness.mutants.mutant import Mutant, Simulation

__all__ = ["MUTANTS"]

_SAVE = (Simulation("a save"),)
_FIRST_SAVE = (Simulation("the first save of a store"),)
_TO_TRASH = (Simulation("a cleanup into the trash"),)
_FROM_TRASH = (Simulation("a restore from the trash"),)
_FOR_GOOD = (Simulation("a cleanup for good"), Simulation("emptying the trash of what has expired"))

MUTANTS = (
    Mutant(
        "files of tensors are not synced",
        "a checkpoint of garbage survives a power cut",
        "storage/safetensors/writer.py",
        '            if sync:\n                with span("fsync"):\n                    _native.sync_file(fd, text)\n',
        "",
        _SAVE,
    ),
    Mutant(
        "the user's files are not synced",
        "a checkpoint with empty files survives a power cut",
        "storage/staged_files.py",
        '                with span("fsync"):\n                    _native.sync_file(fd, path)\n',
        "",
        _SAVE,
    ),
    Mutant(
        "manifest and trash record are not synced",
        "a checkpoint without a manifest survives a power cut",
        "storage/durable.py",
        '            with span("fsync"):\n                _native.sync_file(fd, path)\n',
        "",
        _SAVE,
    ),
    Mutant(
        "the staging directory is not synced",
        "a checkpoint survives a power cut without the names of its files",
        "storage/commit.py",
        "        sync_directory(staging.path)  # 7\n",
        "",
        _SAVE,
    ),
    Mutant(
        "the directory into which a checkpoint is renamed is not synced",
        "a checkpoint that was acknowledged vanishes in a power cut",
        "storage/commit.py",
        "    sync_directory(os.path.dirname(target))\n",
        "",
        _SAVE,
    ),
    Mutant(
        "the directory out of which a checkpoint is renamed is not synced",
        "a checkpoint that was acknowledged is back in the staging area after a power cut",
        "storage/commit.py",
        "    sync_directory(os.path.dirname(target))\n    sync_directory(staging_area)\n",
        "    sync_directory(os.path.dirname(target))\n",
        _SAVE,
    ),
    Mutant(
        "new directories are not synced in their parents",
        "a new experiment vanishes in a power cut with all that is in it",
        "storage/durable.py",
        '            sync_directory(os.path.dirname(directory) or ".")\n',
        "",
        _FIRST_SAVE,
    ),
    Mutant(
        "the record of a deleted checkpoint has no durable name",
        "a deleted checkpoint can neither be found nor restored after a power cut",
        "storage/trash.py",
        'encode("ascii") + b"\\n")\n        sync_directory(entry.directory)\n',
        'encode("ascii") + b"\\n")\n',
        _TO_TRASH,
    ),
    Mutant(
        "a deletion does not sync the trash",
        "a checkpoint that was said to be in the trash is not there after a power cut",
        "storage/trash.py",
        "            sync_directory(directory)  # 4\n",
        "            pass\n",
        _TO_TRASH,
    ),
    Mutant(
        "a deletion does not sync the experiment",
        "a checkpoint that was said to be in the trash is back after a power cut",
        "storage/trash.py",
        "        sync_directory(os.path.dirname(source))\n",
        "",
        _TO_TRASH,
    ),
    Mutant(
        "a restore does not sync the experiment",
        "a checkpoint that was brought back vanishes in a power cut",
        "storage/trash.py",
        "        sync_directory(os.path.dirname(target))\n",
        "",
        _FROM_TRASH,
    ),
    Mutant(
        "a restore does not sync the trash",
        "a checkpoint that was brought back is lost when the trash is removed out of order",
        "storage/trash.py",
        "        sync_directory(entry.directory)\n        remove_tree(entry.directory)\n",
        "        remove_tree(entry.directory)\n",
        _FROM_TRASH,
    ),
    Mutant(
        "a removal for good does not sync the trash before it begins",
        "half a checkpoint can be restored after a power cut",
        "storage/trash.py",
        "        sync_directory(self.directory)  # the mark",
        "        # the mark",
        _FOR_GOOD,
    ),
    Mutant(
        "a removal for good does not sync what it forgets",
        "annotations of checkpoints that are gone are left for ever",
        "storage/store.py",
        "            sync_directory(directory)  # the record",
        "            pass  # the record",
        _FOR_GOOD,
    ),
    Mutant(
        "replaced files are not synced",
        "an annotation is empty after a power cut",
        "utils/atomic_file.py",
        "                _native.sync_file(temporary.fd, temporary.path)\n",
        "                pass\n",
        (Simulation("pins, aliases, tags and late metrics"),),
    ),
    Mutant(
        "the directory of a replaced file is not synced",
        "a pin that was acknowledged is gone after a power cut",
        "utils/atomic_file.py",
        "    if durable:\n        _native.sync_directory(directory)\n",
        "",
        (Simulation("pins, aliases, tags and late metrics"),),
    ),
    Mutant(
        "the catalog is not synced",
        "the catalog is damaged by a power cut, or forgets what was acknowledged",
        "database/sqlite.py",
        '    connection.execute(f"PRAGMA synchronous = {synchronous}")\n',
        '    connection.execute("PRAGMA synchronous = OFF")\n',
        _SAVE,
    ),
)
