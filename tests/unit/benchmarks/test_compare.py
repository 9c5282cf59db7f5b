"""The comparison end to end on a tiny model, what it finds wrong, and the arithmetic of its tables."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import plot, table
from benchmarks.compare import main
from benchmarks.entrant import Guarantee
from benchmarks.files import Files
from benchmarks.harness import Sample, residency
from benchmarks.load_time import LoadTime, in_turn
from benchmarks.models import llama_of
from benchmarks.result import Result, Row
from benchmarks.sizes import parse_size
from benchmarks.target import Target
from benchmarks.workloads import ceilings, load, save

ROOT = Path(__file__).parents[3]


def _row(name: str, role: str, rate: float) -> Row:
    return Row(name, role, Guarantee(), Sample((1.0, 0.5, 2.0), int(rate * 1e9)))


@pytest.fixture
def result() -> Result:
    """Two ceilings, two peers, and ours."""
    rows = (
        _row("hashing", "ceiling", 8.0),
        _row("copying", "ceiling", 5.0),
        _row("ours", "ours", 4.0),
        _row("slow", "peer", 1.0),
        _row("fast", "peer", 2.0),
    )
    return Result("load", "hot", rows)


def test_the_command_writes_a_row_for_all_who_take_part(tmp_path):
    """Ceilings, ours and the peers that were asked for are in the JSON, and the exit code is that of the targets."""
    command = "--size 20MB --repeats 1 --only save,hot --peers torch,safetensors".split()
    output = tmp_path / "x.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.compare", *command, "--json", output, "--dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    report = json.loads(output.read_text())
    groups = {(group["group"], group["cache"]): group for group in report["groups"]}
    assert [row["name"] for row in groups["save", ""]["rows"] if row["role"] != "ceiling"] == [
        save.OURS,
        "torch.save",
        "torch.save + fsync",
        "safetensors.save_file",
    ]
    assert {load.FULL, load.FAST, load.NONE, load.TORCH} <= {row["name"] for row in groups["load", "hot"]["rows"]}
    assert len(groups["ceilings: direct read", "cold"]["rows"]) == len(ceilings.MODES)
    assert all(row["seconds"] and row["rate"] > 0 for group in report["groups"] for row in group["rows"])
    ours = next(row for row in groups["save", ""]["rows"] if row["role"] == "ours")
    assert (ours["hashed"], ours["synced"]) == ("SHA-256, CRC-32C", True)
    assert done.returncode == any(target["verdict"] == "MISS" for target in report["targets"])
    assert "not asked for" in report["absent"]["dcp"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.json"]


def test_an_unknown_group_is_refused(capsys):
    """A typing error does not silently measure nothing."""
    with pytest.raises(SystemExit):
        main(["--only", "svae"])
    assert "there is no svae" in capsys.readouterr().err


def test_ratios_are_against_the_best_peer_and_the_lowest_ceiling(result):
    """Neither a slow peer nor a high ceiling flatters us."""
    assert result.ratio(result["ours"]) == pytest.approx(2.0)
    assert result.ratio(result["slow"]) == pytest.approx(0.5)
    assert result.share(result["ours"]) == pytest.approx(0.8)
    assert result.limit is not None
    assert result.limit.name == "copying"
    assert result.ratio(result["hashing"]) is None


def test_the_table_shows_ratio_share_and_guarantee(result):
    """Each figure of a row is where readers look for it."""
    ours = next(line for line in table.of_result(result).splitlines() if "ours" in line)
    assert ours.split() == ["*", "ours", "4.00", "±75%", "1000.0", "2.00", "x", "80%", "none"]


def test_a_group_without_peers_or_ceilings_has_neither_ratio_nor_share():
    """Nothing is divided by what was not measured."""
    alone = Result("open", "", (_row("ours", "ours", 1.0),))
    assert alone.ratio(alone.rows[0]) is None
    assert alone.share(alone.rows[0]) is None


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        (Target("x", 3.1, 3.0), "ok"),
        (Target("x", 2.9, 3.0), "MISS"),
        (Target("x", 2.9, 3.0, possible=4.0), "MISS"),
        (Target("x", 1.4, 5.0, possible=2.0), "cannot"),
        (Target("x", 60, 64, "MiB", at_least=False), "ok"),
        (Target("x", 70, 64, "MiB", at_least=False), "MISS"),
    ],
)
def test_a_target_is_out_of_reach_only_if_the_ceiling_is(target, verdict):
    """What the machine allows and we do not reach is a miss."""
    assert target.verdict == verdict
    assert ("cannot be had here: the ceiling is 2.00" in str(target)) == (verdict == "cannot")


@pytest.mark.parametrize(("text", "nbytes"), [("4GiB", 4 << 30), ("20MB", 20_000_000), ("1.5MiB", 3 << 19), ("7", 7)])
def test_sizes_are_read_as_written(text, nbytes):
    """Powers of two and of ten are told apart."""
    assert parse_size(text) == nbytes


def test_one_file_at_a_time_is_in_the_page_cache(tmp_path):
    """Warming a format empties the cache of the others; cooling one empties its own."""

    def write(_state, path):
        path.write_bytes(bytes(1 << 20))

    files = Files(tmp_path, llama_of(1), {"a": write, "b": write})
    files.path("a")
    files.warm("b")
    assert residency(files.path("b")) == 1
    assert residency(files.path("a")) < 0.01
    files.cool("b")
    assert residency(files.path("b")) < 0.01
    files.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_plot_names_all_rows_and_the_ceiling(tmp_path, result):
    """Text stays text in an SVG, so that it can be searched."""
    pytest.importorskip("matplotlib")
    path = tmp_path / "plot.svg"
    plot.draw([result], path, "a machine")
    drawn = path.read_text()
    assert all(word in drawn for word in ("ours", "slow", "fast", "ceiling: copying", "a machine"))
    assert path.stat().st_size < 100 << 10


def test_a_load_takes_as_long_as_its_slowest_part_and_the_fixed_cost():
    """With cores to spare storage decides, with few of them hashing does."""
    model = LoadTime(core=2.0, storage=8.0, fixed=0.1)
    assert model.seconds(8_000_000_000, 2) == pytest.approx(2.1)
    assert model.bound(2) == "cores"
    assert model.seconds(8_000_000_000, 16) == pytest.approx(1.1)
    assert model.bound(16) == "storage"
    assert model.cores_for(8_000_000_000, 2.1) == 2
    assert model.cores_for(8_000_000_000, 1.0) is None


def test_a_core_that_hashes_and_copies_adds_up_the_times():
    """Twice the work is half the rate."""
    assert in_turn(4.0, 4.0) == pytest.approx(2.0)
