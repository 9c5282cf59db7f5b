"""The parts of the proof: each runs something, and says what it has shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.harness import evidence as evidences
from tests.harness.evidence import Evidence, Scale
from tests.proof.machine import ROOT
from tests.proof.results import Mutant, Results

__all__ = ["PARTS", "Outcome"]

BUILD = ROOT / "build" / "proof"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Attributes:
    shown: The figures.
    problem: What went wrong, apart from violations that the figures tell of.
    tests: Ids of all tests that give figures, if all were asked for; figures of others are out of date.
    """

    shown: Results
    problem: str = ""
    tests: frozenset[str] | None = None


# --- tests ------------------------------------------------------------------------------------------------------------


def _tests(scale: Scale) -> Outcome:
    outcome = _pytest(scale, "-m", "proof")
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-m", "proof"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    tests = frozenset(line for line in listed.stdout.splitlines() if "::" in line and not line.startswith("ERROR"))
    return Outcome(outcome.shown, outcome.problem, None if listed.returncode else tests)


def _crash(scale: Scale) -> Outcome:
    return _pytest(scale, "tests/crash", "-m", "proof or crash_long")


def _pytest(scale: Scale, *arguments: str) -> Outcome:
    BUILD.mkdir(parents=True, exist_ok=True)
    path = BUILD / "evidence.jsonl"
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", *arguments, "--scale", scale, "--evidence", str(path)]
    done = subprocess.run(command, cwd=ROOT, check=False)
    lines = tuple(evidences.read(path)) if path.exists() else ()
    return Outcome(Results(evidence=lines), f"tests failed: status {done.returncode}" if done.returncode else "")


# --- mutants ----------------------------------------------------------------------------------------------------------


def _mutants(_scale: Scale) -> Outcome:
    from tests.harness.mutants.catalog import MUTANTS
    from tests.harness.mutants.package_copy import PackageCopy
    from tests.harness.mutants.runner import kill
    from tests.harness.mutants.table import aligned

    known = []
    with tempfile.TemporaryDirectory(prefix="mckpt-mutants-") as directory:
        package = PackageCopy(Path(directory, "package"))
        for mutant in MUTANTS:
            verdict = kill(package, mutant)
            print(aligned([verdict]), flush=True)
            noticed_by = "" if verdict.killer is None else str(verdict.killer)
            known.append(Mutant(mutant.name, mutant.breaks, noticed_by, Evidence.today()))
    return Outcome(Results(mutants=tuple(known)))


# --- fuzzing ----------------------------------------------------------------------------------------------------------

_EXECUTIONS: dict[Scale, int] = {"ci": 5_000, "proof": 300_000, "full": 10_000_000}


def _fuzz(scale: Scale) -> Outcome:
    from tests.fuzz import campaign, native
    from tests.fuzz.targets.all import TARGETS

    targets = {**TARGETS, **{target.name: target for target in native.build()}}
    tasks = campaign.tasks(targets.values(), executions=_EXECUTIONS[scale], seed=1)
    jobs = len(os.sched_getaffinity(0))
    results = campaign.run(tasks, jobs=jobs, seconds=float("inf"), report=_Progress(_EXECUTIONS[scale]))
    for statistics in results.values():
        for finding in statistics.findings.values():
            print(f"finding: {campaign.save_finding(finding, BUILD / 'fuzz-findings')}: {finding.what[:500]}")
    return Outcome(Results(evidence=tuple(_of_target(targets[name], results[name], scale) for name in sorted(results))))


def _of_target(target, statistics, scale: Scale) -> Evidence:
    return Evidence(
        threat=f"inputs made to deceive: {target.name}",
        promise=f"{target.promise[0].upper()}{target.promise[1:]}.",
        trials=statistics.executions,
        unit="inputs",
        violations=len(statistics.findings),
        test=f"tests.fuzz --target {target.name}",
        scale=scale,
        date=Evidence.today(),
        detail=_cost(target, statistics),
    )


def _cost(target, statistics) -> str:
    """What an input took, or what watched it."""
    if driver := getattr(target, "driver", None):
        return f"Under AddressSanitizer and UndefinedBehaviorSanitizer, with {driver}."
    return f"At most {statistics.slowest * 1000:,.0f} ms and {statistics.peak_bytes / 1e6:,.1f} MB for one."


class _Progress:
    """A line on a terminal, a line a minute in a log."""

    def __init__(self, total: int) -> None:
        self._total, self._shown = total, 0.0

    def __call__(self, done: int, findings: int) -> None:
        terminal, now = sys.stdout.isatty(), time.monotonic()
        if now - self._shown >= (1 if terminal else 60):
            self._shown = now
            print(
                f"{done:,} of {self._total:,} inputs, {findings} findings", end="\r" if terminal else "\n", flush=True
            )


# --- the field --------------------------------------------------------------------------------------------------------


def _field(scale: Scale) -> Outcome:
    from tests.proof.field.measure import Cell, Failed, measure

    BUILD.mkdir(parents=True, exist_ok=True)
    found = list(measure(scale, BUILD / "field.log", lambda text: print(text, flush=True)))
    cells = tuple(cell for cell in found if isinstance(cell, Cell))
    failed = [row for row in found if isinstance(row, Failed)]
    for row in failed:
        print(f"not measured: {row.peer}, {row.row}: {row.reason}")
    text = json.dumps([asdict(cell) for cell in cells], indent=1)
    (BUILD / "field.json").write_text(text + "\n", encoding="utf-8")
    return Outcome(Results(field=cells), f"{len(failed)} rows of the field were not measured" if failed else "")


def _page(_scale: Scale) -> Outcome:
    return Outcome(Results())


PARTS: dict[str, Callable[[Scale], Outcome]] = {
    "tests": _tests,
    "crash": _crash,
    "mutants": _mutants,
    "fuzz": _fuzz,
    "field": _field,
    "page": _page,
}
