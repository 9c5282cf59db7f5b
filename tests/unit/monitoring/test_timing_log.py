"""The timings of a store: what is written is read, whatever becomes of the file, and no save fails because of it."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import model_checkpoint as mc
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.monitoring import OperationTiming, TimingLog

NAME, OLDER = ".timings.jsonl", ".timings.1.jsonl"
TIMING = OperationTiming(
    "save", "gpt2", "gpt2:5-1f3a9c2e", 5, datetime(2026, 1, 2, tzinfo=UTC), 4.0, 0.5, 9, {"write": 2.0}
)
MIB = 1024 * 1024

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
times = st.floats(0, 1e6)
timings = st.builds(
    OperationTiming,
    kind=texts,
    experiment=st.none() | texts,
    checkpoint=st.none() | texts,
    step=st.none() | st.integers(0, 2**63 - 1),
    at=st.datetimes(timezones=st.just(UTC)),
    seconds=times,
    stall_s=st.none() | times,
    nbytes=st.integers(0, 2**63 - 1),
    stages=st.dictionaries(texts, times.map(lambda seconds: round(seconds, 7)), max_size=5),
)


@given(st.lists(timings, max_size=5))
def test_what_is_appended_is_read(written):
    """Any timing comes back as it was, newest last."""
    with tempfile.TemporaryDirectory() as root:
        log = TimingLog(root)
        for timing in written:
            log.append(timing)
        assert log.read() == tuple(written)


def test_reading_takes_the_last_ones_that_are_asked_for(tmp_path):
    """By experiment, by kind, and at most so many."""
    log = TimingLog(tmp_path)
    for step in range(10):
        kind, experiment = ("save", "load")[step % 2], "ab"[step // 5]
        log.append(dataclasses.replace(TIMING, step=step, kind=kind, experiment=experiment))
    assert [timing.step for timing in log.read(limit=3)] == [7, 8, 9]
    assert [timing.step for timing in log.read(kind="load")] == [1, 3, 5, 7, 9]
    assert [timing.step for timing in log.read(experiment="a", kind="save", limit=2)] == [2, 4]
    assert log.read(experiment="c") == ()
    with pytest.raises(ConfigurationError, match="limit is 0"):
        log.read(limit=0)


@given(st.binary(max_size=300).filter(lambda line: b"\n" not in line), st.integers(0, 400))
def test_torn_and_foreign_lines_are_skipped(foreign, cut):
    """A line that somebody else wrote, or that was cut off anywhere, costs itself alone."""
    with tempfile.TemporaryDirectory() as root:
        log, path = TimingLog(root), Path(root, NAME)
        log.append(TIMING)
        whole = path.read_bytes()
        torn = whole[: min(cut, len(whole) - 2)]
        path.write_bytes(whole + foreign + b"\n" + torn)
        log.append(dataclasses.replace(TIMING, step=6))
        assert [timing.step for timing in log.read()] == [5, 6]


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": 3}, {"experiment": []}, {"step": 1.5}, {"step": True}, {"at": "yesterday"}, {"at": 5},
        {"seconds": "1"}, {"seconds": -1}, {"stall_s": True}, {"bytes": None}, {"stages": []},
        {"stages": {"write": "much"}}, {"stages": {"write": -1}},
    ],
)  # fmt: skip
def test_lines_with_other_values_are_skipped(tmp_path, changes):
    """What cannot be a timing is none, and no error either."""
    log, path = TimingLog(tmp_path), tmp_path / NAME
    log.append(TIMING)
    members = json.loads(path.read_text())
    path.write_text(json.dumps({**members, **changes}) + "\n" + path.read_text())
    assert log.read() == (TIMING,)


def test_the_log_is_bounded(tmp_path):
    """At a mebibyte the file becomes the older one; the last thousand operations are there all along."""
    log, count = TimingLog(tmp_path), 12_000
    for step in range(count):
        log.append(dataclasses.replace(TIMING, step=step))
    sizes = {name: os.path.getsize(tmp_path / name) for name in os.listdir(tmp_path)}
    assert sizes.keys() == {NAME, OLDER}
    assert max(sizes.values()) < MIB + 1024
    steps = [timing.step for timing in log.read(limit=count)]
    assert steps == list(range(count))[-len(steps) :]
    assert len(steps) > 5000


def test_a_huge_file_is_read_from_its_end(tmp_path):
    """Whatever made it so large: memory stays bounded, and the last timing is found."""
    log = TimingLog(tmp_path)
    with (tmp_path / NAME).open("wb") as file:
        file.truncate(2**40)
    log.append(TIMING)
    assert log.read() == (TIMING,)
    with (tmp_path / OLDER).open("ab") as file:
        file.write(b"\n" + (tmp_path / NAME).read_bytes())
    assert log.read() == (TIMING, TIMING)


def appending(root, name, count):
    """A process that appends so many timings of an experiment."""
    script = f"""
        import dataclasses, itertools
        from datetime import UTC, datetime
        from model_checkpoint.monitoring import OperationTiming, TimingLog
        log, timing = TimingLog({str(root)!r}), {dataclasses.replace(TIMING, stages=dict(TIMING.stages))!r}
        for step in range({count}):
            log.append(dataclasses.replace(timing, experiment={name!r}, step=step))
    """.replace("datetime.datetime", "datetime").replace("datetime.timezone.utc", "UTC")
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])


def test_processes_that_append_at_the_same_time_lose_nothing(tmp_path):
    """Three of them, across a rotation: every line is whole, and each process's are in order."""
    count = 2500
    writers = [appending(tmp_path, name, count) for name in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert (tmp_path / OLDER).exists()
    found = TimingLog(tmp_path).read(limit=10**6)
    for name in "abc":
        assert [timing.step for timing in found if timing.experiment == name] == list(range(count))


def test_a_file_that_was_rotated_meanwhile_is_not_rotated_again(tmp_path):
    """Who found it full after somebody else did leaves the new one be: else the older one would be lost."""
    log, path = TimingLog(tmp_path), tmp_path / NAME
    path.write_bytes(b" " * MIB + b"\n")
    fd = os.open(path, os.O_RDWR)
    TimingLog(tmp_path).append(TIMING)
    log._rotate(fd)
    os.close(fd)
    assert os.path.getsize(tmp_path / OLDER) == MIB + 1
    assert log.read() == (TIMING,)


def test_links_and_other_things_are_refused(tmp_path):
    """Nothing outside of the store is written or read through a link, and nobody waits for a FIFO."""
    outside = tmp_path / "outside"
    outside.write_text("precious\n")
    for name in (NAME, OLDER):
        for make in (lambda path: path.symlink_to(outside), os.mkfifo, lambda path: path.mkdir()):
            root = tmp_path / f"store-{len(os.listdir(tmp_path))}"
            root.mkdir()
            make(root / name)
            log = TimingLog(root)
            log.append(TIMING)
            assert log.read() == (() if name == NAME else (TIMING,))
    assert outside.read_text() == "precious\n"


def test_a_log_that_cannot_be_rotated_or_written_is_no_error(tmp_path, caplog):
    """The older one is a directory; the disk takes no more: the log says so at DEBUG, and the caller goes on."""
    (tmp_path / OLDER / "inside").mkdir(parents=True)
    (tmp_path / NAME).write_bytes(b" " * MIB + b"\n")
    with caplog.at_level("DEBUG", logger="model_checkpoint"):
        TimingLog(tmp_path).append(TIMING)
        TimingLog(tmp_path / "nowhere").append(TIMING)
    assert [record.message.split(":")[0] for record in caplog.records] == [
        f"not noted in {tmp_path / NAME}",
        f"not noted in {tmp_path / 'nowhere' / NAME}",
    ]


def test_a_line_cut_off_by_a_full_disk_costs_itself_alone(tmp_path):
    """The kernel takes half of it (a limit on file sizes, here); what is appended later is whole."""
    log = TimingLog(tmp_path)
    log.append(TIMING)
    size = os.path.getsize(tmp_path / NAME)
    script = f"""
        import resource, signal
        from tests.unit.monitoring.test_timing_log import TIMING, TimingLog
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({size + size // 2}, resource.RLIM_INFINITY))
        TimingLog({str(tmp_path)!r}).append(TIMING)
        TimingLog({str(tmp_path)!r}).append(TIMING)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, cwd=Path(__file__).parents[3])
    assert os.path.getsize(tmp_path / NAME) == size + size // 2
    log.append(dataclasses.replace(TIMING, step=7))
    assert [timing.step for timing in log.read()] == [5, 7]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY


@pytest.mark.crash
def test_a_killed_writer_leaves_whole_lines(tmp_path):
    """Killed at any moment: each line is one system call, so what is there is whole, and in order."""
    for kill in range(5):
        root = tmp_path / str(kill)
        root.mkdir()
        writer = appending(root, "a", 10**9)
        while not (root / NAME).exists() or os.path.getsize(root / NAME) < 20_000 * (kill + 1):
            assert writer.poll() is None
        writer.kill()
        assert writer.wait() == -signal.SIGKILL
        lines = (root / NAME).read_bytes()
        assert lines.endswith(b"\n")
        steps = [timing.step for timing in TimingLog(root).read(limit=10**9)]
        assert steps == list(range(lines.count(b"\n")))


def test_a_store_goes_on_whatever_the_log_has_become(tmp_path):
    """A link, a directory, a store without it: saves, loads, recovery and the rebuilt catalog are as ever."""
    outside = tmp_path / "outside"
    outside.write_text("")
    for number, make in enumerate(
        [lambda path: path.symlink_to(outside), lambda path: path.mkdir(), lambda path: None]
    ):
        root = tmp_path / f"runs{number}"
        root.mkdir()
        make(root / NAME)
        with mc.CheckpointManager(root, progress=False) as ckpts:
            ckpts.track(weight=np.arange(1000))
            saved = ckpts.save(1, block=True).result()
            assert list(ckpts.load()["weight"]) == list(range(1000))
        assert mc.reindex(root).checkpoints[0].id == saved.id
        assert mc.reindex(root).quarantined == ()
    assert outside.read_text() == ""


def test_times_survive_to_the_microsecond(tmp_path):
    """In UTC, whatever zone they were given in."""
    zone = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC).astimezone()
    log = TimingLog(tmp_path)
    log.append(dataclasses.replace(TIMING, at=zone))
    assert log.read()[0].at == zone
    assert log.read()[0].at.utcoffset() == timedelta(0)
