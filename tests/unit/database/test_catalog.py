"""What the catalog is told comes back, and nothing else changes."""

from __future__ import annotations

import dataclasses
import math
import sqlite3
from datetime import timedelta, timezone

import pytest

from model_checkpoint.database import AuditEntry, Catalog, Listing, MetricTable
from model_checkpoint.database.metric_table import SeriesKey
from model_checkpoint.errors import CatalogError, CheckpointNotFoundError, ConfigurationError
from model_checkpoint.types import CheckpointState
from tests.unit.database.samples import START, make_experiment, make_info

FULL = make_info(
    7,
    metrics={"accuracy": 0.5, "loss": 1.25},
    state=CheckpointState.QUARANTINED,
    backend="pytorch",
    parent="f" * 32,
    pinned=True,
    aliases=("best-so-far", "v1"),
    tags={"host": "node-1", "note": "zwölf ♞"},
    verified_at=START,
)
POINTS = {SeriesKey("loss"): [(1, 1.0, 0, None)]}


def dump(root):
    """All rows of all tables, by rowid or primary key."""
    connection = sqlite3.connect(root / "catalog.db")
    try:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for name in names}
    finally:
        connection.close()


def test_every_field_comes_back(catalog):
    """A checkpoint comes back equal in every field."""
    catalog.add(FULL)
    assert catalog.get(FULL.id) == FULL


def test_times_keep_their_moment_in_any_zone(catalog):
    """A time in another zone comes back as the same moment in UTC, to the microsecond."""
    there = START.astimezone(timezone(timedelta(hours=-7)))
    catalog.add(make_info(1, created_at=there))
    found = catalog.get(make_info(1).id).created_at
    assert found == there
    assert found.utcoffset() == timedelta(0)


def test_nan_and_infinities_come_back(catalog):
    """NaN and infinite metrics come back as themselves."""
    catalog.add(make_info(1, metrics={"a": math.nan, "b": math.inf, "c": -math.inf}))
    found = catalog.get(make_info(1).id).metrics
    assert math.isnan(found["a"])
    assert (found["b"], found["c"]) == (math.inf, -math.inf)


def test_adding_twice_changes_nothing(catalog, tmp_path):
    """A checkpoint that is added again, with the same digest, is left as it is."""
    catalog.add(FULL)
    before = dump(tmp_path)
    catalog.add(dataclasses.replace(FULL, pinned=False, metrics={}, state=CheckpointState.COMMITTED))
    assert dump(tmp_path) == before


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (dataclasses.replace(FULL, digest="0" * 64), "is known with digest"),
        (dataclasses.replace(make_info(8), seq=FULL.seq), "seq 7 .* belongs to"),
        (dataclasses.replace(make_info(8), path=FULL.path), "path .* belongs to"),
    ],
)
def test_conflicts_are_refused_as_a_whole(catalog, tmp_path, other, message):
    """A checkpoint that contradicts a known one is refused, and so is everything added with it."""
    catalog.add(FULL)
    before = dump(tmp_path)
    with pytest.raises(CatalogError, match=message):
        catalog.add(make_info(9), other)
    assert dump(tmp_path) == before


def test_an_unknown_experiment_is_added_without_settings(catalog):
    """A checkpoint of an experiment that the catalog does not know brings the experiment along."""
    info = make_info(1, experiment="bert")
    catalog.add(info)
    assert catalog.get_experiment("bert") == make_experiment("bert", created_at=info.created_at)


def test_next_seq_continues_after_the_highest_known(catalog):
    """A number of the commit order is never given out twice, nor below one that was added."""
    assert [catalog.next_seq(), catalog.next_seq()] == [1, 2]
    catalog.add(make_info(10))
    catalog.add(make_info(5))
    assert catalog.next_seq() == 11


def test_list_is_newest_first_by_commit_order(catalog):
    """Lists go by commit order, not by step or time, and hold committed checkpoints only unless told otherwise."""
    old, new = make_info(1, step=900, created_at=START + timedelta(days=9)), make_info(2, step=1)
    trashed, other = make_info(3, state=CheckpointState.TRASHED), make_info(4, experiment="bert")
    catalog.add(new, old, trashed, other)
    assert catalog.list("gpt2") == (new, old)
    assert catalog.list() == (other, new, old)
    assert catalog.list(limit=2) == (other, new)
    assert catalog.list("gpt2", states=tuple(CheckpointState)) == (trashed, new, old)
    assert catalog.list("gpt2", states=(CheckpointState.TRASHED,)) == (trashed,)
    assert catalog.list("vit") == ()


def test_latest_is_the_newest_committed(catalog):
    """The latest checkpoint is the newest committed one, of an experiment or of the store."""
    assert catalog.latest() is None
    first, second = make_info(1), make_info(2, experiment="bert")
    catalog.add(first, second, make_info(3, state=CheckpointState.TRASHED))
    assert catalog.latest() == second
    assert catalog.latest("gpt2") == first
    assert catalog.latest("vit") is None


@pytest.mark.parametrize("mode", ["min", "max"])
def test_nan_and_missing_metrics_never_win(catalog, mode):
    """The best checkpoint is one with a number, whatever NaNs and gaps there are."""
    good = make_info(2, metrics={"loss": 3.0})
    catalog.add(make_info(1, metrics={"loss": math.nan}), good, make_info(3), make_info(4, metrics={"loss": math.nan}))
    assert catalog.best("gpt2", "loss", mode) == good
    assert catalog.best("gpt2", "accuracy", mode) is None


def test_best_goes_by_value_then_by_commit_order(catalog):
    """The smallest or largest number wins, the later of equals, and only among the experiment's committed ones."""
    catalog.add(
        make_info(1, metrics={"loss": 0.5}),
        make_info(2, metrics={"loss": 0.5}),
        make_info(3, metrics={"loss": 9.0}),
        make_info(4, metrics={"loss": 9.0}),
        make_info(5, metrics={"loss": 0.1}, state=CheckpointState.TRASHED),
        make_info(6, metrics={"loss": 0.1}, experiment="bert"),
    )
    assert catalog.best("gpt2", "loss", "min") == catalog.get(make_info(2).id)
    assert catalog.best("gpt2", "loss", "max") == catalog.get(make_info(4).id)


def test_state_pin_and_verification_change_one_column(catalog):
    """Each setter changes its own field of the named checkpoints and nothing else."""
    first, second = make_info(1), make_info(2)
    catalog.add(first, second)
    catalog.set_state(first.id, CheckpointState.LOST)
    catalog.pin([first.id, second.id])
    catalog.unpin(second.id)
    catalog.set_verified(first.id, START)
    expected = dataclasses.replace(first, state=CheckpointState.LOST, pinned=True, verified_at=START)
    assert (catalog.get(first.id), catalog.get(second.id)) == (expected, second)


def test_setters_are_all_or_nothing(catalog):
    """A batch that names an unknown checkpoint raises and changes none of the others."""
    catalog.add(make_info(1))
    with pytest.raises(CheckpointNotFoundError):
        catalog.pin([make_info(1).id, "0" * 32])
    assert not catalog.get(make_info(1).id).pinned


def test_an_alias_moves(catalog):
    """An alias names one checkpoint of an experiment; naming another one moves it."""
    first, second, other = make_info(1), make_info(2), make_info(3, experiment="bert")
    catalog.add(first, second, other)
    for info in (first, other, second):
        catalog.set_alias(info.id, "prod")
    assert [catalog.get(info.id).aliases for info in (first, second, other)] == [(), ("prod",), ("prod",)]
    catalog.remove_alias("gpt2", "prod")
    assert catalog.get(second.id).aliases == ()
    assert catalog.get(other.id).aliases == ("prod",)
    with pytest.raises(CheckpointNotFoundError):
        catalog.remove_alias("gpt2", "prod")


@pytest.mark.parametrize("alias", ["", "latest", "best", "500", "best@x", "a:b", "a/b", "500-1f3a9c2e", "f" * 32, "é"])
def test_an_alias_that_hides_a_reference_is_refused(catalog, alias):
    """What could be read as another kind of reference cannot become an alias."""
    catalog.add(make_info(1))
    with pytest.raises(ConfigurationError):
        catalog.set_alias(make_info(1).id, alias)


def test_tags_and_metrics_are_attached_later(catalog):
    """Tags and metrics are added to a checkpoint, and replace those of the same name."""
    catalog.add(make_info(1, metrics={"loss": 1.0}))
    id_ = make_info(1).id
    catalog.attach_metrics(id_, {"loss": 0.5, "bleu": math.nan})
    catalog.set_tag(id_, "owner", "ann")
    catalog.set_tag(id_, "owner", "bob")
    catalog.set_tag(id_, "note", "x")
    catalog.remove_tag(id_, "note")
    found = catalog.get(id_)
    assert found.metrics["loss"] == 0.5
    assert math.isnan(found.metrics["bleu"])
    assert found.tags == {"owner": "bob"}
    assert catalog.best("gpt2", "loss", "min") is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda catalog, id_: catalog.get(id_),
        lambda catalog, id_: catalog.set_alias(id_, "v1"),
        lambda catalog, id_: catalog.set_tag(id_, "a", "b"),
        lambda catalog, id_: catalog.attach_metrics(id_, {"loss": 1.0}),
        lambda catalog, id_: catalog.set_verified(id_),
        lambda catalog, id_: catalog.set_state(id_, CheckpointState.TRASHED),
    ],
)
def test_an_unknown_checkpoint_is_named(catalog, change):
    """Whatever is done to a checkpoint that does not exist raises, naming it."""
    with pytest.raises(CheckpointNotFoundError, match="1234"):
        change(catalog, "1234")


def test_remove_takes_all_rows_of_a_checkpoint(catalog, tmp_path):
    """Removing a checkpoint leaves no row of it behind, except in the audit log."""
    before = dump(tmp_path)
    catalog.add(FULL)
    catalog.audit("save", checkpoint=FULL.id)
    catalog.remove([FULL.id, "0" * 32])
    after = dump(tmp_path)
    assert len(after.pop("audit_log")) == 1
    assert after.pop("counters") == [("seq", 7)]
    assert after == {name: rows for name, rows in before.items() if name in after}


def test_experiments_keep_their_settings(catalog):
    """An experiment is added once, and changed only by an update."""
    full = make_experiment("bert", monitor="f1", mode="max", keep="last(3)", config={"lr": 0.1, "layers": [1, 2]})
    assert catalog.add_experiment(full) == full
    assert catalog.add_experiment(make_experiment("bert")) == full
    changed = dataclasses.replace(full, keep=None, monitor=None, mode=None)
    catalog.update_experiment(changed)
    assert catalog.get_experiment("bert") == changed
    assert [info.name for info in catalog.experiments()] == ["bert", "gpt2"]
    assert catalog.get_experiment("vit") is None
    with pytest.raises(CatalogError, match="vit"):
        catalog.update_experiment(make_experiment("vit"))


def test_history_is_newest_first(catalog):
    """The audit log comes back newest first, of one checkpoint or of all."""
    catalog.audit("save", checkpoint="a", actor="ann", details={"why": ["last", 3]})
    catalog.audit("doctor")
    newest, oldest = catalog.history()
    assert (newest.action, oldest.action) == ("doctor", "save")
    assert oldest == AuditEntry(oldest.at, "save", "a", "ann", {"why": ["last", 3]})
    assert newest.at >= oldest.at
    assert catalog.history("a") == (oldest,)
    assert catalog.history(limit=1) == (newest,)


def test_several_changes_become_one_transaction(catalog):
    """Methods inside ``write()`` see each other's changes, and an exception undoes all of them."""

    def fail():
        with catalog.write():
            catalog.add(make_info(1))
            catalog.audit("save", checkpoint=make_info(1).id)
            assert catalog.latest() == make_info(1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert catalog.latest() is None
    assert catalog.history() == ()


def test_a_failed_inner_change_leaves_the_outer_ones(catalog):
    """Inside ``write()``, a method that raises undoes what it did itself, and no more."""
    with catalog.write():
        catalog.add(make_info(1))
        with pytest.raises(CheckpointNotFoundError):
            catalog.pin([make_info(1).id, "missing"])
    assert catalog.get(make_info(1).id) == make_info(1)


def test_rebuild_equals_what_single_steps_built(catalog, tmp_path):
    """Rebuilding from what the catalog itself says leaves every table as it was, row for row."""
    catalog.add_experiment(make_experiment("bert", keep="all", config={"a": 1}))
    catalog.add(FULL, make_info(8, metrics={"loss": math.nan}), make_info(9, experiment="bert"))
    catalog.set_alias(make_info(8).id, "v2")
    catalog.set_tag(make_info(9, experiment="bert").id, "k", "v")
    catalog.set_state(make_info(8).id, CheckpointState.TRASHED)
    catalog.pin(make_info(8).id)
    catalog.attach_metrics(make_info(8).id, {"late": math.inf})
    MetricTable(catalog).append("gpt2", POINTS)
    catalog.audit("save", checkpoint=FULL.id)
    before = dump(tmp_path)
    everything = catalog.list(states=tuple(CheckpointState))
    catalog.rebuild(everything, catalog.experiments())
    assert dump(tmp_path) == before


def test_rebuild_from_nothing_equals_the_original(catalog, tmp_path):
    """A new catalog, rebuilt, has the same rows as the lost one, except for series and the audit log."""
    catalog.add(FULL, make_info(8, metrics={"loss": math.nan}), make_info(9, experiment="bert"))
    found, experiments = catalog.list(states=tuple(CheckpointState)), catalog.experiments()
    (tmp_path / "new").mkdir()
    with Catalog.open(tmp_path / "new") as new:
        new.rebuild(found, experiments)
    assert dump(tmp_path / "new") == dump(tmp_path)


def test_rebuild_forgets_what_the_store_does_not_have(catalog):
    """Checkpoints and experiments that a scan did not find are gone after a rebuild; logged series are not."""
    catalog.add(make_info(1), make_info(2, experiment="bert"))
    MetricTable(catalog).append("gpt2", POINTS)
    catalog.rebuild([], [])
    assert catalog.list() == ()
    assert [info.name for info in catalog.experiments()] == ["gpt2"]
    assert MetricTable(catalog).count("gpt2") == 1


def test_rebuild_orders_checkpoints_of_one_seq(catalog):
    """Checkpoints copied from another store keep their order: by seq, then by time."""
    infos = [
        make_info(1),
        make_info(2),
        make_info(2, experiment="bert", created_at=START + timedelta(days=1)),
        make_info(3),
        make_info(9),
    ]
    catalog.rebuild(reversed(infos), [])
    newest_first = catalog.list()
    assert [info.id for info in reversed(newest_first)] == [info.id for info in infos]
    assert [info.seq for info in reversed(newest_first)] == [1, 2, 3, 4, 9]
    assert catalog.next_seq() == 10


def test_a_failed_rebuild_changes_nothing(catalog, tmp_path):
    """A scan that found one id in two places is refused with both paths, and the catalog stays as it was."""
    catalog.add(FULL)
    before = dump(tmp_path)
    with pytest.raises(CatalogError, match=r"copy-of-it.*move one away"):
        catalog.rebuild([make_info(1), dataclasses.replace(make_info(1), path="copy-of-it")], [])
    assert dump(tmp_path) == before


def test_check_passes_a_sound_catalog(catalog):
    """The full check finds nothing in a catalog that is in order."""
    catalog.add(FULL)
    catalog.check()


def test_values_of_all_checkpoints_are_given_as_columns(catalog, tmp_path):
    """In commit order, whatever the values; NaN and what was not measured are None; late values are there, too."""
    losses = [0.5, math.nan, None, -math.inf, 0.25]
    infos = [make_info(seq, metrics={} if loss is None else {"loss": loss}) for seq, loss in enumerate(losses, start=3)]
    catalog.add(*reversed(infos), make_info(20, experiment="vit", metrics={"loss": 9.0}))
    catalog.attach_metrics(infos[2].id, {"loss": 0.75, "acc": 1.0})
    catalog.set_state(infos[4].id, CheckpointState.TRASHED)
    with Listing.open(tmp_path) as listing:
        for lookup in (catalog, listing):
            found = lookup.columns("gpt2", ["loss", "acc"])
            assert list(found.seqs) == [3, 4, 5, 6]
            assert found.values == {"loss": [0.5, None, 0.75, -math.inf], "acc": [None, None, 1.0, None]}
            assert lookup.columns("nothing", ["loss"]).values == {"loss": []}
            everything = lookup.columns("gpt2", [], states=tuple(CheckpointState))
            assert (len(everything.seqs), everything.values) == (5, {})


def test_identities_are_those_of_the_places_that_were_asked_for(catalog, tmp_path):
    """Of few and of many, in whatever state; what is gone, or of another experiment, is not among them."""
    infos = [make_info(seq) for seq in range(1, 202)]
    catalog.add(*infos, make_info(300, experiment="vit"))
    catalog.set_state(infos[0].id, CheckpointState.TRASHED)
    catalog.remove(infos[1].id)
    identity = {info.seq: (info.id, info.step) for info in infos if info.seq != 2}
    with Listing.open(tmp_path) as listing:
        for lookup in (catalog, listing):
            assert lookup.identities("gpt2", []) == {}
            assert lookup.identities("gpt2", [3, 300, 2, 1]) == {seq: identity[seq] for seq in (3, 1)}
            many = lookup.identities("gpt2", range(1, 301))
            assert many == identity
