"""What was logged, read back from wherever it is."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import model_checkpoint as mc
from model_checkpoint.analytics import reader as reader_module
from model_checkpoint.analytics.compaction import Compactor
from model_checkpoint.analytics.curve import last_of_each_step
from model_checkpoint.analytics.reader import MetricsReader
from model_checkpoint.analytics.statement import Limits
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database import MetricTable
from model_checkpoint.database.metric_table import SeriesKey
from model_checkpoint.errors import ConfigurationError, MetricNotFoundError, QueryError


def compact(root):
    with MetricsReader.open(root) as reader:
        Compactor(str(root), MetricTable(reader._catalog)).compact("exp")


@pytest.fixture(params=["catalog", "segments", "both"])
def root(tmp_path, request):
    """A store whose metrics are in the catalog, in segments, or in both; a run that was resumed at step 6."""
    with mc.CheckpointManager(tmp_path, experiment="exp", monitor="loss") as ckpts:
        ckpts.track(state={"a": 1})
        for step in range(10):
            ckpts.log(step, loss=10.0 - step, epoch=step / 10)
            ckpts.log(step, loss=20.0 - step, split="val")
        ckpts.save(9, metrics={"loss": 1.0}, tags={"host": "a"}, block=True)
    if request.param != "catalog":
        compact(tmp_path)
    with mc.CheckpointManager(tmp_path, experiment="exp") as ckpts:
        for step in range(6, 12):
            ckpts.log(step, loss=math.nan if step == 7 else 0.5)
    if request.param == "segments":
        compact(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A reader of a store with one segment."""
    root = tmp_path_factory.mktemp("store")
    with mc.CheckpointManager(root, experiment="exp") as ckpts:
        ckpts.log(1, loss=0.5)
    compact(root)
    with MetricsReader.open(root) as reader:
        yield reader


def test_of_several_values_for_a_step_the_last_one_counts(root):
    """A resumed run does some steps again; what it logs then is what happened."""
    with MetricsReader.open(root) as reader:
        steps, values = reader.curve("exp", "loss")
        assert steps.tolist() == list(range(12))
        np.testing.assert_array_equal(values, [10, 9, 8, 7, 6, 5, 0.5, math.nan, 0.5, 0.5, 0.5, 0.5])
        everything = reader.metrics("exp", "loss", split="", duplicates="all")
        assert len(everything) == 16
        columns = everything.to_numpy()
        assert columns["value"][columns["step"] == 8].tolist() == [2, 0.5]


def test_points_are_chosen_by_name_split_and_step(root):
    """A window of one split, and nothing else."""
    with MetricsReader.open(root) as reader:
        found = reader.metrics("exp", "loss", split="val", first_step=3, last_step=5)
        assert found.table.select(["split", "step", "value"]).to_pylist() == [
            {"split": "val", "step": step, "value": 20.0 - step} for step in (3, 4, 5)
        ]
        assert len(reader.metrics("exp")) == 22
        assert reader.metrics("exp", split="").to_numpy()["epoch"][:3].tolist() == [0.0, 0.1, 0.2]


def test_totals_are_of_all_finite_values(root):
    """One row for each series."""
    with MetricsReader.open(root) as reader:
        plain, val = reader.summary("exp").to_pylist()
    counted = [plain[name] for name in ("split", "count", "nonfinite", "last", "last_step")]
    assert counted == ["", 16, 1, 0.5, 11]
    assert (val["min"], val["max"], val["mean"], val["first_step"]) == (11.0, 20.0, 15.5, 0)
    assert val["std"] == pytest.approx(np.std(np.arange(11, 21), ddof=1))


def test_what_was_not_logged_is_named(root):
    """With what there is."""
    with MetricsReader.open(root) as reader:
        with pytest.raises(MetricNotFoundError, match="no metric 'los'; there is loss"):
            reader.metrics("exp", "los")
        with pytest.raises(MetricNotFoundError, match=r"loss\[val\]"):
            reader.curve("exp", "loss", split="test")
        with pytest.raises(ConfigurationError, match="duplicates"):
            reader.metrics("exp", duplicates="first")


def test_sql_sees_experiments_checkpoints_and_metrics(root):
    """One statement over all three."""
    sql = """
        SELECT e.name, e.monitor, c.step, c.metrics['loss'] AS saved, c.tags['host'] AS host, count(m.step) AS points
        FROM experiments e JOIN checkpoints c ON c.experiment = e.name JOIN metrics m ON m.experiment = e.name
        WHERE m.value < ? GROUP BY ALL
    """
    with MetricsReader.open(root) as reader:
        assert reader.query(sql, [5.5]).to_pylist() == [
            {"name": "exp", "monitor": "loss", "step": 9, "saved": 1.0, "host": "a", "points": 10}
        ]


@pytest.mark.parametrize(
    "sql",
    [
        *("", "SELEC 1", "SELECT 1; SELECT 2", "CREATE TABLE x (a INT)", "DROP VIEW metrics", "DELETE FROM metrics"),
        *("INSERT INTO metrics SELECT * FROM metrics", "COPY metrics TO '{outside}'", "ATTACH '{outside}' AS x"),
        *("SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM '/etc/passwd'", "SELECT * FROM glob('/*')"),
        *("SELECT read_text('/etc/passwd')", "INSTALL httpfs", "LOAD httpfs", "SET memory_limit = '99GB'", "PRAGMA x"),
        *(
            "SELECT * FROM read_parquet('http://127.0.0.1:9/x.parquet')",
            "EXPORT DATABASE '{outside}'",
            "CALL pragma_version()",
        ),
        *(
            "EXPLAIN SELECT 1",
            "BEGIN",
            "VACUUM",
            "CHECKPOINT",
            "USE memory",
            "PREPARE x AS SELECT 1",
            "SET threads = 1",
        ),
        *("CREATE SECRET (TYPE s3)", "SELECT * FROM enable_logging()", "FROM sniff_csv('/etc/passwd')"),
        *(
            "SELECT * FROM read_blob('/etc/passwd')",
            "SELECT * FROM parquet_metadata('/etc/passwd')",
            "SELECT * FROM secret",
        ),
        *("SELECT getenv('HOME')", "SELECT error('a.parquet')", "WITH a AS (SELECT 1) INSERT INTO a SELECT 2"),
    ],
)
def test_a_query_reads_and_does_nothing_else(one, tmp_path_factory, sql):
    """Whatever would write, or reach beyond the store, is refused."""
    outside = tmp_path_factory.mktemp("outside") / "x"
    with pytest.raises(QueryError):
        one.query(sql.format(outside=outside))
    assert not outside.exists()


@pytest.mark.parametrize(
    ("sql", "limits", "said"),
    [
        ("SELECT count(*) FROM range(1000000000) a, range(1000000000) b", Limits(seconds=0.2), r"longer than 0\.2 s"),
        ("SELECT list(a.range) FROM range(100000000) a", Limits(memory_bytes=50_000_000), "needs more than"),
        ("SELECT string_agg(range::TEXT, ',') FROM range(100000000)", Limits(memory_bytes=50_000_000), "needs more"),
        (
            "SELECT range, random() r FROM range(20000000) ORDER BY r LIMIT 1 OFFSET 15000000",
            Limits(memory_bytes=50_000_000),
            "needs more than",
        ),
        ("SELECT * FROM range(1000000000)", Limits(memory_bytes=50_000_000), "the answer takes more than"),
    ],
    ids=["cross join", "list", "text", "sort", "answer"],
)
def test_a_query_takes_no_more_than_it_may(one, tmp_path, monkeypatch, sql, limits, said):
    """Time and memory end a query, not the process, and nothing is written to the directory that it runs in."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QueryError, match=said):
        one.query(sql, limits=limits)
    assert list(tmp_path.iterdir()) == []


ENDLESS = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + {} FROM t) SELECT n FROM t"


@pytest.mark.parametrize(
    ("sql", "limits", "said"),
    [
        (ENDLESS.format("n"), Limits(), "the query failed: Out of Range Error: Overflow in addition"),
        (ENDLESS.format("1"), Limits(seconds=0.2), r"longer than 0\.2 s"),
        ("SELECT repeat('x', 1000) FROM range(10000000)", Limits(memory_bytes=1_000_000), "more than 1000000 bytes"),
    ],
    ids=["failure", "time", "memory"],
)
def test_what_goes_wrong_while_rows_arrive_is_said_in_the_same_words(one, sql, limits, said):
    """Arrow's streams bring it as an OSError that has no number."""
    with pytest.raises(QueryError, match=said):
        one.query(sql, limits=limits)


def test_a_query_ends_when_its_user_interrupts_it(one):
    """At once, whatever DuckDB is doing; the next one is answered."""
    impatience = threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT])
    impatience.start()
    with pytest.raises(KeyboardInterrupt):
        one.query("SELECT sleep_ms(600000)", limits=Limits(seconds=600))
    impatience.join()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mckpt-query")]
    assert one.query("SELECT 1 AS a").to_pylist() == [{"a": 1}]


@pytest.mark.parametrize("limits", [{"seconds": 0}, {"seconds": math.nan}, {"memory_bytes": 0}, {"memory_bytes": -1}])
def test_limits_that_allow_nothing_are_refused(limits):
    """At once, by name and number."""
    with pytest.raises(ConfigurationError, match="above 0"):
        Limits(**limits)


@pytest.mark.parametrize("seconds", [1e15, math.inf])
def test_a_query_may_take_forever(one, seconds):
    """Longer than a clock can count."""
    assert one.query("SELECT 1 AS a", limits=Limits(seconds=seconds)).num_rows == 1


def test_columns_of_the_same_name_are_all_there(one):
    """The later ones numbered, as DuckDB numbers them; none takes a name that another one has."""
    names = one.query("SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a").to_pylist()
    assert names == [{"a": 1, "a_1": 2, "a_1_1": 3, "a_2": 4}]


def test_what_does_not_fit_into_memory_is_not_written_anywhere(one):
    """DuckDB's own choice would be a directory beside whatever this process is working on."""
    assert one.query("SELECT current_setting('temp_directory') AS place").to_pylist() == [{"place": ""}]


@pytest.mark.parametrize("name", ["a[1]", "st*r", "q?", "it's", "{x}", "~", "%41"])
def test_the_name_of_a_store_means_nothing_else(tmp_path, name):
    """No pattern of files, no quotation."""
    with Workspace.open(tmp_path / name) as workspace:
        workspace.join("exp", monitor=None, mode="min", keep=None)
        table = MetricTable(workspace.catalog)
        table.append("exp", {SeriesKey("loss"): [(1, 0.5, 1, None)]})
        Compactor(workspace.store.root, table).compact("exp")
    with MetricsReader.open(tmp_path / name) as reader:
        assert len(reader.metrics("exp")) == 1


def test_a_manager_reads_what_it_logs(tmp_path):
    """At once, and as an array, an Arrow table or a frame."""
    with mc.CheckpointManager(tmp_path, experiment="exp") as ckpts:
        ckpts.log(1, loss=0.5)
        assert ckpts.metrics("loss").to_numpy()["value"].tolist() == [0.5]
        assert ckpts.metrics().to_arrow().num_rows == 1
        assert ckpts.collector.aggregate("loss").last == 0.5


def test_the_tokens_of_the_same_split_go_before_those_of_none(tmp_path):
    """Validation has seen others than training; where it has counted none, those of the run count."""
    with mc.CheckpointManager(tmp_path, experiment="exp") as ckpts:
        for step in range(3):
            ckpts.log(step, loss=1.0, tokens=7.0 * step, split="val")
            ckpts.log(step, loss=1.0, split="train")
            ckpts.log(step, tokens=100.0 * step)
    with MetricsReader.open(tmp_path) as reader:
        assert reader.course("exp", "loss", by="tokens", split="val")[0].tolist() == [0, 7, 14]
        assert reader.course("exp", "loss", by="tokens", split="train")[0].tolist() == [0, 100, 200]


@pytest.mark.parametrize("seed", range(5))
def test_a_curve_is_what_a_window_of_the_same_series_is(seed):
    """Steps in order, and of several values for a step the one that was logged last, however files are ordered."""
    rng = np.random.default_rng(seed)
    steps, ids = rng.integers(0, 40, 100), rng.permutation(100)
    values = rng.normal(size=100)
    expected = {
        step: value for _, step, value in sorted(zip(ids.tolist(), steps.tolist(), values.tolist(), strict=True))
    }
    places, found = last_of_each_step(steps, values, ids)
    assert list(zip(places.tolist(), found.tolist(), strict=True)) == sorted(expected.items())


@pytest.mark.parametrize("at_once", [1, 15, 1_000_000])
def test_all_curves_are_those_of_each_series(root, monkeypatch, at_once):
    """Whether they are read one by one or together."""
    monkeypatch.setattr(reader_module, "_AT_ONCE", at_once)
    with MetricsReader.open(root) as reader:
        found = {key: curve for key, *curve in reader.curves("exp")}
        assert tuple(found) == reader.series("exp")
        for key, curve in found.items():
            one = reader.curve("exp", key.name, split=key.split, tags=json.loads(key.tags))
            np.testing.assert_array_equal(curve, one)
        assert list(reader.curves("nothing")) == []


def test_a_series_lies_on_other_axes_than_steps(tmp_path):
    """Seconds since its first value, or what another metric says, between the steps that have one."""
    with Workspace.open(tmp_path) as workspace:
        workspace.join("exp", monitor=None, mode="min", keep=None)
        points = {
            SeriesKey("loss", "train"): [(step, 1.0 / (step + 1), 2_000_000 * step, None) for step in range(5)],
            SeriesKey("tokens"): [(0, 0.0, 0, None), (4, 400.0, 0, None)],
        }
        MetricTable(workspace.catalog).append("exp", points)
    with MetricsReader.open(tmp_path) as reader:
        by = {axis: reader.course("exp", "loss", by=axis, split="train") for axis in ("step", "time", "tokens")}
        assert by["step"][0].tolist() == [0, 1, 2, 3, 4]
        assert by["time"][0].tolist() == [0, 2, 4, 6, 8]
        assert by["tokens"][0].tolist() == [0, 100, 200, 300, 400]
        assert {tuple(values.tolist()) for _, values in by.values()} == {(1, 1 / 2, 1 / 3, 1 / 4, 1 / 5)}
        with pytest.raises(MetricNotFoundError, match="tokns"):
            reader.course("exp", "loss", by="tokns", split="train")
        with pytest.raises(MetricNotFoundError, match="loss"):
            reader.course("exp", "loss", by="time", split="val")


def test_points_are_given_to_pandas(root):
    """With the columns of the table; times in UTC."""
    pytest.importorskip("pandas", reason="pandas is not installed")
    with MetricsReader.open(root) as reader:
        frame = reader.metrics("exp", "loss", split="val").to_pandas()
    assert list(frame.columns) == ["name", "split", "tags", "step", "value", "time", "epoch"]
    assert frame["value"].tolist() == [20.0 - step for step in range(10)]
    assert str(frame["time"].dtype).endswith("UTC]")


def test_pandas_is_imported_for_frames_alone(root):
    """Importing it takes longer than most questions: series, curves and totals do without."""
    pytest.importorskip("pandas", reason="pandas is not installed")
    program = (
        "import sys; from model_checkpoint.analytics.reader import MetricsReader\n"
        "with MetricsReader.open(sys.argv[1]) as reader:\n"
        "    table = reader.metrics('exp', 'loss').table; reader.curve('exp', 'loss'); reader.summary('exp')\n"
        "sys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, root], check=True)
