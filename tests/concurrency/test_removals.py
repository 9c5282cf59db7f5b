"""Removals and restorations, with another process at work exactly in between."""

from __future__ import annotations

import contextlib
import os
import threading
from datetime import timedelta

import pytest

import model_checkpoint as mc
from model_checkpoint import _native
from model_checkpoint.checkpoint.cleaning import Janitor
from model_checkpoint.checkpoint.keep import Keep
from model_checkpoint.checkpoint.remarks import Remarks
from model_checkpoint.errors import CheckpointError
from model_checkpoint.storage import trash
from model_checkpoint.utils import real_path
from tests.harness.meanwhile import agreed, locks_of_others, meanwhile

pytestmark = pytest.mark.concurrency

DAY = timedelta(days=1)


@pytest.fixture
def victim(workspace):
    """The oldest checkpoint, which a cleanup has chosen."""
    return workspace.catalog.list("exp")[-1]


def janitor_of(workspace, trash_for=DAY):
    return Janitor(workspace, lambda _: None, trash_for)


# --- a removal, and somebody who compares catalog and files -----------------------------------------------------------


def test_who_reconciles_in_the_middle_of_a_removal_takes_nothing_for_lost(workspace, other, victim, monkeypatch):
    """Before the directory moves it may be taken back; after that, nobody says that it is lost."""
    states = []

    def look():
        with locks_of_others():
            other.reconcile("exp")
        states.append(other.catalog.get(victim.id).state)

    meanwhile(monkeypatch, workspace.store, "delete", before=look, after=look)
    janitor_of(workspace).remove(victim, "test")
    assert states == [mc.CheckpointState.TRASHED] * 2
    assert agreed(workspace)[victim.id].state is mc.CheckpointState.TRASHED


def test_what_is_taken_back_and_pinned_while_it_is_being_removed_stays(workspace, other, victim, monkeypatch):
    """Another process took the remover for dead, and its user pinned the checkpoint; it was removed all the same."""
    janitor = janitor_of(workspace, timedelta(0))
    pinned = []

    def take_back_and_pin():
        other.reconcile("exp")
        pinned.append(Remarks(other).pin(victim, pinned=True))

    meanwhile(monkeypatch, janitor, "_doom", after=take_back_and_pin)
    with pytest.raises(mc.CheckpointInUseError):
        janitor.remove(victim, "test")
    assert agreed(workspace)[victim.id] == pinned[0]
    assert pinned[0].pinned


def test_a_pin_while_the_directory_moves_is_refused_or_heeded(workspace, other, victim, monkeypatch):
    """Nobody is told that something is pinned which is on its way to the trash."""

    def pin():
        with pytest.raises(CheckpointError):
            Remarks(other).pin(victim, pinned=True)

    meanwhile(monkeypatch, _native, "rename_noreplace", before=pin, after=pin)
    janitor_of(workspace).remove(victim, "test")
    assert workspace.catalog.get(victim.id).state is mc.CheckpointState.TRASHED


NEWS = {
    "that it is the best": lambda remarks, it: remarks.attach_metrics(it, {"loss": 0.0}),
    "that it is intact": lambda remarks, it: remarks.set_verified(it, it.created_at),
    "that it stays": lambda remarks, it: remarks.pin(it, pinned=True),
    "its name": lambda remarks, it: remarks.set_alias(it, "good"),
    "anything else": lambda remarks, it: remarks.tag(it, {"a": "b"}),
}


@pytest.mark.parametrize("news", NEWS)
def test_what_something_is_said_of_after_the_plan_stays(workspace, other, victim, news):
    """The plan did not know: a value that makes it the best, a verification that makes it the newest intact one."""
    janitor = janitor_of(workspace)
    plan = janitor.plan(workspace.catalog.get_experiment("exp"), Keep.last(1))
    assert victim in plan.removed
    NEWS[news](Remarks(other), victim)
    janitor.carry_out(plan, "exp")
    assert [info.step for info in workspace.catalog.list("exp")] == [2, 0]


def test_nan_does_not_keep_a_checkpoint_for_ever(workspace, victim):
    """NaN differs from itself: compared naively, something would have been said of it each time."""
    bad = Remarks(workspace).attach_metrics(victim, {"loss": float("nan")})
    janitor_of(workspace).remove(workspace.catalog.get(bad.id), "test")
    assert workspace.catalog.get(victim.id).state is mc.CheckpointState.TRASHED


def test_two_removers_of_one_checkpoint_do_not_bring_it_back(workspace, other, victim, monkeypatch):
    """The second found the first one's lock, took it for a reader's, and said that the checkpoint was there again."""
    states, second = [], janitor_of(other)

    def remove_too():
        with locks_of_others(), contextlib.suppress(mc.CheckpointInUseError):
            second.remove(victim, "test")
        states.append(other.catalog.get(victim.id).state)

    meanwhile(monkeypatch, _native, "rename_noreplace", before=remove_too)
    janitor_of(workspace).remove(victim, "test")
    assert states == [mc.CheckpointState.TRASHED]
    assert agreed(workspace)[victim.id].state is mc.CheckpointState.TRASHED
    with pytest.raises(mc.CheckpointNotFoundError):
        second.remove(victim, "test")


def test_what_cannot_be_trusted_is_not_removed_by_an_older_plan(workspace, other, victim):
    """It was found damaged after the plan; such a thing is never removed automatically."""
    other.catalog.set_state(victim.id, mc.CheckpointState.QUARANTINED)
    with pytest.raises(mc.CheckpointNotFoundError, match="quarantined"):
        janitor_of(workspace).remove(victim, "test")
    assert os.path.isdir(os.path.join(workspace.store.root, victim.path))


@pytest.mark.parametrize("known", [mc.CheckpointState.COMMITTED, mc.CheckpointState.TRASHED])
def test_what_a_killed_remover_left_in_the_trash_is_not_lost_but_can_be_restored(workspace, victim, known):
    """The catalog has not heard of the move: the process was killed after it, or the catalog is an older copy."""
    workspace.store.delete(victim, keep=DAY)
    workspace.catalog.set_state(victim.id, known)
    workspace.reconcile("exp")
    assert agreed(workspace)[victim.id].state is mc.CheckpointState.TRASHED
    assert janitor_of(workspace).restore(victim.id) == victim
    assert agreed(workspace)[victim.id] == victim


# --- a restoration ----------------------------------------------------------------------------------------------------


def test_who_reconciles_in_the_middle_of_a_restoration_changes_nothing(workspace, other, victim, monkeypatch):
    """Whatever it sees between the rename and the row, the checkpoint is there afterwards, as it was."""
    janitor_of(workspace).remove(victim, "test")

    def look():
        with locks_of_others():
            other.reconcile("exp")

    meanwhile(monkeypatch, _native, "rename_noreplace", before=look, after=look)
    assert janitor_of(workspace).restore(victim.id) == victim
    assert agreed(workspace)[victim.id] == victim


def test_a_restoration_and_a_removal_in_its_middle_agree(workspace, other, victim, monkeypatch):
    """Somebody adopts what is coming back and begins to remove it: it is in one place, and the catalog says which."""
    janitor_of(workspace).remove(victim, "test")

    def remove_again():
        with locks_of_others():
            other.reconcile("exp")
            janitor_of(other).remove(victim, "test")

    meanwhile(monkeypatch, _native, "rename_noreplace", after=remove_again)
    with contextlib.suppress(mc.CheckpointNotFoundError):
        janitor_of(workspace).restore(victim.id)
    agreed(workspace)


# --- the end of what is in the trash ----------------------------------------------------------------------------------


@pytest.fixture
def expired(workspace, victim):
    """A checkpoint in the trash that may be deleted for good at any time, with something said of it."""
    Remarks(workspace).tag(victim, {"a": "b"})
    victim = workspace.catalog.get(victim.id)
    workspace.store.delete(victim, keep=timedelta(0))
    workspace.reconcile("exp")
    return victim


def test_what_is_restored_while_it_is_deleted_for_good_stays_in_the_catalog(workspace, other, expired, monkeypatch):
    """The deletion had found it in the trash, marked an entry that was empty by then, and yet removed its row."""
    moved, purged, restored = threading.Event(), threading.Event(), []

    def wait_for_the_purge():
        moved.set()
        assert purged.wait(60)

    meanwhile(monkeypatch, _native, "rename_noreplace", after=wait_for_the_purge)
    thread = threading.Thread(target=lambda: restored.append(janitor_of(other).restore(expired.id)))

    def wait_for_the_move():
        if not moved.is_set():
            thread.start()
            assert moved.wait(60)

    meanwhile(monkeypatch, real_path, "rename", before=wait_for_the_move)
    meanwhile(monkeypatch, workspace.store, "purge_expired", after=purged.set)
    try:
        workspace.purge_expired()
    finally:
        purged.set()
        thread.join()
    assert restored == [expired]
    assert agreed(workspace)[expired.id] == expired


def test_what_was_said_of_a_checkpoint_outlives_an_entry_that_it_has_left(workspace, other, expired, monkeypatch):
    """It was restored and removed again before its first entry was deleted, with the annotation that it still needs."""

    def restore_and_remove_again():
        entry = other.store.trash.find(expired.id)
        if entry.directory.endswith(first):
            os.rename(entry.checkpoint, os.path.join(other.store.root, expired.path))  # and no more: killed
            other.store.delete(expired, keep=DAY)

    first = os.path.basename(workspace.store.trash.find(expired.id).directory)
    meanwhile(monkeypatch, trash, "_unread", before=restore_and_remove_again)
    workspace.purge_expired()
    assert dict(workspace.store.annotation(expired).tags) == {"a": "b"}
    workspace.reconcile("exp")
    assert janitor_of(workspace).restore(expired.id) == expired


def test_who_restores_what_has_just_been_deleted_for_good_is_told(workspace, other, expired, monkeypatch):
    """It was said that the file system had failed."""
    meanwhile(monkeypatch, _native, "rename_noreplace", before=other.store.purge_expired)
    with pytest.raises(mc.CheckpointNotFoundError):
        janitor_of(workspace).restore(expired.id)
    workspace.reconcile("exp")
    assert expired.id not in agreed(workspace)
