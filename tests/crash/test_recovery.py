"""A process that dies, a recovery that dies over it, and one that dies over that."""

from __future__ import annotations

import random

import pytest

from tests.harness.operations import OPERATIONS

pytestmark = pytest.mark.crash

DEPTH = 3


def test_a_recovery_that_is_killed_is_recovered_from(ask, trials, evidence):
    """Three kills in a row at any system call: of an operation, of the recovery, and of that one's recovery."""
    chains, violations = trials(ci=10, proof=100, full=500), []
    for seed in range(chains):
        operation = random.Random(seed).choice([*OPERATIONS])
        problems = ask("chain", operation=operation, seed=seed, depth=DEPTH)
        if problems:
            violations.append(f"chain {seed}, of {operation}: " + "; ".join(problems))
    evidence(
        threat="a kill at any system call of an operation, then one of the recovery, then one of that one's recovery",
        promise=(
            "The next recovery finishes the work: what was acknowledged loads bit for bit, nothing half-done is "
            "visible, nothing is left behind, the next save works, and one more recovery changes nothing."
        ),
        trials=chains,
        unit="chains of three kills",
        violations=len(violations),
        detail=f"each of {len(OPERATIONS)} operations, at random",
    )
    assert violations == []
