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


def test_limits_of_the_process_end_with_the_query():
    """What the process was allowed before, it is allowed afterwards."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with hard_limits(seconds=60, memory_bytes=10**6):
        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        assert soft not in before
    assert resource.getrlimit(resource.RLIMIT_AS) == before
