"""What is removed and must not be, and what is not removed and should."""

from __future__ import annotations

from tests.harness.mutants.mutant import Mutant, Simulation, Test

__all__ = ["MUTANTS"]

_RETENTION = "tests/unit/checkpoint/test_retention.py"
_STORE = "tests/unit/storage/test_store.py"
_STAGING = "tests/unit/storage/test_staging.py"
_REMOVALS = "tests/concurrency/test_removals.py"

MUTANTS = (
    Mutant(
        "a cleanup may remove the newest checkpoint",
        "a training starts again from an older one",
        "checkpoint/retention.py",
        '        yield ordered[-1].id, "latest"\n',
        "        pass\n",
        (Test(_RETENTION),),
    ),
    Mutant(
        "a cleanup may remove the newest verified checkpoint",
        "nothing is left that is known to be intact",
        "checkpoint/retention.py",
        '        yield verified[-1].id, "newest verified"\n',
        "        pass\n",
        (Test(_RETENTION),),
    ),
    Mutant(
        "a cleanup may remove the best checkpoint",
        "the best model is lost",
        "checkpoint/retention.py",
        '        yield winner.id, "best"\n',
        "        pass\n",
        (Test(_RETENTION),),
    ),
    Mutant(
        "a cleanup may remove what is pinned",
        "a checkpoint is lost that its user protected",
        "checkpoint/retention.py",
        '            yield checkpoint.id, "pinned"\n',
        "            pass\n",
        (Test(_RETENTION),),
    ),
    Mutant(
        "a cleanup may remove what is being read",
        "a reader loses its checkpoint",
        "checkpoint/retention.py",
        "        if checkpoint.id in in_use:\n",
        "        if False:\n",
        (Test(_RETENTION),),
    ),
    Mutant(
        "newest is by step and not by order of commit",
        "a run that starts again loses its newest checkpoint",
        "checkpoint/retention.py",
        "key=lambda c: c.seq)",
        "key=lambda c: c.step)",
        (Test(_RETENTION),),
    ),
    Mutant(
        "a cleanup may remove everything",
        "a wrong policy leaves nothing",
        "checkpoint/retention.py",
        "    if not plan.kept:\n",
        "    if False:\n",
        (Test("tests/crash/test_mutants.py::test_a_plan_that_keeps_nothing_is_not_carried_out"),),
    ),
    Mutant(
        "a deletion does not ask whether somebody reads",
        "a reader loses its checkpoint",
        "storage/trash.py",
        "        with _unless_moved(source, entry), owned_alone(source):  # 1\n",
        "        with contextlib.nullcontext():\n",
        (Test(f"{_STORE}::test_what_is_being_read_is_not_deleted"),),
    ),
    Mutant(
        "a removal for good does not ask whether somebody reads",
        "a reader loses its checkpoint",
        "storage/trash.py",
        "            with _unread(entry.checkpoint), storage_errors(",
        "            with storage_errors(",
        (Test(_STORE),),
    ),
    Mutant(
        "a removal for good begins without being marked",
        "half a checkpoint can be restored after a kill",
        "storage/trash.py",
        "                real_path.rename(entry.directory, doomed)\n",
        "                doomed = entry.directory\n",
        (Simulation("a cleanup for good"),),
    ),
    Mutant(
        "a restore replaces what is in its place",
        "a checkpoint is lost to an older one",
        "storage/trash.py",
        "                _native.rename_noreplace(entry.checkpoint, target)\n",
        "                remove_tree(target)\n                os.rename(entry.checkpoint, target)\n",
        (Test(f"{_STORE}::test_a_restore_never_replaces"),),
    ),
    Mutant(
        "a commit replaces what has appeared in its place",
        "two writers of one path: the second takes the first one's place",
        "storage/commit.py",
        "        _native.rename_noreplace(staging.path, target)\n",
        "        os.rename(staging.path, target)\n",
        (Test("tests/crash/test_mutants.py::test_a_commit_does_not_replace_what_has_just_appeared"),),
    ),
    Mutant(
        "recovery removes the staging directories of live writers",
        "a save fails because another process starts",
        "storage/staging.py",
        "            if fd is not None and _is_alive(fd, owner):\n",
        "            if False:\n",
        (Test(_STAGING),),
    ),
    Mutant(
        "recovery leaves the staging directories of dead writers",
        "each crash takes the space of a checkpoint for ever",
        "storage/store.py",
        "            reclaimed=self.staging.reclaim(), finished",
        "            reclaimed=(), finished",
        (Simulation("a save"),),
    ),
    Mutant(
        "recovery removes what it does not know",
        "a checkpoint whose manifest was lost cannot be looked at any more",
        "storage/store.py",
        "        self._remove_temporaries()\n        return",
        "        self._remove_temporaries()\n"
        "        for item in self._without_manifest():\n"
        '            __import__("shutil").rmtree(os.path.join(self.root, item.path))\n'
        "        return",
        (Test(f"{_STORE}::test_a_scan_reports_what_it_cannot_trust_and_touches_nothing"),),
    ),
    Mutant(
        "recovery leaves removals unfinished",
        "what was to be removed takes its space for ever",
        "storage/store.py",
        "finished=self.trash.recover(), quarantined",
        "finished=(), quarantined",
        (Simulation("a cleanup for good"),),
    ),
    Mutant(
        "recovery does not adopt what the catalog lacks",
        "a checkpoint that is there is not offered",
        "checkpoint/workspace.py",
        "        self.catalog.remove(info.id)  # it may be known at another place, from which somebody has moved it\n"
        "        self.catalog.add(info)\n",
        "",
        (Test("tests/unit/checkpoint/test_manager.py::test_what_the_catalog_missed_is_adopted"),),
    ),
    Mutant(
        "a removal goes on with what was taken back and pinned",
        "a checkpoint is lost that its user protected",
        "checkpoint/cleaning.py",
        "            if now.state is not CheckpointState.TRASHED:\n",
        "            if False:\n",
        (Test(f"{_REMOVALS}::test_what_is_taken_back_and_pinned_while_it_is_being_removed_stays"),),
    ),
    Mutant(
        "a removal does not look what was said since the plan",
        "the best checkpoint, or the only intact one, is lost",
        "checkpoint/cleaning.py",
        "            if not agrees(",
        "            if False and not agrees(",
        (Test(f"{_REMOVALS}::test_what_something_is_said_of_after_the_plan_stays"),),
    ),
    Mutant(
        "what is in the trash is called lost",
        "a checkpoint that could be restored is not offered",
        "checkpoint/workspace.py",
        "            elif self._is_found_again(info):\n                continue\n",
        "",
        (Test(f"{_REMOVALS}::test_what_a_killed_remover_left_in_the_trash_is_not_lost_but_can_be_restored"),),
    ),
    Mutant(
        "a name is claimed by the clock alone",
        "a clock that is set back keeps a name where it was",
        "checkpoint/remarks.py",
        "        return utc_now() if claim is None else max(utc_now(), claim + _MOMENT)\n",
        "        return utc_now()\n",
        (Test("tests/concurrency/test_remarks.py::test_a_clock_that_was_set_back_moves_a_name_all_the_same"),),
    ),
)
