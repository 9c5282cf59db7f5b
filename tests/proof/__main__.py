"""``python -m tests.proof``: try every promise, count, and write docs/reliability.md.

The parts: `tests` (all tests that give figures), `crash` (those of tests/crash), `mutants` (bugs put into the
protocol), `fuzz` (inputs made to deceive), `field` (other packages, beside us). `page` writes the page.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from tests.harness.evidence import SCALES
from tests.proof import page, results, summary
from tests.proof.parts import PARTS, Outcome
from tests.proof.results import Results

_ALL = ("tests", "mutants", "fuzz", "field")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if unknown := set(options.part) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    outcomes = []
    for name in options.part or _ALL:
        print(f"== {name}, scale {options.scale}", flush=True)
        outcome = PARTS[name](options.scale)
        _keep(outcome, force=options.force)  # at once: the next part may take an hour, or fail
        outcomes.append(outcome)
    shown = results.load() if options.part == ["page"] else _together(outcomes)
    summary.show(shown)
    print(f"wrote {os.path.relpath(page.PATH)}")
    return _verdict([outcome.problem for outcome in outcomes if outcome.problem], summary.violations(shown))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="*", metavar="part", help=f"what to run (default: {' '.join(_ALL)})")
    parser.add_argument("--scale", choices=SCALES, default="proof", help="how thoroughly (full: hours)")
    parser.add_argument("--force", action="store_true", help="replace figures of more thorough runs, too")
    return parser


def _keep(outcome: Outcome, *, force: bool) -> None:
    known = results.load().updated(outcome.shown, force=force)
    if outcome.tests is not None:
        known = known.without_tests_but(outcome.tests)
    known.save()
    page.write(known)


def _together(outcomes: Sequence[Outcome]) -> Results:
    together = Results()
    for outcome in outcomes:
        together = together.updated(outcome.shown, force=True)
    return together


def _verdict(problems: Sequence[str], violations: int) -> int:
    for problem in problems:
        print(f"error: {problem}")
    print(f"{violations} figures tell of a violation" if violations else "no violation")
    return 1 if problems or violations else 0


if __name__ == "__main__":
    sys.exit(main())
