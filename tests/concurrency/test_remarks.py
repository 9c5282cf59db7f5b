"""Pins, names, tags and late metrics, with another process at work exactly in between."""

from __future__ import annotations

from datetime import timedelta

import pytest
import torch

import model_checkpoint as mc
from model_checkpoint.checkpoint import remarks as module
from model_checkpoint.checkpoint.cleaning import Janitor
from model_checkpoint.checkpoint.remarks import Remarks
from model_checkpoint.utils.clock import utc_now
from tests.harness.meanwhile import agreed, meanwhile

pytestmark = pytest.mark.concurrency


@pytest.fixture
def three(workspace):
    """Checkpoints 0, 1 and 2."""
    return workspace.catalog.list("exp")[::-1]


def holders(workspace, alias):
    """The steps that have a name: by the catalog, and, after a rebuild, by the files."""
    by_catalog = [info.step for info in workspace.catalog.list("exp") if alias in info.aliases]
    agreed(workspace)
    workspace.rebuild()
    by_files = [info.step for info in workspace.catalog.list("exp") if alias in info.aliases]
    assert by_catalog == by_files
    return by_catalog


# --- two who say something of one checkpoint --------------------------------------------------------------------------


SAYINGS = {
    "tag": (lambda remarks, it: remarks.tag(it, {"a": "1"}), lambda remarks, it: remarks.tag(it, {"a": "2"})),
    "pin": (lambda remarks, it: remarks.pin(it, pinned=True), lambda remarks, it: remarks.pin(it, pinned=False)),
    "value": (
        lambda remarks, it: remarks.attach_metrics(it, {"loss": 1.0}),
        lambda remarks, it: remarks.attach_metrics(it, {"loss": 2.0}),
    ),
    "judgement": (
        lambda remarks, it: remarks.set_verified(it, it.created_at),
        lambda remarks, it: remarks.set_damaged(it),
    ),
}


@pytest.mark.parametrize("saying", SAYINGS)
def test_who_comes_to_the_catalog_last_does_not_tell_it_older_news(workspace, other, three, monkeypatch, saying):
    """The first to change the annotation came to the catalog last; the two places differed for good."""
    first, second = SAYINGS[saying]
    meanwhile(monkeypatch, workspace.store, "annotate", after=lambda: second(Remarks(other), three[0]))
    told = first(Remarks(workspace), three[0])
    assert told == agreed(workspace)[three[0].id]
    assert (told.tags.get("a"), told.pinned, told.metrics["loss"], told.verified_at) == {
        "tag": ("2", False, 1.0, None),
        "pin": (None, False, 1.0, None),
        "value": (None, False, 2.0, None),
        "judgement": (None, False, 1.0, None),
    }[saying]


@pytest.fixture
def saving(workspace):
    """Saves step 3 with a tag and a name, by a manager of its own."""
    with mc.CheckpointManager(workspace.store.root, experiment="exp") as ckpts:
        ckpts.track(weight=torch.ones(10))
        yield lambda: ckpts.save(3, tags={"own": "1"}, alias="fresh", block=True).result()


def test_what_others_say_of_a_new_checkpoint_before_its_own_process_is_kept(other, saving, monkeypatch):
    """It is in its place before it is in the catalog: another process adopted it, and said the first of it."""

    def adopt_and_say():
        other.reconcile("exp")
        Remarks(other).tag(other.catalog.latest("exp"), {"theirs": "2"})

    meanwhile(monkeypatch, Remarks, "introduce", before=adopt_and_say)
    saved = saving()
    known = agreed(other)[saved.id]
    assert (dict(known.tags), known.aliases) == ({"own": "1", "theirs": "2"}, ("fresh",))


@pytest.mark.parametrize("trash_for", [timedelta(0), timedelta(days=1)], ids=["for good", "to the trash"])
def test_a_new_checkpoint_that_others_remove_before_it_is_in_the_catalog_stays_away(
    other, saving, monkeypatch, trash_for
):
    """Another process adopted and removed it; its own brought back a row for what was gone."""

    def adopt_and_remove():
        other.reconcile("exp")
        Janitor(other, lambda _: None, trash_for).remove(other.catalog.latest("exp"), "test")

    meanwhile(monkeypatch, Remarks, "introduce", before=adopt_and_remove)
    saving()
    assert [info.step for info in other.catalog.list("exp")] == [2, 1, 0]
    agreed(other)


def test_nothing_is_said_of_what_is_gone(workspace, other, three):
    """An annotation would be left that belongs to nothing."""
    Janitor(other, lambda _: None).remove(three[0], "test")
    with pytest.raises(mc.CheckpointNotFoundError):
        Remarks(workspace).tag(three[0], {"a": "b"})
    assert workspace.store.annotation(three[0]).tags == {}


# --- two who give, move or take one name ------------------------------------------------------------------------------


def test_a_name_that_is_given_back_while_it_moves_stays_there(workspace, other, three, monkeypatch):
    """The one who moved it away took it, as the last step, from where somebody else had put it again."""
    Remarks(workspace).set_alias(three[0], "prod")
    meanwhile(monkeypatch, Remarks, "_drop_alias", before=lambda: Remarks(other).set_alias(three[0], "prod"))
    Remarks(workspace).set_alias(three[1], "prod")
    assert holders(workspace, "prod") == [0]


def test_of_two_who_move_a_name_at_once_the_files_and_the_catalog_believe_the_same(
    workspace, other, three, monkeypatch
):
    """Both have looked who has it; one comes late."""
    Remarks(workspace).set_alias(three[0], "prod")
    meanwhile(monkeypatch, Remarks, "_now", after=lambda: move_once(Remarks(other), three[1]))
    done = []

    def move_once(remarks, to):
        if not done:
            done.append(to)
            with pytest.raises(mc.CatalogBusyError):  # it waits until the other move is complete
                remarks.set_alias(to, "prod")

    assert Remarks(workspace).set_alias(three[2], "prod").aliases == ("prod",)
    assert holders(workspace, "prod") == [2]


def test_a_name_that_moves_while_it_is_taken_away_is_nowhere_or_where_it_was_moved_to(
    workspace, other, three, monkeypatch
):
    """Before the annotations are searched for it, it goes with the others; after that, it is a name given anew."""
    Remarks(workspace).set_alias(three[0], "prod")
    with monkeypatch.context() as patch:
        meanwhile(patch, workspace.store, "withdraw_alias", before=lambda: Remarks(other).set_alias(three[1], "prod"))
        Remarks(workspace).remove_alias("exp", "prod")
    assert holders(workspace, "prod") == []
    Remarks(workspace).set_alias(three[0], "prod")
    meanwhile(monkeypatch, workspace.store, "withdraw_alias", after=lambda: Remarks(other).set_alias(three[1], "prod"))
    Remarks(workspace).remove_alias("exp", "prod")
    assert holders(workspace, "prod") == [1]


def test_a_name_that_is_withdrawn_while_it_moves_is_not_seen_at_its_former_holder(workspace, other, three, monkeypatch):
    """Who had moved it was told so, and yet read the name where it had been before."""
    Remarks(workspace).set_alias(three[0], "prod")
    with monkeypatch.context() as patch:
        meanwhile(patch, workspace.store, "annotate", after=lambda: other.store.withdraw_alias("exp", "prod"))
        Remarks(workspace).set_alias(three[1], "prod")
        assert [info.step for info in workspace.catalog.list("exp") if "prod" in info.aliases] == []
    assert holders(workspace, "prod") == []


def test_a_clock_that_was_set_back_moves_a_name_all_the_same(workspace, three, monkeypatch):
    """The later claim wins, and is later than the one before, whatever the clock says."""
    Remarks(workspace).set_alias(three[0], "prod")
    monkeypatch.setattr(module, "utc_now", lambda: utc_now() - timedelta(days=1))
    Remarks(workspace).set_alias(three[1], "prod")
    assert holders(workspace, "prod") == [1]
