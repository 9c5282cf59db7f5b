"""The mutants as a table."""

from __future__ import annotations

from collections.abc import Iterable

from tests.harness.mutants.catalog import MUTANTS
from tests.harness.mutants.runner import Verdict

__all__ = ["aligned", "table"]


def table() -> str:
    """All mutants, what each breaks and who notices it, in Markdown."""
    rows = (f"| {mutant.name} | {mutant.breaks} | {_cell(str(mutant.killers[0]))} |" for mutant in MUTANTS)
    return "\n".join(["| what is wrong | what may come of it | noticed by |", "|---|---|---|", *rows]) + "\n"


def _cell(killer: str) -> str:
    return f"`{killer}`" if "/" in killer else killer


def aligned(verdicts: Iterable[Verdict]) -> str:
    """What became of mutants, for a terminal."""
    rows = [
        (verdict.mutant.name, "SURVIVED" if verdict.killer is None else str(verdict.killer), f"{verdict.seconds:.1f} s")
        for verdict in verdicts
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"{name:<{widths[0]}}  {killer:<{widths[1]}}  {seconds:>{widths[2]}}" for name, killer, seconds in rows
    )
