"""`mckpt query` is a process that takes what it may, and not more."""

from __future__ import annotations

import resource

import pytest

from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.hard_limits import hard_limits
from model_checkpoint.database import Catalog

HUGE = "SELECT length(repeat('x', 1000000000 + range::INT)) FROM range(3)"  # DuckDB neither counts nor interrupts it


@pytest.mark.parametrize(
    ("limit", "said"),
    [(["--memory", "50MB"], "more than 50000000 bytes of memory"), (["--for", "500ms"], "longer than")],
    ids=["memory", "time"],
)
def test_one_huge_value_is_no_way_past_the_limits(tmp_path, mckpt_process, limit, said):
    """The process ends, with a line that says why."""
    Catalog.open(tmp_path).close()
    done = mckpt_process("query", HUGE, *limit, "-C", tmp_path)
    assert (done.code, done.out) == (ExitCode.FAILED, "")
    assert said in done.err
    assert done.err.count("\n") == 1


def test_limits_may_be_as_wide_and_as_narrow_as_one_likes(tmp_path, mckpt_process):
    """What DuckDB and Arrow take for themselves is not counted, and no clock counts so far."""
    Catalog.open(tmp_path).close()
    limits = ["--for", "1000000000h", "--memory", "1MB", "-n", 10**20]
    done = mckpt_process("query", "SELECT 7 AS a, 8 AS a", *limits, "-C", tmp_path)
    assert (done.code, done.out.split(), done.err) == (ExitCode.OK, ["a", "a_1", "7", "8"], "")


@pytest.mark.parametrize("limits", [["--for", "0s"], ["--memory", "0"]])
def test_limits_that_allow_nothing_are_a_mistake_of_usage(tmp_path, mckpt, limits):
    """And said to be one."""
    Catalog.open(tmp_path).close()
    done = mckpt("query", "SELECT 1", *limits, "-C", tmp_path)
    assert done.code == ExitCode.USAGE
    assert "must be above 0" in done.err


def test_limits_of_the_process_end_with_the_query():
    """What the process was allowed before, it is allowed afterwards."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with hard_limits(seconds=60, memory_bytes=10**6):
        soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
        assert soft not in before
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
