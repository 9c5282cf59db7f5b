"""All mutants."""

from __future__ import annotations

from tests.harness.mutants import checks, order, removal, syncs
from tests.harness.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS: tuple[Mutant, ...] = (*syncs.MUTANTS, *order.MUTANTS, *checks.MUTANTS, *removal.MUTANTS)
