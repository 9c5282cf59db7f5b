"""`mckpt perf`, and the bars that it draws."""

from __future__ import annotations

import dataclasses
import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from model_checkpoint.cli.bar import bar
from model_checkpoint.monitoring import OperationTiming, TimingLog

BEGIN = datetime(2026, 1, 2, tzinfo=UTC)
SAVE = OperationTiming(
    "save", "digits", "digits:10-1f3a9c2e", 10, BEGIN, 4.0, 0.5, 10**9, {"snapshot": 0.5, "write": 2.0, "fsync": 1.0}
)


@pytest.fixture
def timed(root):
    """The sample store, with ten saves and two loads, and nothing else measured."""
    (root / ".timings.jsonl").unlink(missing_ok=True)
    log = TimingLog(root)
    for number in range(10):
        at = BEGIN + timedelta(minutes=number)
        log.append(dataclasses.replace(SAVE, at=at, seconds=4.0 + number, step=number))
    for experiment in ("digits", "other"):
        log.append(
            OperationTiming("load", experiment, f"{experiment}:1-1f3a9c2e", 1, BEGIN, 2.0, None, 10**9, {"read": 1.5})
        )
    return root


def test_where_the_time_of_saves_went(mckpt, timed):
    """Totals, percentiles, a bar for each stage, and the last operations with what they mostly did."""
    done = mckpt("-C", timed, "perf", "--kind", "save")
    assert done.code == 0
    title, percentiles, empty, heading, snapshot, write, fsync, other, _, columns, *last = done.out.splitlines()
    assert title == "10 saves of digits: 10.0 GB in 1 min 25 s, 118 MB/s, training waited 5.0 s"
    assert percentiles == "p50 8.0 s  p90 12.0 s  p95 13.0 s  p99 13.0 s  p99.9 13.0 s"
    assert empty == ""
    assert heading.split() == "STAGE TIME SHARE P50 P90 P99".split()
    assert snapshot.split() == "snapshot 5.0 s 5.9% 500 ms 500 ms 500 ms █▏".split()
    assert write.split()[:4] == "write 20.0 s 23.5%".split()
    assert other.split()[:4] == "other 50.0 s 58.8%".split()
    assert len(other.split()[-1]) > len(write.split()[-1]) > len(fsync.split()[-1])
    assert write.index("█") == other.index("█") == snapshot.index("█")
    assert columns.split() == "CHECKPOINT WHEN BYTES TIME BYTES/S WAITED MOSTLY".split()
    assert len(last) == 5
    assert last[0].split()[0] == "digits:10-1f3a9c2e"
    assert last[0].split()[2:] == "1.0 GB 13.0 s 76.9 MB/s 500 ms other 73%".split()
    assert "\x1b" not in done.out


def test_kinds_come_one_after_the_other(mckpt, timed):
    """Saves, then loads; those of several experiments are not called one's, and a load does not wait."""
    done = mckpt("-C", timed, "perf")
    titles = [line for line in done.out.splitlines() if " in " in line]
    assert titles == [
        "10 saves of digits: 10.0 GB in 1 min 25 s, 118 MB/s, training waited 5.0 s",
        "2 loads: 2.0 GB in 4.0 s, 500 MB/s",
    ]
    assert "WAITED" not in done.out[done.out.index("2 loads") :]


def test_the_last_ones_of_an_experiment(mckpt, timed):
    """So many of each kind, and only of the one that was named."""
    done = mckpt("-C", timed, "perf", "digits", "--last", "2")
    titles = [line.partition(":")[0] for line in done.out.splitlines() if " in " in line]
    assert titles == ["2 saves of digits", "1 load of digits"]


def test_one_operation_has_no_percentiles(mckpt, timed):
    """They would all be its own duration, in five columns; a stage of some microseconds is no stage of no time."""
    TimingLog(timed).append(dataclasses.replace(SAVE, kind="verify", stages={"read": 3.0, "hook": 0.000012}))
    done = mckpt("-C", timed, "perf", "--kind", "verify")
    title, empty, heading, read, hook, *_ = done.out.splitlines()
    assert title.startswith("1 verification of digits: ")
    assert empty == ""
    assert heading.split() == ["STAGE", "TIME", "SHARE"]
    assert read.split()[:4] == ["read", "3.0", "s", "75.0%"]
    assert hook.split()[:3] == ["hook", "12", "µs"]


def test_perf_as_json(mckpt, timed):
    """All figures, in seconds and bytes, and the operations that they are of."""
    (save, load) = mckpt("-C", timed, "perf", "--json").json["operations"]
    assert (save["kind"], save["count"], save["bytes"], save["stall_s"]) == ("save", 10, 10**10, 5.0)
    assert save["latency"]["p50"] == 8.0
    assert [stage["stage"] for stage in save["stages"]] == ["snapshot", "write", "fsync", "other"]
    assert save["stages"][1]["seconds"] == 20.0
    assert save["operations"][0]["at"] == "2026-01-02T00:00:00.000000Z"
    assert load["stages"][0] == {
        "stage": "read", "seconds": 3.0, "count": 2, "p50": 1.5, "p90": 1.5, "p95": 1.5, "p99": 1.5, "p999": 1.5,
        "longest": 1.5,
    }  # fmt: skip


def test_what_a_manager_saved_is_there(mckpt, root):
    """Nothing has to be asked for."""
    kinds = {one["kind"]: one for one in mckpt("-C", root, "perf", "--json").json["operations"]}
    assert {"hash", "write", "fsync"} <= {stage["stage"] for stage in kinds["save"]["stages"]}


def test_nothing_measured_is_no_error_and_an_unknown_experiment_is_one(mckpt, timed):
    """Exit code 3, with what there is instead."""
    (timed / ".timings.jsonl").unlink()
    assert mckpt("-C", timed, "perf", "digits").out == "nothing was measured\n"
    assert mckpt("-C", timed, "perf", "--json").json == {"operations": []}
    done = mckpt("-C", timed, "perf", "digit")
    assert (done.code, done.err) == (3, "mckpt: there is no experiment 'digit'; there is digits\n")
    assert mckpt("-C", timed, "perf", "--last", "0").code == 2


def test_looking_changes_nothing(mckpt, timed):
    """Commands write no timings: not even those that verify."""
    before = (timed / ".timings.jsonl").read_bytes()
    for words in (["perf"], ["ls"], ["doctor"], ["verify", "--all"]):
        assert mckpt("-C", timed, *words).code == 0
    assert (timed / ".timings.jsonl").read_bytes() == before


def test_names_that_somebody_else_wrote_are_shown_escaped(mckpt, timed):
    """The file is anybody's who can write to the store: nothing in it reaches the terminal as it is."""
    line = json.loads((timed / ".timings.jsonl").read_text().splitlines()[0])
    line |= {"experiment": "a\x1b[31m", "checkpoint": "\x1b]0;owned\x07", "stages": {"\x1b[2J": 1.0}}
    (timed / ".timings.jsonl").write_text(json.dumps(line) + "\n")
    done = mckpt("-C", timed, "perf")
    assert done.code == 0
    assert not any(ord(char) < 32 for char in done.out.replace("\n", ""))


def test_timings_of_no_time_are_shown(mckpt, timed):
    """Nothing is divided by zero."""
    os.unlink(timed / ".timings.jsonl")
    TimingLog(timed).append(dataclasses.replace(SAVE, seconds=0.0, stages={}, nbytes=0, stall_s=None, checkpoint=None))
    done = mckpt("-C", timed, "perf")
    assert done.code == 0
    assert "1 save of digits: 0 B in 0.0 ms" in done.out


@pytest.mark.parametrize(
    ("share", "shown"), [(0, ""), (1, "████"), (0.5, "██"), (0.53, "██▏"), (1e-9, "▏"), (2, "████"), (-1, "")]
)
def test_a_bar_is_exact_to_an_eighth_of_a_column(share, shown):
    """What is not nothing shows, and nothing is longer than all."""
    assert bar(share, 4) == shown
