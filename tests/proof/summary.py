"""The figures on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from tests.harness.evidence import Evidence
from tests.proof.field.measure import OURS
from tests.proof.field.registry import PEERS
from tests.proof.field.rows import ROWS
from tests.proof.figures import SECTIONS, figure, joined, section
from tests.proof.results import Results

__all__ = ["show", "violations"]

_WIDTH_OF_A_LOG = 160


def violations(results: Results) -> int:
    """How many figures tell of a broken promise of ours."""
    return sum(
        [
            *(line.violations > 0 for line in results.evidence),
            *(cell.violations > 0 for cell in results.field),
            *(not mutant.noticed_by for mutant in results.mutants),
        ]
    )


def show(results: Results) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH_OF_A_LOG)
    if results.field:
        for title in dict.fromkeys(row.table for row in ROWS):
            console.print(_of_field(results, title))
    if results.mutants:
        console.print(_of_mutants(results))
    if results.evidence:
        console.print(_of_promises(results))


def _of_promises(results: Results) -> Table:
    table = Table(title="Promises", title_justify="left", expand=True)
    table.add_column("what was done", ratio=3)
    table.add_column("what held", ratio=4)
    table.add_column("violations", ratio=2)
    table.add_column("scale", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name, _ in SECTIONS:
        for line in joined(line for line in results.evidence if section(line) == name):
            table.add_row(line.threat or line.test, line.promise, figure(line), line.scale, _verdict(line))
        table.add_section()
    return table


def _verdict(line: Evidence) -> str:
    return "[red]violated[/red]" if line.violations else "[green]ok[/green]"


def _of_field(results: Results, title: str) -> Table:
    columns = [row for row in ROWS if row.table == title]
    table = Table(title=title, title_justify="left", expand=True)
    for heading in ("", *(row.heading for row in columns)):
        table.add_column(heading, ratio=1)
    cells = {(cell.peer, cell.row): cell for cell in results.field}
    for peer in PEERS:
        texts = [row.cell(cells[peer.name, row.key].counts) if (peer.name, row.key) in cells else "" for row in columns]
        if any(texts):
            table.add_row(peer.name, *texts, style="bold" if peer.name == OURS else "")
    return table


def _of_mutants(results: Results) -> Table:
    noticed = sum(1 for mutant in results.mutants if mutant.noticed_by)
    table = Table(title=f"Mutants: {noticed} of {len(results.mutants)} noticed", title_justify="left", expand=True)
    for heading, ratio in (("what is wrong", 3), ("what may come of it", 3), ("noticed by", 3)):
        table.add_column(heading, ratio=ratio)
    for mutant in results.mutants:
        table.add_row(mutant.name, mutant.breaks, mutant.noticed_by or "[red]nothing[/red]")
    return table
