"""`mckpt metrics` and `mckpt query`."""

from __future__ import annotations

import math

import pytest

from model_checkpoint import CheckpointManager
from model_checkpoint.analytics.best_model_selector import BestModelSelector
from model_checkpoint.analytics.compaction import Compactor
from model_checkpoint.analytics.criteria import Goal
from model_checkpoint.analytics.reader import MetricsReader
from model_checkpoint.cli.sparkline import sparkline
from model_checkpoint.database import MetricTable


@pytest.fixture
def logged(root):
    """The sample store with some metrics."""
    with CheckpointManager(root, experiment="digits", progress=False) as ckpts:
        for step in range(100):
            ckpts.log(step, loss=math.nan if step == 50 else 100.0 - step)
            ckpts.log(step, loss=step / 4, split="val", tags={"host": "a\x1b[31m"})
    return root


def test_series_are_listed_with_their_course(mckpt, logged):
    """One line a series, aligned; what is not finite is counted, names are escaped."""
    done = mckpt("-C", logged, "metrics", "digits")
    assert done.code == 0
    title, heading, plain, val = done.out.splitlines()
    assert title == "digits"
    assert heading.split() == "METRIC SPLIT TAGS POINTS STEPS LAST MIN MAX MEAN NOT FINITE COURSE".split()
    assert plain.split() == "loss 100 0-99 1.0000 1.0000 100.0000 50.5051 1 ███▇▇▇▆▆▆▅▅▅▄▄▄▃▃▃▂▂▂▁▁▁".split()
    assert val.split()[1] == "val"
    assert r"\u001b" in val
    assert "\x1b" not in done.out
    assert heading.index("COURSE") == plain.index("█")


def test_series_as_json(mckpt, logged):
    """With all totals."""
    (digits,) = mckpt("-C", logged, "metrics", "digits", "--json").json["experiments"]
    plain, val = digits["series"]
    assert (plain["count"], plain["nonfinite"], plain["first_step"], plain["last_step"]) == (100, 1, 0, 99)
    assert val["max"] == 99 / 4


def test_metrics_of_all_experiments_or_none(mckpt, logged):
    """Experiments without any are left out; an unknown name is exit code 3."""
    assert mckpt("-C", logged, "metrics").out.splitlines()[0] == "digits"
    assert mckpt("-C", logged, "metrics", "other").out == "nothing was logged\n"
    done = mckpt("-C", logged, "metrics", "digits", "-m", "los")
    assert (done.code, done.err) == (3, "mckpt: no metric 'los'; there is loss\n")
    assert mckpt("-C", logged, "metrics", "digit").code == 3


SKIP = "--skip-damaged"


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize("command", [["metrics"], ["compare", "-m", "acc"], ["report"], ["query", "FROM metrics"]])
def test_a_damaged_segment_is_named_and_left_out_only_when_asked(mckpt, logged, command):
    """Once, in a line; what is in others is shown."""
    with CheckpointManager(logged, experiment="sound", progress=False) as ckpts:
        ckpts.log(1, acc=0.5)
    with MetricsReader.open(logged) as reader:
        (segment,) = Compactor(str(logged), MetricTable(reader._catalog)).compact("digits").segments
    (logged / segment.path).chmod(0o644)
    (logged / segment.path).write_bytes(b"x" * segment.nbytes)
    done = mckpt("-C", logged, *command)
    assert (done.code, done.out) == (4, "")
    assert segment.path in done.err
    done = mckpt("-C", logged, *command, SKIP)
    assert done.code == 0
    assert "sound" in done.out
    assert done.err.count("\n") == 1
    assert done.err.startswith("mckpt: 200 points of digits are left out: ")
    assert segment.path in done.err


def test_days_of_a_query_are_those_of_utc(mckpt_process, logged):
    """Wherever it is asked, as the times that it prints."""
    sql = "SELECT hour(time) = hour(time AT TIME ZONE 'UTC') AS same, count(*) AS n FROM metrics GROUP BY 1"
    done = mckpt_process("-C", logged, "query", sql, TZ="Asia/Tokyo")
    assert done.out.split() == ["same", "n", "yes", "200"]


def test_a_query_prints_an_aligned_table(mckpt, logged):
    """Numbers to the right; NULL is a dash."""
    sql = """
        SELECT split, max(value) AS most, NULL AS nothing, count(*) AS n
        FROM metrics WHERE isfinite(value) GROUP BY 1 ORDER BY 1
    """
    done = mckpt("-C", logged, "query", sql)
    assert done.code == 0
    assert done.out == "split   most  nothing    n\n         100  -         99\nval    24.75  -        100\n"


def test_a_query_as_json_has_all_rows(mckpt, logged):
    """Also those beyond the limit of the table; NaN is a text."""
    rows = mckpt(
        "-C", logged, "query", "SELECT value FROM metrics WHERE split = '' ORDER BY step", "-n", 1, "--json"
    ).json["rows"]
    assert len(rows) == 100
    assert rows[50] == {"value": "nan"}
    done = mckpt("-C", logged, "query", "SELECT value FROM metrics", "-n", 3)
    assert done.out.splitlines()[-1] == "and 197 rows more (--limit, --json)"


def test_a_query_joins_checkpoints(mckpt, logged):
    """The three tables are there."""
    sql = """
        SELECT c.step, c.metrics['val_loss'] AS v FROM checkpoints c JOIN experiments e ON e.name = c.experiment
        WHERE e.name = 'digits' ORDER BY v LIMIT 1
    """
    assert mckpt("-C", logged, "query", sql, "--json").json["rows"] == [{"step": 10, "v": 1.0}]


@pytest.mark.parametrize(
    ("sql", "words"), [("SELEC", "syntax error"), ("DROP TABLE metrics", "one SELECT"), ("SELECT x", "x")]
)
def test_a_query_that_fails_says_why(mckpt, logged, sql, words):
    """In one line, with exit code 1."""
    done = mckpt("-C", logged, "query", sql)
    assert done.code == 1
    assert words in done.err


def test_maps_are_objects_in_json(mckpt, logged):
    """By name, whatever they hold; what says which is the best of an experiment is there, too."""
    front = BestModelSelector.pareto(Goal("loss"), Goal("ms"))
    with CheckpointManager(logged, experiment="front", monitor=front, progress=False):
        pass
    done = mckpt("-C", logged, "query", "SELECT metrics FROM checkpoints WHERE step IN (7, 10) ORDER BY 1", "--json")
    assert done.json["rows"] == [{"metrics": {}}, {"metrics": {"accuracy": 0.1, "val_loss": 1.0}}]
    done = mckpt("-C", logged, "query", "SELECT criterion FROM experiments ORDER BY name", "--json")
    assert [row["criterion"] for row in done.json["rows"]] == [None, str(front), None]


def test_a_course_shows_gaps_and_flat_lines():
    """A blank where nothing is finite; the lowest bar where nothing changes; several courses on one scale."""
    assert sparkline([]) == ""
    assert sparkline([1.0, 1.0]) == "▁▁"
    assert sparkline([0.0, math.nan, 1.0, math.inf]) == "▁ █ "
    assert sparkline([0.0, 5.0, 20.0], bounds=(0.0, 10.0)) == "▁▅█"
    assert len(sparkline(list(range(1000)))) == 24
    assert sparkline([-1.7e308, 0.0, 1.7e308]) == "▁▅█"
    assert sparkline([1.7e308] * 50) == "▁" * 24


def test_rows_that_are_too_wide_for_the_terminal_are_lists(mckpt, logged, monkeypatch):
    """Each value with its name; maps and truth values as people write them. In a pipe it stays a table."""
    sql = "SELECT step, experiment, metrics, pinned, digest FROM checkpoints WHERE step = 10"
    assert len(mckpt("-C", logged, "query", sql).out.splitlines()) == 2
    monkeypatch.setenv("COLUMNS", "80")
    lines = mckpt("-C", logged, "query", sql).out.splitlines()
    assert lines[:4] == [
        "step        10",
        "experiment  digits",
        "metrics     accuracy=0.1, val_loss=1",
        "pinned      no",
    ]
    assert len(mckpt("-C", logged, "query", "SELECT 1 AS a, 2 AS b").out.splitlines()) == 2
