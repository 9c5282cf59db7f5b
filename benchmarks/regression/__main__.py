"""Has this tree become slower? It is compared with itself, in one run, and never with a figure in seconds.

    python -m benchmarks.regression [--base COMMIT | --within] [--only TEXT]

First claims about this build alone: what its parts cost in terms of each other. Then the same work on this build and
on that of an earlier commit, in turn. With `--within`, the first alone, of the core that is installed: nothing is
compiled, and it is part of what every change must pass.

Of each ratio the median is shown with its 99 % confidence interval; a claim fails if all of the interval is above its
bound, twice. Exits with 1 if one failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.regression.against_base import against_base
from benchmarks.regression.base import choose_base
from benchmarks.regression.build import BUILDS, ROOT, SOURCES, core, digest, extract, installed_core, package
from benchmarks.regression.comparison import Comparison, judge
from benchmarks.regression.invariants import invariants
from benchmarks.regression.side import SideError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regression", description=__doc__.partition("\n")[0])
    bases = parser.add_mutually_exclusive_group()
    bases.add_argument("--base", metavar="COMMIT", help="default: where the branch left main, or the commit before")
    bases.add_argument("--within", action="store_true", help="only claims about this build, with the installed core")
    parser.add_argument("--only", metavar="TEXT", default="", help="only claims whose name has this text")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    BUILDS.mkdir(parents=True, exist_ok=True)
    candidate = package(ROOT, "candidate", installed_core() if arguments.within else core(ROOT))
    failed = report("within this build", invariants(candidate), arguments.only)
    if not arguments.within:
        failed += report_against_base(candidate, arguments.base, arguments.only)
    print(f"\n{failed} of the claims failed" if failed else "\nno claim failed")
    return 1 if failed else 0


def report_against_base(candidate: Path, commit: str | None, only: str) -> int:
    base = choose_base(commit)
    if base is None:
        print("\nno earlier commit is at hand: nothing to compare with")
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        source = extract(base, Path(temporary))
        if digest(source, SOURCES) == digest(ROOT, SOURCES):
            print(f"\nthe sources are those of {base[:9]}: nothing to compare")
            return 0
        built = package(source, "base", core(source))
    return report(f"against {base[:9]}", against_base(candidate, built), only)


def report(title: str, comparisons: list[Comparison], only: str) -> int:
    """Print a line for each comparison; how many failed."""
    print(f"\n{title:48}   ratio   99 % interval   at most", flush=True)
    failed = 0
    for comparison in comparisons:
        if only in comparison.name:
            failed += report_one(comparison)
    return failed


def report_one(comparison: Comparison) -> bool:
    try:
        verdict = judge(comparison)
    except SideError as error:
        print(f"  {comparison.name:46}   cannot be run by {error.side.packages.name}: {error}", flush=True)
        return error.side.packages == comparison.numerator.packages  # an earlier commit may lack what this one has
    ratio = verdict.ratio
    mark = "  SLOWER" if verdict.failed else ""
    interval = f"{ratio.low:6.2f} to {ratio.high:4.2f}"
    print(f"  {comparison.name:46} {ratio.median:7.2f}  {interval:>14} {comparison.at_most:9.2f}{mark}", flush=True)
    return verdict.failed


if __name__ == "__main__":
    sys.exit(main())
