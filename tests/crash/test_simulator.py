"""Power cuts on a simulated disk that does only what POSIX promises: `tests.harness.simulator`."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import model_checkpoint as mc
from model_checkpoint.errors import StorageError
from model_checkpoint.storage import durable, trash
from model_checkpoint.storage.store import Store
from tests.harness.sample_store import manager, save_one
from tests.harness.simulator.campaign import BROKEN, NAMES
from tests.harness.simulator.cuts import Systematic
from tests.harness.simulator.disk import WHOLE, Content, Disk, Part, Writing
from tests.harness.simulator.operations import Create, Remove, Rename, Resize, Sync, Write
from tests.harness.simulator.recording import unavailable

pytestmark = pytest.mark.crash

REPOSITORY = Path(__file__).parents[2]


# --- the store --------------------------------------------------------------------------------------------------------


def start(names, *options):
    """A process that tries power cuts in some operations."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.harness.simulator", *map(str, options), *names]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outcome_of(process):
    output, errors = process.communicate()
    assert process.returncode in {0, BROKEN}, errors[-3000:]
    return json.loads(output)


def test_power_cuts_lose_nothing_that_was_acknowledged(trials, evidence):
    """Whatever of the unsynced reaches the disk, in whatever order: all acknowledged is there, and nothing half."""
    if reason := unavailable():
        pytest.skip(reason)
    cuts, followed, repeated = (trials(ci=ci, proof=proof, full=full) for ci, proof, full in EFFORT)
    options = ["--cuts", cuts, "--followed", followed, "--repeated", repeated]
    count = len(os.sched_getaffinity(0)) * trials(
        ci=1, proof=2, full=2
    )  # of different length: let none wait at the end
    running = [start(NAMES[number::count], *options) for number in range(count)]
    outcomes = [outcome_of(process) for process in running]

    kinds = {kind: sum(outcome["states"].get(kind, 0) for outcome in outcomes) for kind in outcomes[0]["states"]}
    violations = sum(outcome["violations"] for outcome in outcomes)
    recoveries = sum(outcome["recoveries"] for outcome in outcomes)
    evidence(
        threat="a power cut at any moment on a disk that does no more than POSIX promises: what is not synced is lost, "
        "reordered or torn",
        promise="What was acknowledged is there and loads bit for bit, nothing is half visible, the catalog opens, "
        "leftovers go and the next save works.",
        trials=sum(kinds.values()),
        unit="distinct states of the disk",
        violations=violations,
        detail=f"{', '.join(f'{number} after {kind}' for kind, number in kinds.items())}; recovery ran for each of the "
        f"{recoveries} that differ in files or in what SQLite reads from the catalog; {len(NAMES)} operations, each "
        f"recorded as system calls, and at most {cuts} power cuts after each of these",
    )
    assert violations == 0, "\n\n".join(problem for outcome in outcomes for problem in outcome["problems"])
    assert all(outcome["problems"] == {} for outcome in outcomes)


EFFORT = ((3, 20, 350), (0, 1, 6), (0, 1, 3))
"""Power cuts at each moment; kills and power cuts in each operation after which another one goes on."""


def test_each_sync_of_a_save_is_needed():
    """If any one of them had promised nothing, some power cut would take back or tear what was acknowledged."""
    if reason := unavailable():
        pytest.skip(reason)
    noticed = outcome_of(start(["a save"], "--omit-syncs"))["omitted"]
    assert noticed == {**dict.fromkeys(noticed, True), **NOT_NEEDED}
    assert sum(noticed.values()) >= 7


NOT_NEEDED = {
    "": False,  # for the case that whoever created the root was killed before this
    "runs/.staging": False,  # finds out whether directories can be synced
    "runs/exp/.annotations": False,  # the next one of the same directory does its work as well
    # The former holder of an alias loses it. If that is lost, the newer claim still wins.
    "runs/exp/.annotations/.mckpt-*.tmp (2)": False,
    "runs/exp/.annotations (2)": False,
}
"""Syncs of a save without which nothing is lost."""


# --- the disk ---------------------------------------------------------------------------------------------------------


def disk_after(*operations, tree=None):
    disk = Disk(tree or {})
    for operation in operations:
        disk.apply(operation)
    return disk


def possible(disk):
    """All that a power cut may leave, by the systematic cuts."""
    trees = [disk.after_cut(cut.of(disk.pending)) for cut in Systematic(disk.pending)]
    return {tuple(sorted((path, content and content.data) for path, content in tree.items())) for tree in trees}


NEW_FILE = (Create("d", is_directory=True), Sync("", 1), Create("d/f", is_directory=False), Write("d/f", 0, b"x"))


def test_a_synced_file_may_have_no_name():
    """Only a sync of its directory gives it one."""
    nameless, named = disk_after(*NEW_FILE, Sync("d/f", 4)), disk_after(*NEW_FILE, Sync("d/f", 4), Sync("d", 5))
    assert possible(nameless) == {(("d", None),), (("d", None), ("d/f", b"x"))}
    assert possible(named) == {(("d", None), ("d/f", b"x"))}


def test_a_name_may_have_no_bytes():
    """A synced directory says nothing of its files: they may be empty, or as long as they should be and zero."""
    disk = disk_after(*NEW_FILE, Sync("d", 4))
    assert possible(disk) == {(("d", None), ("d/f", data)) for data in (b"", b"\0", b"x")}


def test_what_lies_in_a_directory_without_a_name_is_lost():
    """A sync of a directory does not make its own name durable."""
    disk = disk_after(NEW_FILE[0], *NEW_FILE[2:], Sync("d/f", 3), Sync("d", 4))
    assert possible(disk) == {(), (("d", None), ("d/f", b"x"))}


RENAMED = {"a": None, "b": None, "a/f": Content(b"f")}


@pytest.mark.parametrize("synced", [("a",), ("b",), ("a", "b")])
def test_a_rename_needs_both_directories(synced):
    """Until both are synced it may be undone, but it is never half done."""
    disk = disk_after(Rename("a/f", "b/f"), *(Sync(directory, 1) for directory in synced), tree=RENAMED)
    old, new = ((("a", None), ("a/f", b"f"), ("b", None)), (("a", None), ("b", None), ("b/f", b"f")))
    assert possible(disk) == ({new} if len(synced) == 2 else {old, new})


def test_a_sync_promises_nothing_of_what_began_after_it():
    """Two threads: a write that ended while a sync was under way may be lost."""
    disk = disk_after(Write("f", 0, b"new"), Sync("f", 0), tree={"f": Content(b"old")})
    assert (("f", b"old"),) in possible(disk)


def test_a_removed_file_may_be_back():
    """Removals are pending like all else."""
    disk = disk_after(Remove("a/f"), Remove("a"), tree=RENAMED)
    assert (("a", None), ("a/f", b"f"), ("b", None)) in possible(disk)
    assert (("b", None),) in possible(disk)


def test_changes_are_reordered():
    """The later of two writes may reach the disk without the earlier one, and a cut without either."""
    operations = (Write("f", 0, b"1"), Write("f", 1, b"2"), Resize("f", 1))
    found = {dict(tree)["f"] for tree in possible(disk_after(*operations, tree={"f": Content(b"--")}))}
    assert found == {b"--", b"1-", b"-2", b"12", b"-", b"1"}


def test_writes_are_torn_at_sectors_and_pages():
    """Any sector may be missing; what a file grew by may be zero."""
    disk = disk_after(Write("f", 100, b"x" * 10_000), tree={"f": Content(b"-" * 5000)})
    found = {dict(tree)["f"] for tree in possible(disk)}
    assert b"-" * 5000 in found
    assert b"-" * 100 + b"x" * 10_000 in found
    assert b"-" * 100 + b"x" * 412 + b"-" * 4488 in found  # the first sector alone
    assert b"-" * 4096 + b"x" * 6004 in found  # all pages but the first
    assert b"-" * 5000 + bytes(5100) in found  # only the size
    assert len(found) > 15


def test_parts_of_writes_are_what_was_written():
    """Whatever is kept of a write stands where it was written."""
    disk = disk_after(Write("f", 3, b"abcdef"), tree={"f": Content(b"")})
    (change,) = disk.pending
    assert isinstance(change, Writing)
    contents = [disk.after_cut([(change, part)])["f"] for part in (WHOLE, Part(((1, 3),), grows=False), Part(()))]
    assert [content and content.data for content in contents] == [b"\0\0\0abcdef", b"\0\0\0\0bc", bytes(9)]


# --- what it has found ------------------------------------------------------------------------------------------------


@pytest.fixture
def synced(monkeypatch):
    """The directories that are synced, in order."""
    found = []
    monkeypatch.setattr(durable._native, "sync_directory", found.append)
    return found


def test_a_root_that_a_killed_process_created_is_made_durable(tmp_path, synced):
    """It was killed before it synced the parent: all that is saved later would hang on a name that may be lost."""
    (tmp_path / "runs").mkdir()
    Store(tmp_path / "runs")
    assert synced == [str(tmp_path)]


def test_annotations_that_a_killed_process_wrote_are_made_durable_before_they_count(tmp_path, synced):
    """It was killed before it synced them: the catalog would have an alias that a power cut takes back."""
    (tmp_path / "runs/exp/.annotations").mkdir(parents=True)
    Store(tmp_path / "runs").settle("exp")
    assert str(tmp_path / "runs/exp/.annotations") in synced


def test_what_a_killed_process_moved_to_the_trash_is_settled_before_it_is_deleted(tmp_path, synced, monkeypatch):
    """It was killed before it synced the move: a power cut would bring the checkpoint back without its files."""
    with manager(str(tmp_path / "runs"), trash_for_s=1e-6) as ckpts:
        for step in range(3):  # the first one is the best
            save_one(ckpts, step, block=True)
        ckpts.prune(dry_run=False, keep=mc.Keep.last(1))
    monkeypatch.setattr(trash, "remove_tree", lambda path: synced.append(f"remove {path}"))
    synced.clear()
    store = Store(tmp_path / "runs")
    (entry,) = store.purge_expired()
    doomed = f"{entry.directory}.deleting"
    before = synced[: synced.index(f"remove {doomed}/{Path(entry.path).name}")]
    assert {store.trash.directory, doomed, str(tmp_path / "runs/exp")} <= set(before)


def test_a_checkpoint_that_a_killed_process_brought_back_is_settled_before_it_counts(tmp_path, synced):
    """The trash is the other end of its rename."""
    (tmp_path / "runs/exp").mkdir(parents=True)
    (tmp_path / "runs/.trash/entry").mkdir(parents=True)
    Store(tmp_path / "runs").settle("exp")
    assert str(tmp_path / "runs/.trash/entry") in synced


def test_a_parent_that_cannot_be_opened_is_no_obstacle(tmp_path, monkeypatch):
    """Whoever may not read the directory above the root can still use the store."""

    def refuse(path):
        raise StorageError("cannot open the directory", path=path, errno=errno.EACCES)

    (tmp_path / "runs").mkdir()
    monkeypatch.setattr(durable._native, "sync_directory", refuse)
    assert Store(tmp_path / "runs").root == str(tmp_path / "runs")
