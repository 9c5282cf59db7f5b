"""Every call of the C library, failing: by us, by SQLite or by the core, of every kind, at every place.

What is done, and the store that it is done to, is in `tests.harness.faults_operations`; what must hold afterwards in
`tests.harness.faults_trial`: the failure is told in our own words, every checkpoint is whole, catalog and store agree,
nothing is left behind or open, and the next save works.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.harness import faults
from tests.harness.faults import FAULTS
from tests.harness.faults_operations import OPERATIONS
from tests.harness.nursery import Nursery

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(faults.unavailable() is not None, reason=str(faults.unavailable())),
]

_TRIAL = "tests.harness.faults_trial"
_PATIENCE_S = 6 * 60 * 60  # a sweep makes hundreds of trials

SURVIVED = [name for name, fault in FAULTS.items() if fault.is_survived]
REPORTED = [name for name in FAULTS if name not in SURVIVED]


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery(LD_PRELOAD=faults.library()) as process:
        yield process


@dataclass
class Sweeps:
    """What several sweeps have found.

    Attributes:
        trials: How many calls were hit.
        raised: How often that was reported.
        survived: How often it made no difference.
        problems: What was wrong.
    """

    trials: int = 0
    raised: int = 0
    survived: int = 0
    by_fault: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add(self, fault: str, result: dict[str, Any]) -> None:
        self.trials += result["trials"]
        self.raised += result["raised"]
        self.survived += result["survived"]
        self.by_fault[fault] += result["trials"]
        self.problems += result["problems"]

    def __str__(self) -> str:
        kinds = ", ".join(f"{fault}: {trials}" for fault, trials in self.by_fault.items())
        return f"{len(OPERATIONS)} operations; {kinds}; {self.raised} reported, {self.survived} without consequence"


def sweep_all(nursery: Nursery, base: str, names: list[str], stride: int) -> Sweeps:
    """All operations under these faults, at each ``stride``-th call; where it begins differs from one to the next."""
    sweeps = Sweeps()
    for number, (operation, fault) in enumerate((o, f) for o in OPERATIONS for f in names):
        found = nursery.ask(
            _TRIAL,
            "sweep",
            timeout_s=_PATIENCE_S,
            base=base,
            operation=operation,
            fault=fault,
            first=1 + number * 7 % stride,
            stride=stride,
        )
        sweeps.add(fault, found)
    return sweeps


def test_a_call_that_fails_is_reported_and_harms_nothing(memory_path, nursery, trials, evidence):
    """EIO, ENOSPC, EDQUOT, once and for good: told as what it is; all that was acknowledged is whole afterwards."""
    sweeps = sweep_all(nursery, str(memory_path), REPORTED, trials(ci=131, proof=37, full=1))
    evidence(
        threat="a call for input or output that fails with EIO, ENOSPC or EDQUOT, at every call of an operation",
        promise=(
            "The failure is reported as a StorageError or DiskFullError with path and errno, background saves included;"
            " every older checkpoint verifies, nothing is half visible, and the next save works."
        ),
        trials=sweeps.trials,
        unit="failed calls",
        violations=len(sweeps.problems),
        detail=str(sweeps),
    )
    assert sweeps.problems == []
    assert sweeps.raised > sweeps.survived > 0


def test_interrupted_and_short_calls_are_not_noticed(memory_path, nursery, trials, evidence):
    """EINTR and reads and writes of one byte: everything succeeds."""
    sweeps = sweep_all(nursery, str(memory_path), SURVIVED, trials(ci=67, proof=23, full=1))
    evidence(
        threat="a call that a signal interrupts, or a read or write that moves one byte, at every call of an operation",
        promise="The call is repeated or goes on, and the operation succeeds with every byte right.",
        trials=sweeps.trials,
        unit="calls",
        violations=len(sweeps.problems),
        detail=str(sweeps),
    )
    assert sweeps.problems == []
    assert sweeps.survived > 0


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_are_what_the_sweeps_take_them_for(memory_path, nursery, operation):
    """Left alone, each succeeds and passes the same judgement; it makes calls that can fail."""
    census = nursery.ask(_TRIAL, "census", base=str(memory_path), operation=operation)
    assert sum(census.values()) >= 10
    assert census["open"] + census.get("create", 0) > 0
