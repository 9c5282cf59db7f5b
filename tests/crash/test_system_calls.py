"""SIGKILL instead of each system call of everything that changes a store."""

from __future__ import annotations

import itertools

import pytest

from tests.harness.operations import OPERATIONS

pytestmark = pytest.mark.crash

PROMISE = (
    "What was acknowledged is there and loads bit for bit, nothing half-done is visible, the catalog opens and agrees "
    "with the files, leftovers go, the next save works, and a second recovery changes nothing."
)


class Kills:
    """Kills an operation at call after call, and gathers what was wrong afterwards."""

    def __init__(self, ask, operation, which):
        self.ask, self.operation, self.which = ask, operation, which
        self.done = 0
        self.violations = []

    def at(self, number):
        """Whether there was such a call."""
        call, problems = self.ask("kill_at", operation=self.operation, at=number, which=self.which)
        self.done += call is not None
        if problems:
            self.violations.append(f"killed at call {number}, {call}: " + "; ".join(problems))
        return call is not None

    def everywhere(self):
        """Threads make the number of calls vary a little: this ends when three in a row were not reached."""
        beyond = 0
        for number in itertools.count(1):
            beyond = 0 if self.at(number) else beyond + 1
            if beyond == 3 or len(self.violations) >= 5:
                return


def spread(length, count):
    """Numbers from 1 to ``length``, both included, at equal distances."""
    return sorted({1 + round(i * (length - 1) / (count - 1)) for i in range(count)})


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_kill_at_any_system_call_loses_nothing(ask, scale, evidence, operation):
    """Killed instead of any of its system calls, in any thread, an operation has happened, or not, or both are seen."""
    kills = Kills(ask, operation, "every" if scale == "full" else "changes")
    length = ask("count", operation=operation, which=kills.which)
    if scale == "ci":
        for number in spread(length, 4):
            kills.at(number)
    else:
        kills.everywhere()
    calls = "system call" if scale == "full" else "system call that changes files"
    evidence(
        threat=f"a kill at {'one' if scale == 'ci' else 'every'} {calls} of {operation}",
        promise=PROMISE,
        trials=kills.done,
        unit="kills",
        violations=len(kills.violations),
        detail=f"left alone, it makes {length} such calls",
        exhaustive=scale != "ci",
    )
    assert kills.violations == []
    assert kills.done >= (4 if scale == "ci" else length * 9 // 10)


@pytest.mark.parametrize(
    ("operation", "moment"),
    [
        ("emptying the trash of what has expired", "removals for good"),
        ("a cleanup for good", "removals for good"),
        ("the rebuilding of a lost catalog", "syncs of the catalog"),
        ("the rebuilding of a damaged catalog", "syncs of the catalog"),
        ("the first save of a store", "syncs of the catalog"),
    ],
)
def test_a_kill_at_a_moment_that_once_mattered_loses_nothing(ask, operation, moment):
    """A removal cut short left an annotation and a row; a rebuilding cut short left an empty catalog for good."""
    kills = Kills(ask, operation, moment)
    kills.everywhere()
    assert kills.violations == []
    assert kills.done >= 1
