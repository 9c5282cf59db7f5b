"""Steps in the wrong order, acknowledgements that come too early, and failures that are overlooked."""

from __future__ import annotations

from tests.harness.mutants.mutant import Mutant, Simulation, Test

__all__ = ["MUTANTS"]

_SAVE = (Simulation("a save"),)
_FAILURES = (Test("tests/crash/test_commit.py::test_a_failure_at_any_step_is_reported_and_harms_nothing"),)
_MANAGER = "tests/unit/checkpoint/test_manager.py"

MUTANTS = (
    Mutant(
        "a checkpoint appears before its manifest",
        "a directory without a manifest is left in sight",
        "storage/commit.py",
        """\
        manifest = _write_manifest(staging.path, draft, infos, seq, area)  # 5
        _open_up(staging.path, os.path.dirname(target))  # 6
        sync_directory(staging.path)  # 7
        if strict:
            _read_back(staging.path, manifest)  # 8
        _publish(staging, target, manifest)  # 9
""",
        """\
        _native.rename_noreplace(staging.path, target)
        manifest = _write_manifest(target, draft, infos, seq, area)
        _open_up(target, os.path.dirname(target))
        sync_directory(target)
        if strict:
            _read_back(target, manifest)
""",
        _SAVE,
    ),
    Mutant(
        "a checkpoint appears before it is synced",
        "a checkpoint without the names of its files is in sight after a power cut",
        "storage/commit.py",
        """\
        sync_directory(staging.path)  # 7
        if strict:
            _read_back(staging.path, manifest)  # 8
        _publish(staging, target, manifest)  # 9
""",
        """\
        if strict:
            _read_back(staging.path, manifest)  # 8
        _publish(staging, target, manifest)  # 9
        sync_directory(target)
""",
        _SAVE,
    ),
    Mutant(
        "the catalog comes before the rename",
        "the catalog knows a checkpoint that does not exist",
        "storage/commit.py",
        "        _publish(staging, target, manifest)  # 9\n",
        "        if log is not None:\n"
        "            log.add(manifest.info(recorded_path))\n"
        "        _publish(staging, target, manifest)  # 9\n",
        _SAVE,
    ),
    Mutant(
        "a save is acknowledged before the rename is durable",
        "a checkpoint that was acknowledged vanishes in a power cut",
        "storage/commit.py",
        "        _sync_parents(target, area.directory)  # 10\n",
        '        __import__("threading").Timer(0.3, _sync_parents, (target, area.directory)).start()\n',
        _SAVE,
    ),
    Mutant(
        "a save is acknowledged before the catalog has it",
        "an alias that was acknowledged is lost",
        "storage/commit.py",
        "            log.add(manifest.info(recorded_path))  # 11\n",
        '            __import__("threading").Timer(0.3, log.add, (manifest.info(recorded_path),)).start()\n',
        _SAVE,
    ),
    Mutant(
        "a save is acknowledged while it is being written",
        "a checkpoint that was acknowledged never comes to be",
        "checkpoint/handle.py",
        "        error = self._future.exception(timeout)\n        assert",
        "        error = self._future.exception(timeout) if self.done() else None\n        assert",
        (Test("tests/unit/checkpoint/test_handle.py"), Test(_MANAGER)),
    ),
    Mutant(
        "cleaning up comes before the save",
        "the old checkpoint is gone before the new one has come",
        "checkpoint/handle.py",
        """\
            handle.run(job)
            if handle.went_well:
                follow_up()
""",
        """\
            follow_up()
            handle.run(job)
""",
        (Simulation("a save in the background, with its cleanup"),),
    ),
    Mutant(
        "training may change what is being saved",
        "a checkpoint holds half of one step and half of the next",
        "checkpoint/saving.py",
        "            tensors = self._arena.take(tensors)\n",
        "            self._arena.take(tensors)\n",
        (Test(f"{_MANAGER}::test_what_changes_after_save_returned_is_not_saved"),),
    ),
    Mutant(
        "a failed sync of a file is tried again",
        "the second sync succeeds although the kernel has dropped the bytes",
        "storage/durable.py",
        "                _native.sync_file(fd, path)\n",
        "                try:\n"
        "                    _native.sync_file(fd, path)\n"
        "                except StorageError:\n"
        "                    _native.sync_file(fd, path)\n",
        _FAILURES,
    ),
    Mutant(
        "a failed sync of a directory is ignored",
        "a checkpoint is acknowledged that a power cut may take back",
        "storage/durable.py",
        "        if error.errno in _UNSUPPORTED:\n",
        "        if error.errno:\n",
        (
            Test("tests/unit/storage/test_staging.py::test_a_failed_sync_is_an_error_and_not_a_missing_feature"),
            *_FAILURES,
        ),
    ),
    Mutant(
        "a failed sync of a user's file is ignored",
        "a checkpoint is acknowledged whose bytes never reached the disk",
        "storage/staged_files.py",
        '                with span("fsync"):\n                    _native.sync_file(fd, path)\n',
        "                try:\n"
        "                    _native.sync_file(fd, path)\n"
        "                except StorageError:\n"
        "                    pass\n",
        _FAILURES,
    ),
    Mutant(
        "close() says nothing of a save that failed",
        "a training ends in the belief that its last checkpoint is there",
        "checkpoint/manager.py",
        "            finally:\n                self._saver.slot.raise_failure()\n",
        "            finally:\n                pass\n",
        (Test(f"{_MANAGER}::test_a_failed_save_is_raised_at_close"),),
    ),
    Mutant(
        "a commit that fails leaves its staging directory",
        "a disk that is full stays full",
        "storage/commit.py",
        "    except BaseException:\n        staging.abandon()\n        raise\n",
        "    except BaseException:\n        raise\n",
        _FAILURES,
    ),
    Mutant(
        "a rename that reports an error is believed",
        "a checkpoint that is there is reported as failed",
        "storage/commit.py",
        "        if _is_committed(target, manifest):\n            return\n",
        "",
        (Test("tests/crash/test_commit.py::test_a_rename_that_reports_an_error_but_took_place_is_a_success"),),
    ),
    Mutant(
        "free space is not asked for",
        "a full disk is noticed only after most of it was written",
        "storage/commit.py",
        "    if free < needed:\n",
        "    if False:\n",
        (Test("tests/crash/test_mutants.py::test_a_checkpoint_that_does_not_fit_is_refused_before_the_first_byte"),),
    ),
)
