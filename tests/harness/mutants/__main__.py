"""Run the suite against mutants: ``python -m tests.harness.mutants [WORD …]``.

Without words, against all; else against those whose names contain one. Ends with status 1 if one survives.
"""

from __future__ import annotations

import sys

from tests.harness.memory_place import memory_place
from tests.harness.mutants.catalog import MUTANTS
from tests.harness.mutants.package_copy import PackageCopy
from tests.harness.mutants.runner import kill
from tests.harness.mutants.table import aligned


def main(words: list[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]
    verdicts = []
    with memory_place("mutants") as directory:
        package = PackageCopy(directory / "package")
        for mutant in chosen:
            verdicts.append(kill(package, mutant))
            print(aligned(verdicts[-1:]), file=sys.stderr, flush=True)
    print(aligned(verdicts))
    killed = sum(verdict.killer is not None for verdict in verdicts)
    print(f"{killed} of {len(verdicts)} mutants were noticed")
    return int(killed < len(verdicts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
