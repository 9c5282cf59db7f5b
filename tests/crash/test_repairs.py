"""SIGKILL instead of each system call of a scrub that repairs."""

from __future__ import annotations

from functools import partial

import pytest

pytestmark = pytest.mark.crash


@pytest.fixture(scope="module")
def ask(nursery):
    """Asks for a function of `tests.harness.repairs`."""
    nursery.ask("tests.harness.repairs", "warm_up")
    return partial(nursery.ask, "tests.harness.repairs")


def test_a_kill_at_any_system_call_of_a_repair_leaves_the_old_file_or_the_new_one(ask, scale, evidence):
    """Never a third thing; the next scrub repairs the rest, and nothing is left behind."""
    which = "every" if scale == "full" else "changes"
    length = ask("count", which=which)
    numbers = range(1, length + 4) if scale != "ci" else sorted({1 + i * (length - 1) // 5 for i in range(6)})
    done, violations = 0, []
    for number in numbers:
        call, problems = ask("kill_at", at=number, which=which)
        done += call is not None
        violations += [f"killed at call {number}, {call}: {problem}" for problem in problems]
    calls = "system call" if scale == "full" else "system call that changes files"
    evidence(
        threat=f"a kill at {'one' if scale == 'ci' else 'every'} {calls} of a scrub that repairs",
        promise="Each file is the damaged one or the repaired one, whole; the next scrub repairs what is left.",
        trials=done,
        unit="kills",
        violations=len(violations),
        detail=f"left alone, it makes {length} such calls",
        exhaustive=scale != "ci",
    )
    assert violations == []
    assert done >= min(len(numbers), length) * 9 // 10
