"""Points are in the catalog or in one segment, exactly once, whatever happens."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_checkpoint.analytics import compaction, engine
from model_checkpoint.analytics.compaction import Compactor
from model_checkpoint.analytics.engine import Engine
from model_checkpoint.analytics.segment import points_table, read_replaced, read_segment, write_segment
from model_checkpoint.database import Catalog, MetricTable
from model_checkpoint.database.metric_table import SeriesKey
from model_checkpoint.errors import CatalogDamagedError, CatalogError, CorruptionError, FormatError
from model_checkpoint.types import ExperimentInfo
from model_checkpoint.utils.clock import utc_now

LOSS = SeriesKey("loss", "train", '{"host":"a"}')
ACCURACY = SeriesKey("accuracy")


class Store:
    """A root with a catalog, and what has been logged into it."""

    def __init__(self, root):
        self.root = str(root)
        self.logged = Counter()
        self.open()

    def open(self):
        self.catalog = Catalog.open(self.root)
        self.catalog.add_experiment(ExperimentInfo("exp", utc_now()))
        self.table = MetricTable(self.catalog)
        self.compactor = Compactor(self.root, self.table)

    def log(self, steps, key=LOSS):
        points = [(step, math.nan if step % 5 == 0 else step / 3, 1_000_000 + step, step / 10) for step in steps]
        self.table.append("exp", {key: points})
        self.logged.update((key.name, step) for step in steps)

    def found(self):
        """What a reader sees: how often there is each point."""
        sql = "SELECT name, step FROM points"
        rows = Engine(self.root, self.catalog).run(sql, experiments=["exp"]).to_pylist()
        return Counter((row["name"], row["step"]) for row in rows)

    def check(self):
        assert self.found() == self.logged

    def segments(self):
        return sorted(path.name for path in (self.directory).iterdir() if path.suffix == ".parquet")

    @property
    def directory(self):
        return Path(self.root, "exp", ".metrics")


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path)
    yield made
    made.catalog.close()


def test_points_move_with_all_they_have(store):
    """Name, split, tags, step, value, time and epoch are the same before and after; NaN is NaN."""
    store.log([3, 5, 1])
    store.log([2], ACCURACY)
    engine, sql = Engine(store.root, store.catalog), "SELECT * FROM points ORDER BY id"
    before = engine.run(sql, experiments=["exp"])
    done = store.compactor.compact("exp")
    assert (done.points, len(done.segments)) == (4, 1)
    assert store.table.count("exp") == 0
    after = engine.run(sql, experiments=["exp"])
    assert after.column_names == before.column_names
    for name in after.column_names:
        if name in {"value", "epoch"}:
            np.testing.assert_array_equal(after[name].to_numpy(), before[name].to_numpy())
        else:
            assert after[name].to_pylist() == before[name].to_pylist(), name
    assert after["tags"].to_pylist()[0] == LOSS.tags
    assert np.isnan(after["value"].to_numpy()).tolist() == [False, True, False, False]


def test_few_points_stay_where_they_are(store):
    """Nothing moves below the number that was asked for."""
    store.log(range(10))
    assert store.compactor.compact("exp", least=11).points == 0
    assert store.table.count("exp") == 10


def test_of_several_that_would_compact_alone_only_one_does(store, monkeypatch):
    """The others leave it to the one that is at it, and find nothing to do afterwards."""
    store.log(range(20))
    other, told = Compactor(store.root, store.table), []
    list_segment = MetricTable.list_segment

    def meanwhile(*args, **kwargs):
        told.append(other.compact_alone("exp"))
        return list_segment(*args, **kwargs)

    monkeypatch.setattr(MetricTable, "list_segment", meanwhile)
    assert store.compactor.compact_alone("exp").points == 20
    assert told == [None]
    assert other.compact_alone("exp").points == 0
    store.log([20])
    assert other.compact_alone("exp", least=2).points == 0
    assert other.compact_alone("exp").points == 1
    assert told == [None, None]
    store.check()


def test_a_child_that_is_forked_during_a_compaction_keeps_nobody_from_the_next(store, monkeypatch):
    """Its copy of the lock's descriptor would hold the lock for as long as it lives."""
    store.log(range(20))
    list_segment, (reading, writing) = MetricTable.list_segment, os.pipe()
    children = []

    def meanwhile(*args, **kwargs):
        children.append(os.fork())
        if not children[-1]:
            os.close(writing)
            os.read(reading, 1)  # until the parent closes its end
            os._exit(0)
        return list_segment(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MetricTable, "list_segment", meanwhile)
        store.compactor.compact_alone("exp")
    store.log([20])
    assert store.compactor.compact_alone("exp").points == 1
    os.close(writing)
    os.close(reading)
    assert [os.waitpid(child, 0)[1] for child in children] == [0]


def test_a_segment_is_plain_parquet_and_sorted(store):
    """Others read it without us; each series lies together, by step."""
    store.log([5, 3, 4])
    store.log([9, 1], ACCURACY)
    store.log([2])
    (segment,) = store.compactor.compact("exp").segments
    table = pq.read_table(f"{store.root}/{segment.path}")
    rows = list(zip(table["name"].to_pylist(), table["step"].to_pylist(), strict=True))
    assert rows == [("accuracy", 1), ("accuracy", 9), ("loss", 2), ("loss", 3), ("loss", 4), ("loss", 5)]
    assert (segment.first_step, segment.last_step, segment.points) == (1, 9, 6)


@pytest.mark.parametrize("dies", ["write_segment", "list", "listed"])
def test_a_compaction_that_dies_anywhere_loses_and_doubles_nothing(store, monkeypatch, dies):
    """Before the segment is listed the points are the catalog's; after it they are the segment's."""
    store.log(range(20))
    store.log(range(7), ACCURACY)
    list_segment = MetricTable.list_segment

    def fail(*_args, **_kwargs):
        raise CatalogError("died")

    def fail_after(*args, **kwargs):
        list_segment(*args, **kwargs)
        fail()

    with monkeypatch.context() as patch:
        if dies == "write_segment":
            patch.setattr(compaction, "write_segment", fail)
        else:
            patch.setattr(MetricTable, "list_segment", fail if dies == "list" else fail_after)
        with pytest.raises(CatalogError, match="died"):
            store.compactor.compact("exp")
    store.check()
    store.log(range(20, 25))
    store.compactor.compact("exp")
    store.check()
    assert store.table.count("exp") == 0


def test_somebody_who_was_faster_costs_nothing(store, monkeypatch):
    """Two compactors take the same points: one segment is listed, the other one removed."""
    store.log(range(20))
    original = write_segment

    def overtaken(*args, **kwargs):
        monkeypatch.setattr(compaction, "write_segment", original)
        Compactor(store.root, MetricTable(store.catalog)).compact("exp")
        return original(*args, **kwargs)

    monkeypatch.setattr(compaction, "write_segment", overtaken)
    assert store.compactor.compact("exp").points == 0
    store.check()
    assert len(store.segments()) == 1


def test_points_that_arrive_meanwhile_stay(store, monkeypatch):
    """What is logged while a segment is written is in the catalog afterwards."""
    store.log(range(20))
    original = write_segment

    def delayed(*args, **kwargs):
        monkeypatch.setattr(compaction, "write_segment", original)
        store.log(range(20, 30))
        return original(*args, **kwargs)

    monkeypatch.setattr(compaction, "write_segment", delayed)
    store.compactor.compact("exp", least=15)
    assert store.table.count("exp") == 10
    store.check()


@pytest.mark.parametrize("dies", [None, "replace", "remove"])
def test_small_segments_are_merged(store, monkeypatch, dies):
    """Eight make one; a merge that dies loses and doubles nothing, and its leftovers go."""
    for number in range(8):
        store.log(range(number * 10, number * 10 + 10))
        if number < 7:
            store.compactor.compact("exp")
    if dies is None:
        assert store.compactor.compact("exp").merged == 8
    else:
        place, name = {
            "replace": (MetricTable, "replace_segments"),
            "remove": (compaction, "remove_segment"),
        }[dies]

        def fail(*_args, **_kwargs):
            raise CatalogError("died")

        with monkeypatch.context() as patch:
            patch.setattr(place, name, fail)
            with pytest.raises(CatalogError):
                store.compactor.compact("exp")
        store.check()
        store.compactor.settle("exp")
    store.check()
    assert len(store.segments()) == 1
    assert len(store.table.segments("exp")) == 1


def test_a_lost_catalog_loses_only_what_it_held_alone(store, tmp_path):
    """A new catalog finds the segments; new points get ids of their own."""
    store.log(range(10))
    store.compactor.compact("exp")
    store.log([77])
    store.catalog.close()
    (tmp_path / "catalog.db").unlink()
    store.open()
    assert store.compactor.settle("exp") == ()
    del store.logged["loss", 77]
    store.check()
    store.log(range(10, 20))
    store.compactor.compact("exp")
    store.check()
    ids = Engine(store.root, store.catalog).run("SELECT id FROM points", experiments=["exp"])["id"].to_pylist()
    assert len(set(ids)) == len(ids)


def test_a_catalog_that_was_rolled_back_doubles_nothing(store, tmp_path):
    """An older copy of the catalog holds points that are in segments by now: they are told by their content."""
    store.log(range(10))
    store.catalog.close()
    shutil.copy(tmp_path / "catalog.db", tmp_path / "older")
    store.open()
    store.compactor.compact("exp")
    store.log(range(10, 20))
    store.compactor.compact("exp")
    store.catalog.close()
    shutil.copy(tmp_path / "older", tmp_path / "catalog.db")
    store.open()
    store.compactor.settle("exp")
    store.check()
    assert store.table.count("exp") == 0


def test_a_damaged_segment_is_named_and_the_rest_is_readable(store):
    """Every flipped bit is found when a segment is read whole; a segment that nobody listed is left alone."""
    store.log(range(10))
    store.compactor.compact("exp")
    path = store.directory / store.segments()[0]
    raw = bytearray(path.read_bytes())
    for position in range(0, len(raw) * 8, 37):
        raw[position // 8] ^= 1 << position % 8
        path.write_bytes(raw)
        with pytest.raises(CorruptionError, match=path.name):
            read_segment(store.root, f"exp/.metrics/{path.name}")
        raw[position // 8] ^= 1 << position % 8
    other = path.with_name(path.name.replace("points-1-", "points-2-"))
    other.write_bytes(bytes(raw[:100]))
    path.write_bytes(raw)
    assert store.compactor.settle("exp") == (f"exp/.metrics/{other.name}",)
    assert other.exists()
    store.check()


def test_a_segment_with_the_right_digest_of_a_footer_that_is_no_parquet_is_refused(store):
    """Arrow's own OSError about what it cannot decode is a broken rule, not a failing disk."""
    store.log(range(10))
    store.compactor.compact("exp")
    raw = bytearray((store.directory / store.segments()[0]).read_bytes())
    raw[-200:-8] = b"\xff" * 192
    path = store.directory / f"points-1-10-{hashlib.sha256(raw).hexdigest()[:16]}.parquet"
    path.write_bytes(raw)
    for read in (read_segment, read_replaced):
        with pytest.raises(FormatError, match="no segment of metrics"):
            read(store.root, f"exp/.metrics/{path.name}")


def test_a_segment_of_another_experiment_or_version_is_refused(store):
    """A segment says whose it is, and how to read it."""
    store.log([1])
    table = points_table(store.table.points("exp"), store.table.series("exp"))
    (store.directory.parent.parent / "vit" / ".metrics").mkdir(parents=True)
    store.directory.mkdir(parents=True)
    segment = write_segment(store.root, "vit", table)
    moved = store.directory / segment.path.rpartition("/")[2]
    shutil.copy(f"{store.root}/{segment.path}", moved)
    with pytest.raises(FormatError, match="of experiment 'vit'"):
        read_segment(store.root, f"exp/.metrics/{moved.name}")


def test_a_listed_segment_that_is_gone_is_named(store):
    """No query silently answers from less than there is."""
    store.log(range(10))
    store.compactor.compact("exp")
    name = store.segments()[0]
    (store.directory / name).unlink()
    with pytest.raises(CorruptionError, match=name):
        store.found()


def test_a_segment_whose_points_another_compactor_has_moved_is_removed(store):
    """It was written, and never listed, by one that was overtaken and died: its points count once."""
    store.log(range(20))
    points = store.table.points("exp")
    table = points_table(points, store.table.series("exp"))
    store.compactor.compact("exp")
    write_segment(store.root, "exp", table.slice(5))  # the same points, in another segment
    assert len(store.segments()) == 2
    assert store.compactor.settle("exp") == ()
    store.check()
    assert len(store.segments()) == 1


def test_a_segment_with_points_that_are_nowhere_else_is_kept_as_far_as_that(store):
    """Some of its points are in a listed segment: only the others are listed, in a segment of their own."""
    store.log(range(10))
    store.directory.mkdir(parents=True)
    hot = store.table.points("exp")
    store.log(range(10, 20))
    whole = points_table(store.table.points("exp"), store.table.series("exp"))
    store.table.list_segment(
        write_segment(store.root, "exp", points_table(hot, store.table.series("exp"))), first_id=1, last_id=10
    )
    write_segment(store.root, "exp", whole)
    with store.catalog.write() as connection:
        connection.exec_driver_sql("DELETE FROM metrics")
    store.compactor.settle("exp")
    store.check()
    assert sorted(segment.points for segment in store.table.segments("exp")) == [10, 10]
    assert len(store.segments()) == 2


def test_a_segment_that_is_being_listed_may_be_adopted_by_another_compactor(store, monkeypatch):
    """Whoever comes second finds it listed, and nothing is doubled or removed."""
    store.log(range(20))
    list_segment = MetricTable.list_segment

    def overtaken(*args, **kwargs):
        monkeypatch.setattr(MetricTable, "list_segment", list_segment)
        Compactor(store.root, store.table).settle("exp")
        return list_segment(*args, **kwargs)

    monkeypatch.setattr(MetricTable, "list_segment", overtaken)
    store.compactor.compact("exp")
    store.check()
    assert len(store.segments()) == 1


def test_an_adoption_that_is_overtaken_begins_again(store, monkeypatch):
    """The owner lists it, and merges it away, between the look at the list and the adoption."""
    for number in range(7):
        store.log(range(number * 10, number * 10 + 10))
        store.compactor.compact("exp")
    store.log(range(70, 80))
    points = store.table.points("exp")
    segment = write_segment(store.root, "exp", points_table(points, store.table.series("exp")))
    adopt = MetricTable.adopt_segment

    def overtaken(*args, **kwargs):
        monkeypatch.setattr(MetricTable, "adopt_segment", adopt)
        assert store.table.list_segment(segment, first_id=int(points["id"][0]), last_id=int(points["id"][-1]))
        store.log([80])
        store.compactor.compact("exp")
        return adopt(*args, **kwargs)

    monkeypatch.setattr(MetricTable, "adopt_segment", overtaken)
    Compactor(store.root, store.table).settle("exp")
    store.check()
    assert len(store.segments()) == len(store.table.segments("exp"))


def test_a_point_of_no_series_is_damage_of_the_catalog(store):
    """Whoever has edited the catalog is told so: it has no name, and must not get another one's."""
    store.log(range(5))
    store.log([1], ACCURACY)
    with store.catalog.write() as connection:
        connection.exec_driver_sql("DELETE FROM series WHERE id = 1")
    for read in (store.found, lambda: store.compactor.compact("exp")):
        with pytest.raises(CatalogDamagedError, match="a point of no series"):
            read()


def test_an_unlisted_segment_beside_a_damaged_one_is_left_alone(store):
    """Nobody can tell whether its points are in the damaged one."""
    store.log(range(20))
    table = points_table(store.table.points("exp"), store.table.series("exp"))
    store.compactor.compact("exp")
    (listed,) = store.segments()
    other = write_segment(store.root, "exp", table.slice(5))
    sound = (store.directory / listed).read_bytes()
    (store.directory / listed).write_bytes(b"x" * len(sound))
    assert store.compactor.settle("exp") == (other.path,)
    (store.directory / listed).unlink()
    assert store.compactor.settle("exp") == (other.path,)
    (store.directory / listed).write_bytes(sound)
    assert store.compactor.settle("exp") == ()
    store.check()


@pytest.mark.parametrize("moment", ["_define_points", "answer"])
def test_segments_that_are_merged_while_they_are_asked_are_asked_again(store, monkeypatch, moment):
    """They are gone when DuckDB looks for them: before the statement, or in the middle of it."""
    for number in range(7):
        store.log(range(number * 10, number * 10 + 10))
        store.compactor.compact("exp")
    store.log(range(70, 80))
    place = engine.Engine if moment == "_define_points" else engine
    original = getattr(place, moment)

    def overtaken(*args, **kwargs):
        monkeypatch.setattr(place, moment, original)
        store.compactor.compact("exp")
        return original(*args, **kwargs)

    monkeypatch.setattr(place, moment, overtaken)
    store.check()
    assert len(store.segments()) == 1


def test_a_merged_segment_that_was_overtaken_by_another_merge_is_removed(store):
    """It replaces some segments that are still listed, and some that were merged into another one meanwhile."""
    for number in range(4):
        store.log(range(number * 10, number * 10 + 10))
        store.compactor.compact("exp")
    old = store.table.segments("exp")
    tables = [read_segment(store.root, one.path).table for one in old]
    names = [one.path.rpartition("/")[2] for one in old]

    def merged(count):
        table = pa.concat_tables(tables[:count]).unify_dictionaries()
        return write_segment(store.root, "exp", table, replaces=names[:count])

    overtaken, faster = merged(4), merged(2)
    assert store.table.replace_segments(old[:2], faster)
    store.check()
    assert store.compactor.settle("exp") == ()
    store.check()
    assert overtaken.path.rpartition("/")[2] not in store.segments()
    assert len(store.segments()) == len(store.table.segments("exp")) == 3
