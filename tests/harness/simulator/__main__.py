"""Try power cuts on a simulated disk: ``python -m tests.harness.simulator [OPTIONS] [OPERATION …]``.

Prints what came of it as JSON, and ends with status 3 if a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import sys

from tests.harness.memory_place import memory_place
from tests.harness.simulator.campaign import BROKEN, NAMES, Effort, run, without_syncs
from tests.harness.simulator.recording import OperationFailedError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.harness.simulator", description=__doc__)
    parser.add_argument("operations", nargs="*", default=NAMES, metavar="OPERATION", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--cuts", type=int, default=10, help="power cuts at each moment of an operation")
    parser.add_argument(
        "--followed", type=int, default=0, help="kills in each operation after which another one goes on"
    )
    parser.add_argument("--repeated", type=int, default=0, help="power cuts after which another operation goes on")
    parser.add_argument("--later-cuts", type=int, default=2, help="power cuts at each moment of what goes on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stop-early", action="store_true", help="end with the first violation")
    parser.add_argument("--omit-syncs", action="store_true", help="say instead whether each sync is needed")
    given = parser.parse_args()
    effort = Effort(given.cuts, given.followed, given.repeated, given.later_cuts)
    with memory_place("simulator") as base:
        if given.omit_syncs:
            print(json.dumps({"omitted": without_syncs(base, given.operations[0])}, indent=1))
            return 0
        try:
            outcome = run(base, given.operations, effort, seed=given.seed, stop_early=given.stop_early)
        except OperationFailedError as error:  # although nobody has cut the power
            print(error, file=sys.stderr)
            return BROKEN
    print(json.dumps(outcome.as_dict(), indent=1))
    return BROKEN if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
