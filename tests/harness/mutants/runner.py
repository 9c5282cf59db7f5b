"""Seeing whether the suite notices a mutant."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.harness.mutants.mutant import Mutant, Simulation, Test
from tests.harness.mutants.package_copy import PackageCopy
from tests.harness.simulator.campaign import BROKEN

__all__ = ["Verdict", "kill"]

_PYTEST = ("-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:randomly")
_SIMULATOR = ("-m", "tests.harness.simulator", "--stop-early", "--cuts", "12")
_UNNOTICED = 0
_FAILED = 1
"""Exit status of pytest if a test failed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant.

    Attributes:
        mutant: Which.
        killer: Who noticed it; None if nobody did.
        seconds: How long that took.
    """

    mutant: Mutant
    killer: Test | Simulation | None
    seconds: float


def kill(package: PackageCopy, mutant: Mutant) -> Verdict:
    """Run those who are expected to notice a mutant, until one does.

    Raises:
        RuntimeError: A test could not run.
    """
    began = time.perf_counter()
    with package.mutated(mutant):
        killer = next((killer for killer in mutant.killers if _notices(package, killer)), None)
    return Verdict(mutant, killer, time.perf_counter() - began)


def _notices(package: PackageCopy, killer: Test | Simulation) -> bool:
    done = package.run(_arguments(killer))
    noticed = _FAILED if isinstance(killer, Test) else BROKEN
    if done.returncode not in {_UNNOTICED, noticed}:
        raise RuntimeError(f"{killer} ended with status {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.returncode == noticed


def _arguments(killer: Test | Simulation) -> tuple[str, ...]:
    match killer:
        case Test(node):
            return (*_PYTEST, node)
        case Simulation(operation, followed):
            return (*_SIMULATOR, "--followed", str(followed), operation)
