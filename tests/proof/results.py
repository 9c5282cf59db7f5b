"""All figures, the last ones of each test, in a file beside the page that is made of it.

A run replaces what it has tried again, and nothing else. A figure of a thorough run stays when a smaller one holds as
well, unless it is asked to go; a violation always replaces it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests.harness.evidence import SCALES, UNFINISHED, Evidence
from tests.proof.field.measure import Cell
from tests.proof.machine import ROOT, commit, machine

__all__ = ["PATH", "Mutant", "Results", "load"]

PATH = ROOT / "docs" / "reliability.json"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug that was put into the protocol to see whether the suite notices.

    Attributes:
        name: What is wrong.
        breaks: What may come of it.
        noticed_by: The check that noticed it; empty if none did.
        date: The day, UTC.
    """

    name: str
    breaks: str
    noticed_by: str
    date: str


@dataclass(frozen=True, slots=True)
class Results:
    evidence: tuple[Evidence, ...] = ()
    field: tuple[Cell, ...] = ()
    mutants: tuple[Mutant, ...] = ()

    def updated(self, new: Results, *, force: bool = False) -> Results:
        """These, and what a run has shown anew."""
        known = self._with_evidence(new.evidence, force=force)._with_field(new.field, force=force)
        return replace(known, mutants=new.mutants or known.mutants)

    def without_tests_but(self, known: Collection[str]) -> Results:
        """Without the figures of tests that do not exist any more; what are no tests of pytest's stays."""
        kept = (line for line in self.evidence if "::" not in line.test or line.test in known)
        return replace(self, evidence=tuple(kept))

    def _with_evidence(self, new: Iterable[Evidence], *, force: bool = False) -> Results:
        """What a run of tests has shown."""
        by_test: dict[str, list[Evidence]] = {}
        for line in new:
            by_test.setdefault(line.test, []).append(replace(line, commit=commit(), machine=machine()))
        kept: dict[str, list[Evidence]] = {}
        for line in self.evidence:
            kept.setdefault(line.test, []).append(line)
        for test, lines in by_test.items():
            old = kept.get(test, [])
            if force or not old or _outranks(lines, old):
                kept[test] = _with_words_of(old, lines)
        return replace(self, evidence=tuple(line for test in sorted(kept) for line in kept[test]))

    def _with_field(self, new: Iterable[Cell], *, force: bool = False) -> Results:
        """What came of rows of the table of the field."""
        cells = {(cell.peer, cell.row): cell for cell in self.field}
        for cell in new:
            old = cells.get((cell.peer, cell.row))
            if force or old is None or cell.version != old.version or cell.violations or _rank(cell) >= _rank(old):
                cells[cell.peer, cell.row] = replace(cell, commit=commit(), machine=machine())
        return replace(self, field=tuple(cells[key] for key in sorted(cells)))

    def save(self, path: Path = PATH) -> None:
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load(path: Path = PATH) -> Results:
    if not path.exists():
        return Results()
    stored: dict[str, list[dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8"))
    return Results(
        tuple(Evidence(**line) for line in stored["evidence"]),
        tuple(Cell(**cell) for cell in stored["field"]),
        tuple(Mutant(**mutant) for mutant in stored["mutants"]),
    )


def _rank(figure: Evidence | Cell) -> int:
    return SCALES.index(figure.scale)


def _outranks(new: Sequence[Evidence], old: Sequence[Evidence]) -> bool:
    """Whether figures say more than those that there are: they are as thorough, or tell of a violation."""
    return any(line.violations for line in new) or max(map(_rank, new)) >= max(map(_rank, old))


def _with_words_of(old: Sequence[Evidence], new: Sequence[Evidence]) -> list[Evidence]:
    """A test that failed without a figure says what it is about in the words of its last success."""
    words = next((line for line in old if line.threat), None)
    if words is None:
        return list(new)
    return [
        replace(line, threat=words.threat, promise=words.promise) if line.unit == UNFINISHED else line for line in new
    ]
