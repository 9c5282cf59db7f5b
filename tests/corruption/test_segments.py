"""Segments of metrics that are not what was written: named, left out when asked, and never believed."""

from __future__ import annotations

import os
import random
import shutil
import warnings
from pathlib import Path

import pytest

import model_checkpoint as mc
from model_checkpoint.analytics.compaction import Compactor
from model_checkpoint.analytics.reader import MetricsReader
from model_checkpoint.analytics.segment_check import find_damaged, read_from_device
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.cli.app import run
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.database import Catalog, MetricTable
from model_checkpoint.database.metric_table import SeriesKey
from tests.harness.damage import flip

POINTS = 30


@pytest.fixture
def root(memory_path):
    """A store with three segments of 30 points each: steps from 0, from 30 and from 60."""
    for first in range(0, 3 * POINTS, POINTS):
        log(memory_path, range(first, first + POINTS))
        compact(memory_path)
    return memory_path


def log(root, steps):
    with Workspace.open(root) as workspace:
        workspace.join("exp", monitor=None, mode="min", keep=None)
        points = [(step, 1 / (step + 1), 1_000_000 * step, None) for step in steps]
        MetricTable(workspace.catalog).append("exp", {SeriesKey("loss"): points})


def compact(root):
    with Catalog.open(root) as catalog:
        return Compactor(str(root), MetricTable(catalog)).compact("exp")


def listed(root):
    """The segments by path, the ones of earlier steps first."""
    with Catalog.open(root) as catalog:
        return sorted(MetricTable(catalog).segments("exp"), key=lambda segment: segment.first_step)


QUESTIONS = {
    "metrics": lambda reader: reader.metrics("exp", "loss").table.select(["step", "value"]).to_pydict(),
    "curve": lambda reader: [column.tolist() for column in reader.curve("exp", "loss")],
    "summary": lambda reader: reader.summary("exp").to_pylist(),
    "query": lambda reader: reader.query("SELECT count(*) AS n, sum(value) AS s FROM metrics").to_pylist(),
}


def answers(root, damaged="raise"):
    with MetricsReader.open(root, damaged=damaged) as reader:
        return {name: ask(reader) for name, ask in QUESTIONS.items()}


def test_every_flipped_bit_of_a_segment_is_found(root, trials, evidence):
    """Each bit is found before anything is read from the file; no question is answered from it."""
    segment = listed(root)[1]
    path, rng, missed, believed = root / segment.path, random.Random(5), 0, 0
    asked = set(rng.sample(range(segment.nbytes * 8), trials(ci=20, proof=500, full=2000)))
    for bit in range(segment.nbytes * 8):
        flip(path, bit // 8, bit % 8)
        (flaw,) = find_damaged(str(root), [segment]) or [None]
        missed += flaw is None or flaw.error.path != str(path)
        if bit in asked:
            for ask in QUESTIONS.values():
                with MetricsReader.open(root) as reader:
                    believed += not is_refused(reader, ask, path)
        flip(path, bit // 8, bit % 8)
    assert find_damaged(str(root), [segment]) == []
    evidence(
        threat="a flipped bit in a segment of metrics",
        promise="Each bit is found, and the file named, before anything is answered from it",
        trials=segment.nbytes * 8,
        unit="bits",
        violations=missed + believed,
        detail=f"all bits of a segment; for {len(asked)} of them, series, totals and SQL were asked for",
        exhaustive=True,
    )
    assert (missed, believed) == (0, 0)


def is_refused(reader, ask, path):
    try:
        ask(reader)
    except mc.CorruptionError as error:
        return error.path == str(path) and error.rule == "digest"
    return False


def truncate(path, other):
    os.truncate(path, path.stat().st_size - 1)


def empty(path, other):
    os.truncate(path, 0)


def zero(path, other):
    path.write_bytes(bytes(path.stat().st_size))


def zero_the_footer(path, other):
    raw = path.read_bytes()
    path.write_bytes(raw[:-100] + bytes(100))


def append(path, other):
    path.write_bytes(path.read_bytes() + b"\0")


def swap(path, other):
    """A sound file, but another one; of equal size, as far as that can be."""
    shutil.copy(other, path)


def link(path, other):
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


def make_fifo(path, other):
    path.unlink()
    os.mkfifo(path)


DAMAGE = {
    truncate: "length",
    empty: "length",
    zero: "digest",
    zero_the_footer: "digest",
    append: "length",
    swap: None,
    link: "regular-file",
    make_fifo: "regular-file",
    lambda path, _other: path.unlink(): "missing",
}


@pytest.mark.parametrize(("damage", "rule"), DAMAGE.items(), ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_damaged_segment_is_named_by_path_and_rule(root, damage, rule, name):
    """Whatever became of the file, and whatever is asked for."""
    path = make_writable(root, damage)
    with MetricsReader.open(root) as reader, pytest.raises(mc.IntegrityError) as caught:
        QUESTIONS[name](reader)
    assert caught.value.path == str(path)
    assert caught.value.rule == rule or (rule is None and caught.value.rule in {"digest", "length"})


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damaged_segments_are_left_out_when_that_is_asked_for(root, damage):
    """The others are read as ever, and a warning says what was left out, of how many points, and why."""
    path = make_writable(root, damage)
    log(root, [90])
    with pytest.warns(mc.DamageWarning) as caught:
        found = answers(root, damaged="skip")
    assert all("30 points of exp are left out" in str(one.message) and path.name in str(one.message) for one in caught)
    steps = [*range(POINTS), *range(2 * POINTS, 3 * POINTS + 1)]
    assert found["metrics"] == {"step": steps, "value": [1 / (step + 1) for step in steps]}
    assert found["curve"][0] == steps
    assert (found["summary"][0]["count"], found["query"][0]["n"]) == (len(steps), len(steps))


def test_a_manager_leaves_damaged_segments_out_when_asked(root):
    """And raises otherwise."""
    make_writable(root, zero)
    with mc.CheckpointManager(root, experiment="exp", progress=False) as ckpts:
        with pytest.raises(mc.CorruptionError):
            ckpts.metrics("loss")
        with pytest.warns(mc.DamageWarning):
            assert len(ckpts.metrics("loss", damaged="skip")) == 2 * POINTS


def make_writable(root, damage):
    """Damage the second segment; its path."""
    _, path, other = (Path(root, segment.path) for segment in listed(root))
    path.chmod(0o600)
    damage(path, other)
    return path


def test_what_is_not_asked_for_may_be_damaged(root):
    """A window of steps reads, and checks, only the segments that have any of them."""
    make_writable(root, zero)
    with MetricsReader.open(root) as reader:
        assert len(reader.metrics("exp", first_step=0, last_step=POINTS - 1)) == POINTS
        with pytest.raises(mc.CorruptionError):
            reader.metrics("exp", first_step=0, last_step=POINTS)


def test_damage_that_comes_later_is_found_too(root):
    """A segment that was read is compared again when it has changed."""
    with MetricsReader.open(root) as reader:
        assert len(reader.metrics("exp")) == 3 * POINTS
        path = root / listed(root)[0].path
        flip(path, 1000)
        with pytest.raises(mc.CorruptionError, match=path.name):
            reader.metrics("exp")
        flip(path, 1000)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(reader.metrics("exp")) == 3 * POINTS


def test_compaction_goes_on_beside_a_damaged_segment(root):
    """It is neither merged nor removed; the others are, and points move as ever."""
    path, done = make_writable(root, zero), []
    for step in range(100, 106):
        log(root, [step])
        done.append(compact(root))
    assert [one.points for one in done] == [1] * 6
    assert (done[-1].merged, done[-1].damaged) == (8, (str(path.relative_to(root)),))
    assert [segment.points for segment in listed(root)] == [2 * POINTS + 6, POINTS]
    assert path.exists()
    with pytest.raises(mc.CorruptionError, match=path.name):
        answers(root)


def test_a_sound_segment_is_read_from_its_device(root):
    """Past the page cache; damage is named as ever."""
    segment = listed(root)[0]
    read_from_device(str(root), segment)
    flip(root / segment.path, 500)
    with pytest.raises(mc.CorruptionError, match=r"SHA-256 is .*rule='digest'"):
        read_from_device(str(root), segment)


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["metrics", "exp"], ["query", "SELECT count(*) AS n FROM metrics"]])
def test_commands_name_a_damaged_segment_or_leave_it_out(root, capsys, command):
    """Exit code 4 and its path; with --skip-damaged the rest is shown, and a warning tells of it."""
    path = make_writable(root, zero)
    assert run(["-C", str(root), *command]) == ExitCode.INTEGRITY
    assert path.name in capsys.readouterr().err
    with warnings.catch_warnings():
        warnings.simplefilter("always", mc.DamageWarning)  # as in a terminal
        assert run(["-C", str(root), *command, "--skip-damaged"]) == ExitCode.OK
    said = capsys.readouterr()
    assert "60" in said.out
    assert said.err.startswith("mckpt: 30 points of exp are left out: ")
    assert path.name in said.err


@pytest.mark.parametrize("damage", [zero, lambda path, _other: path.unlink()], ids=["zeroed", "gone"])
@pytest.mark.parametrize("command", [["verify", "--all"], ["scrub"]], ids=lambda command: command[0])
def test_verify_and_scrub_read_segments_too(root, capsys, command, damage):
    """They say how many are sound; a damaged one is named, and ends them with exit code 4."""
    assert run(["-C", str(root), *command]) == ExitCode.OK
    assert "3 segments of metrics" in capsys.readouterr().out
    path = make_writable(root, damage)
    assert run(["-C", str(root), *command]) == ExitCode.INTEGRITY
    assert path.name in capsys.readouterr().out


def test_the_doctor_misses_a_segment(root, capsys):
    """Without reading them: it looks whether each is there, in its size."""
    run(["-C", str(root), "doctor"])
    assert "3 segments, 90 points" in capsys.readouterr().out
    path = make_writable(root, truncate)
    assert run(["-C", str(root), "doctor"]) == ExitCode.FAILED
    assert path.name[:20] in capsys.readouterr().out
