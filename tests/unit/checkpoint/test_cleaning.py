"""Removing and restoring, where something happens in between."""

import contextlib
from datetime import timedelta

import pytest
import torch

import model_checkpoint as mc
from model_checkpoint.checkpoint.cleaning import Janitor
from model_checkpoint.checkpoint.keep import Keep
from model_checkpoint.checkpoint.remarks import Remarks
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database import Catalog
from model_checkpoint.errors import CatalogBusyError


@pytest.fixture
def workspace(tmp_path):
    with mc.CheckpointManager(tmp_path / "runs", experiment="exp") as ckpts:
        ckpts.track(weight=torch.zeros(10))
        for step in range(3):
            ckpts.save(step)
    with Workspace.open(tmp_path / "runs") as opened:
        yield opened


def janitor_of(workspace, **options):
    events = []
    return Janitor(workspace, events.append, **options), events


def plan_of(janitor, workspace, keep):
    return janitor.plan(workspace.catalog.get_experiment("exp"), keep)


def steps(workspace):
    return [info.step for info in workspace.catalog.list("exp")]


def test_what_somebody_began_to_read_after_the_plan_stays(workspace):
    """A reader that came between plan and removal keeps its checkpoint, in the store and in the catalog."""
    janitor, events = janitor_of(workspace)
    plan = plan_of(janitor, workspace, Keep.last(1))
    reader = workspace.store.open(plan.removed[0])
    janitor.carry_out(plan, "exp")
    assert steps(workspace) == [2, 0]
    assert workspace.catalog.get(plan.removed[0].id) == plan.removed[0]
    assert [event.checkpoint.step for event in events[1:]] == [1]
    del reader


def test_what_somebody_else_removed_after_the_plan_is_no_error(workspace):
    """Two cleanups with the same plan remove everything once."""
    janitor, _ = janitor_of(workspace)
    plan = plan_of(janitor, workspace, Keep.last(1))
    janitor.carry_out(plan, "exp")
    janitor.carry_out(plan, "exp")
    assert steps(workspace) == [2]


def test_a_directory_that_is_gone_does_not_count_as_kept(workspace, tmp_path):
    """If the newest directory has vanished, the newest that is there is protected in its stead."""
    import shutil

    newest = workspace.catalog.latest("exp")
    shutil.rmtree(workspace.store.directory(newest))
    janitor, _ = janitor_of(workspace)
    plan = plan_of(janitor, workspace, Keep.none())
    assert [(d.checkpoint.step, d.reasons) for d in plan.decisions] == [(0, ()), (1, ("latest",))]
    assert workspace.catalog.get(newest.id).state is mc.CheckpointState.LOST


def test_a_trashed_checkpoint_is_the_same_in_catalog_and_store(workspace):
    """What waits in the trash is found there by both, and comes back as it was."""
    janitor, _ = janitor_of(workspace, trash_for=timedelta(hours=1))
    plan = plan_of(janitor, workspace, Keep.last(2))
    janitor.carry_out(plan, "exp")
    trashed = workspace.catalog.list("exp", states=(mc.CheckpointState.TRASHED,))
    assert trashed == tuple(c for c in workspace.store.scan().checkpoints if c.state is mc.CheckpointState.TRASHED)
    before = workspace.catalog.list("exp", states=tuple(mc.CheckpointState))
    workspace.rebuild()
    assert workspace.catalog.list("exp", states=tuple(mc.CheckpointState)) == before
    assert janitor.restore(trashed[0].id) == plan.removed[0]
    assert steps(workspace) == [2, 1, 0]


def test_what_has_expired_goes_when_the_store_is_opened(workspace, tmp_path):
    """The trash is emptied of what has waited long enough, and the catalog forgets it."""
    janitor, _ = janitor_of(workspace, trash_for=timedelta(microseconds=1))
    janitor.carry_out(plan_of(janitor, workspace, Keep.last(2)), "exp")
    with Workspace.open(tmp_path / "runs") as again:
        assert again.store.trash.entries() == ()
        assert again.catalog.list("exp", states=(mc.CheckpointState.TRASHED,)) == ()


def test_forced_removals_say_so_in_the_audit_log(workspace):
    """The log tells what was removed, why, and that somebody forced it."""
    janitor, _ = janitor_of(workspace)
    plan = plan_of(janitor, workspace, Keep.last(2))
    janitor.carry_out(plan, "exp", force=True)
    entry = workspace.catalog.history(plan.removed[0].id)[0]
    assert (entry.action, dict(entry.details)) == ("trash", {"reason": "not kept by last(2) (forced)"})


def test_what_is_said_while_a_checkpoint_comes_back_is_kept(workspace, monkeypatch):
    """Another process that sees the restored checkpoint and tags it at once is not overwritten by the restore."""
    janitor, _ = janitor_of(workspace, trash_for=timedelta(days=1))
    (victim, *_) = plan_of(janitor, workspace, Keep.last(1)).removed
    janitor.remove(victim, "test")
    other = Workspace(workspace.store, Catalog.open(workspace.store.root, busy_timeout=0.05))
    describe = workspace.describe

    def tag():
        other.reconcile("exp")
        Remarks(other).tag(victim, {"team": "blue"})

    def describe_and_let_the_other_tag(path):
        found = describe(path)
        with contextlib.suppress(CatalogBusyError):  # it waits until the restore is over
            tag()
        return found

    monkeypatch.setattr(workspace, "describe", describe_and_let_the_other_tag)
    janitor.restore(victim.id)
    if not workspace.store.annotation(victim).tags:
        tag()
    assert dict(other.catalog.get(victim.id).tags) == dict(workspace.store.annotation(victim).tags) == {"team": "blue"}


def test_a_name_does_not_go_to_a_checkpoint_on_its_way_to_the_trash(workspace, monkeypatch):
    """Whoever names a checkpoint that is being removed is told so, and the one that had the name keeps it."""
    janitor, _ = janitor_of(workspace, trash_for=timedelta(days=1))
    remarks = Remarks(workspace)
    holder, _, victim = workspace.catalog.list("exp")
    remarks.set_alias(holder, "good")
    annotate = workspace.store.annotate

    def annotate_and_let_it_be_removed(info, change):
        said = annotate(info, change)
        janitor.remove(info, "test")
        return said

    monkeypatch.setattr(workspace.store, "annotate", annotate_and_let_it_be_removed)
    with pytest.raises(mc.CheckpointNotFoundError):
        remarks.set_alias(victim, "good")
    assert workspace.catalog.resolve("good", "exp").id == holder.id
