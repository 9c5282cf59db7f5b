"""Points of metrics in the catalog, and the list of segments that hold the older ones."""

from __future__ import annotations

import math
import sqlite3
from functools import partial

import pytest
from sqlalchemy import event

from model_checkpoint.database import Catalog, MetricTable, metric_batch
from model_checkpoint.database.metric_table import SeriesKey
from model_checkpoint.database.records import SegmentInfo
from model_checkpoint.errors import CatalogDamagedError, CatalogError
from tests.unit.database.samples import make_earlier_catalog, make_experiment

LOSS, ACCURACY = SeriesKey("loss", "train"), SeriesKey("accuracy")


@pytest.fixture
def table(catalog):
    catalog.add_experiment(make_experiment("gpt2"))
    return MetricTable(catalog)


def segment(points, name="points-1-2-0123456789abcdef.parquet"):
    return SegmentInfo(f"gpt2/.metrics/{name}", "gpt2", points, 0, 9, 100, "0" * 64)


def named(table, experiment="gpt2"):
    """What the table holds, with series by their keys, without ids, and with None for NaN."""
    series = table.series(experiment)
    rows = [[None if math.isnan(value) else value for value in row] for row in table.points(experiment).tolist()]
    return [(series[number], *rest) for _, number, *rest in rows]


def test_points_come_back_in_order(table):
    """Of each series in the order in which they were added, whatever their steps; NaN is NULL, infinities are kept."""
    table.append("gpt2", {LOSS: [(5, 1.5, 10, None), (3, math.nan, 11, 0.5)], ACCURACY: [(5, math.inf, 10, None)]})
    table.append("gpt2", {LOSS: [(4, 0.25, 12, 0.75)]})
    assert named(table) == [
        (LOSS, 5, 1.5, 10, None),
        (LOSS, 3, None, 11, 0.5),
        (ACCURACY, 5, math.inf, 10, None),
        (LOSS, 4, 0.25, 12, 0.75),
    ]
    assert table.count("gpt2") == 4
    for limit, count in ((0, 0), (1, 3), (3, 3), (4, 4), (5, 4)):  # what was added together stays together
        assert len(table.points("gpt2", limit=limit)) == count


@pytest.mark.parametrize("count", [1, 99, 100, 101, 250])
def test_however_many_points_are_added_at_once_they_come_back_as_they_were(table, monkeypatch, count):
    """They are in as many rows as it takes."""
    monkeypatch.setattr(metric_batch, "_PIECE", 100)
    values = [0.1, math.nan, -math.inf, -0.0, 5e-324, 1.7976931348623157e308]
    points = [(2**62 + n, values[n % 6], 1_700_000_000_000_000 + n, n / 3 if n % 4 else None) for n in range(count)]
    table.append("gpt2", {LOSS: points})
    known = [(step, None if math.isnan(value) else value, *rest) for step, value, *rest in points]
    assert [tuple(rest) for _, *rest in named(table)] == known
    assert table.points("gpt2")["id"].tolist() == list(range(1, count + 1))
    assert [str(value) for value in table.points("gpt2")["value"]] == [str(value) for _, value, *_ in points]
    assert table.count("gpt2") == count
    assert len(table.points("gpt2", limit=1)) == min(count, 100)
    assert table.list_segment(segment(count), first_id=1, last_id=count)
    assert table.points("gpt2").size == 0


def test_many_points_take_no_more_statements_than_few(catalog, table):
    """The thread that adds or reads them would ask the training loop for the interpreter's lock at each."""
    statements = []
    event.listen(catalog.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))

    def taken(count):
        statements.clear()
        table.append("gpt2", {LOSS: [(n, 0.5, n, None) for n in range(count)], ACCURACY: [(0, 0.5, 0, None)]})
        table.points("gpt2")
        return list(statements)

    taken(1)  # makes the series
    assert taken(10_000) == taken(1)


def test_series_are_told_apart_by_name_split_and_tags(table):
    """Each has a number of its own, which does not change."""
    keys = [LOSS, SeriesKey("loss"), SeriesKey("loss", "train", '{"a":"b"}')]
    table.append("gpt2", {key: [(0, 0.0, 0, None)] for key in keys})
    before = table.series("gpt2")
    table.append("gpt2", {key: [(1, 0.0, 0, None)] for key in reversed(keys)})
    assert table.series("gpt2") == before
    assert set(before.values()) == set(keys)


def test_an_unknown_experiment_is_refused(table):
    """Nothing is added to an experiment that the catalog does not know."""
    with pytest.raises(CatalogError, match="'vit', which the catalog does not know"):
        table.append("vit", {LOSS: [(0, 1.0, 0, None)]})
    assert table.count("vit") == 0


def test_points_of_experiments_are_apart(catalog, table):
    """An experiment has its own points, under the same names too."""
    catalog.add_experiment(make_experiment("vit"))
    table.append("gpt2", {LOSS: [(0, 1.0, 0, None)]})
    table.append("vit", {LOSS: [(0, 2.0, 0, None)]})
    assert named(table, "vit") == [(LOSS, 0, 2.0, 0, None)]


def test_listing_a_segment_deletes_its_points(table):
    """What a segment holds is in the table no more; ids are never given out again."""
    table.append("gpt2", {LOSS: [(0, 1.0, 0, None), (1, 2.0, 0, None)]})
    assert table.list_segment(segment(2), first_id=1, last_id=2)
    assert table.segments("gpt2") == (segment(2),)
    assert table.count("gpt2") == 0
    table.append("gpt2", {LOSS: [(2, 3.0, 0, None)]})
    assert table.points("gpt2")["id"].tolist() == [3]


@pytest.mark.parametrize("points", [1, 3])
def test_a_segment_of_other_points_is_not_listed(table, points):
    """If the table does not hold exactly the segment's points, nothing changes."""
    table.append("gpt2", {LOSS: [(0, 1.0, 0, None), (1, 2.0, 0, None)]})
    assert not table.list_segment(segment(points), first_id=1, last_id=2)
    assert table.segments() == ()
    assert table.count("gpt2") == 2


def test_points_of_others_stay_when_a_segment_is_listed(catalog, table):
    """Ids of one experiment lie between those of another one; only its own points go."""
    catalog.add_experiment(make_experiment("vit"))
    for step in range(3):
        table.append("gpt2", {LOSS: [(step, 1.0, 0, None)]})
        table.append("vit", {LOSS: [(step, 2.0, 0, None)]})
    assert table.list_segment(segment(3), first_id=1, last_id=5)
    assert table.count("gpt2") == 0
    assert table.count("vit") == 3


def test_segments_are_replaced_together_or_not_at_all(table):
    """One that is not listed any more keeps the others as they are."""
    old = [segment(1, f"points-{n}-{n}-0123456789abcdef.parquet") for n in (1, 2)]
    for number, one in enumerate(old, start=1):
        table.append("gpt2", {LOSS: [(number, 1.0, 0, None)]})
        assert table.list_segment(one, first_id=number, last_id=number)
    new = segment(2)
    assert not table.replace_segments([*old, segment(1, "points-3-3-0123456789abcdef.parquet")], new)
    assert table.segments() == tuple(old)
    assert table.replace_segments(old, new)
    assert table.segments() == (new,)


def test_adopting_makes_series_and_keeps_ids_apart(table):
    """A segment of a lost catalog is listed with its series; the points that come have ids above its own."""
    adopt = partial(table.adopt_segment, segment(2), keys=[LOSS, ACCURACY], last_id=1000, held=(), replaced=())
    assert not adopt(expected=["gpt2/.metrics/another.parquet"])
    assert table.segments() == ()
    assert adopt(expected=[])
    assert set(table.series("gpt2").values()) == {LOSS, ACCURACY}
    assert table.count("gpt2") == 0
    table.append("gpt2", {LOSS: [(0, 1.0, 0, None)]})
    assert table.points("gpt2")["id"].tolist() == [1001]


def test_adopting_deletes_single_points_of_what_was_added_together(table):
    """Those that the segment holds, too; the others can be moved afterwards, and those of others stay."""
    table.append("gpt2", {LOSS: [(n, n / 2, n, None) for n in range(10)]})
    table.append("gpt2", {LOSS: [(10, 5.0, 10, None)]})
    held = [2, 3, 7, 9, 10, 12]
    assert table.adopt_segment(segment(6), keys=[LOSS], last_id=12, held=held, replaced=(), expected=[])
    points = table.points("gpt2")
    assert points["id"].tolist() == [1, 4, 5, 6, 8, 11]
    assert points["value"].tolist() == [0.0, 1.5, 2.0, 2.5, 3.5, 5.0]
    assert table.count("gpt2") == 6
    moved = segment(5, "points-1-8-0123456789abcdef.parquet")
    assert table.list_segment(moved, first_id=1, last_id=8)
    assert table.points("gpt2")["id"].tolist() == [11]
    table.append("gpt2", {LOSS: [(11, 1.0, 0, None)]})
    assert table.points("gpt2")["id"].tolist() == [11, 13]


@pytest.mark.parametrize("data", [b"x", b"x" * 49, "text", 5])
def test_a_forged_batch_is_damage_of_the_catalog(catalog, table, data):
    """What nobody has written is no array of points."""
    with catalog.write() as connection:
        row = {"id": 1, "experiment": "gpt2", "points": 1, "data": data}
        statement = "INSERT INTO metrics VALUES (:id, :experiment, :points, :data)"
        connection.exec_driver_sql(statement, row)
    with pytest.raises(CatalogDamagedError, match="metrics holds an impossible value"):
        table.points("gpt2")


def test_a_rebuilt_catalog_keeps_points_and_segments(catalog, table):
    """No manifest knows them: a rebuild leaves them alone, with their experiment."""
    table.append("gpt2", {LOSS: [(0, 1.0, 0, None)]})
    table.list_segment(segment(1), first_id=1, last_id=1)
    table.append("gpt2", {LOSS: [(1, 1.0, 0, None)]})
    catalog.rebuild((), ())
    assert table.segments() == (segment(1),)
    assert table.count("gpt2") == 1


FIRST_POINTS = """
INSERT INTO experiments (name, created_at, config) VALUES ('gpt2', 0, '{}');
INSERT INTO metrics (experiment, name, step, value, time, context) VALUES
    ('gpt2', 'loss', 7, 0.5, 11, '{}'), ('gpt2', 'acc', 7, NULL, 12, '{}'), ('gpt2', 'loss', 3, 1.5, 13, '{}')
"""


def test_points_of_the_first_schema_are_kept(tmp_path):
    """A catalog of the first revision is upgraded with all its points."""
    make_earlier_catalog(tmp_path, "0001", FIRST_POINTS)
    with Catalog.open(tmp_path) as catalog:
        assert named(MetricTable(catalog)) == [
            (SeriesKey("loss"), 7, 0.5, 11, None),
            (SeriesKey("acc"), 7, None, 12, None),
            (SeriesKey("loss"), 3, 1.5, 13, None),
        ]
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


LATER_POINTS = """
INSERT INTO experiments (name, created_at, config) VALUES ('gpt2', 0, '{}'), ('vit', 0, '{}');
INSERT INTO series VALUES (1, 'gpt2', 'loss', 'train', '{"host":"a"}'), (2, 'vit', 'acc', '', '{}');
INSERT INTO metrics (id, series, step, value, time, epoch) VALUES
    (4, 1, 7, 0.5, 11, NULL), (5, 2, 7, NULL, 12, 1.5), (6, 1, 3, 9e999, 13, 2.5), (90, 2, 3, 0.0, 13, 2.5);
DELETE FROM metrics WHERE id = 90
"""


def test_points_in_rows_of_their_own_are_packed(tmp_path):
    """A catalog from before that is upgraded with all its points, their ids, and those that were given out before."""
    make_earlier_catalog(tmp_path, "0004", LATER_POINTS)
    with Catalog.open(tmp_path) as catalog:
        table, of_a = MetricTable(catalog), SeriesKey("loss", "train", '{"host":"a"}')
        assert named(table) == [(of_a, 7, 0.5, 11, None), (of_a, 3, math.inf, 13, 2.5)]
        assert named(table, "vit") == [(SeriesKey("acc"), 7, None, 12, 1.5)]
        assert table.points("gpt2")["id"].tolist() == [4, 6]
        table.append("vit", {SeriesKey("acc"): [(8, 1.0, 0, None)]})
        assert table.points("vit")["id"].tolist() == [5, 91]
        assert table.list_segment(segment(2), first_id=4, last_id=6)
