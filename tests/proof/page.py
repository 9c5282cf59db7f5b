"""Writes the generated blocks of docs/reliability.md; what stands between them is written by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.harness.evidence import Evidence
from tests.proof.field.registry import PEERS
from tests.proof.field.rows import ROWS
from tests.proof.figures import SECTIONS, figure, joined, section, test_function
from tests.proof.machine import ROOT
from tests.proof.results import Mutant, Results

__all__ = ["BLOCKS", "PATH", "render", "write"]

PATH = ROOT / "docs" / "reliability.md"
_NOTHING = "Nothing has been measured yet."


def write(results: Results, path: Path = PATH) -> None:
    path.write_text(render(results, path.read_text(encoding="utf-8")), encoding="utf-8")


def render(results: Results, text: str) -> str:
    """A page with its generated blocks made anew.

    Raises:
        ValueError: The page has no place for a block.
    """
    for name, make in BLOCKS.items():
        pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end: {name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"the page has no block {name}")
        block = make(results).strip()
        text = pattern.sub(lambda found, block=block: f"{found[1]}{block}\n{found[2]}", text)
    return text


# --- blocks -----------------------------------------------------------------------------------------------------------


def _promises(results: Results) -> str:
    sections = [(name, [line for line in results.evidence if section(line) == name]) for name, _ in SECTIONS]
    return "\n\n".join(_section(name, lines) for name, lines in sections if lines) or _NOTHING


def _section(name: str, lines: Sequence[Evidence]) -> str:
    rows = [_promise_row(line) for line in joined(lines)]
    table = _table(["what was done", "what held", "violations", "measured", "test"], rows)
    commands = "".join(f"$ {command}\n" for command in dict.fromkeys(map(_command, lines)))
    return f"### {name}\n\n{table}\n\n```console\n{commands}```"


def _promise_row(line: Evidence) -> list[str]:
    held = f"{line.promise} *{_sentence(line.detail)}*" if line.detail else line.promise
    return [line.threat or line.promise, held, _marked(line), f"{line.scale}, {line.date}", _link(line)]


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}{'' if words.endswith('.') else '.'}"


def _link(line: Evidence) -> str:
    """The test's name in words, leading to its file."""
    path, _, function = test_function(line).partition("::")
    words = function.rpartition("::")[2].removeprefix("test_").replace("_", " ")
    return f"[{words}](../{path})" if function else f"`{path}`"


def _command(line: Evidence) -> str:
    """What repeats the figure, and others of the same file."""
    path, _, function = line.test.partition("::")
    return f".venv/bin/pytest -m proof --scale={line.scale} {path}" if function else f".venv/bin/python -m {path}"


def _marked(line: Evidence) -> str:
    return f"**VIOLATED: {figure(line)}**" if line.violations else figure(line)


def _mutants(results: Results) -> str:
    if not results.mutants:
        return _NOTHING
    rows = [[mutant.name, mutant.breaks, _noticed_by(mutant)] for mutant in results.mutants]
    noticed = sum(1 for mutant in results.mutants if mutant.noticed_by)
    dates = sorted({mutant.date for mutant in results.mutants})
    table = _table(["what is wrong", "what may come of it", "noticed by"], rows)
    return f"**{noticed} of {len(rows)} noticed**, {' and '.join(dates)}.\n\n{table}"


def _noticed_by(mutant: Mutant) -> str:
    if not mutant.noticed_by:
        return "**nothing**"
    return f"`{mutant.noticed_by}`" if "/" in mutant.noticed_by else mutant.noticed_by


def _field(results: Results) -> str:
    cells = {(cell.peer, cell.row): cell for cell in results.field}
    present = [peer for peer in PEERS if any(cell.peer == peer.name for cell in results.field)]
    tables = []
    for title in dict.fromkeys(row.table for row in ROWS):
        columns = [row for row in ROWS if row.table == title]
        rows = [
            [
                _name(peer.name),
                *(row.cell(cell.counts) if (cell := cells.get((peer.name, row.key))) else "" for row in columns),
            ]
            for peer in present
        ]
        tables.append(f"**{title}**\n\n{_table(['', *(row.heading for row in columns)], rows)}")
    return "\n\n".join([*tables, f"**How each was used, and what it promises**\n\n{_uses(results)}"])


def _name(peer: str) -> str:
    return f"**{peer}**" if peer == PEERS[-1].name else peer


def _uses(results: Results) -> str:
    versions = {cell.peer: cell.version for cell in results.field}
    rows = [
        [_name(peer.name), f"{peer.distribution} {versions[peer.name]}", peer.how, peer.claims]
        for peer in PEERS
        if peer.name in versions
    ]
    measured = sorted({f"{cell.scale}, {cell.date}" for cell in results.field})
    table = _table(["", "version", "how", "what its documentation promises of this"], rows)
    return f"{table}\n\nMeasured: {'; '.join(measured)}."


def _machines(results: Results) -> str:
    figures = [*results.evidence, *results.field]
    machines: dict[str, set[str]] = {}
    for one in figures:
        machines.setdefault(one.machine, set()).add(_short(one.commit))
    return "\n".join(f"- {name}. Commits: {', '.join(sorted(commits))}." for name, commits in sorted(machines.items()))


def _short(commit: str) -> str:
    """Ten digits; the plus of changed sources stays."""
    return commit[:10] + "+" * commit.endswith("+")


BLOCKS = {"promises": _promises, "mutants": _mutants, "field": _field, "machines": _machines}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )
