"""A process that does one workload, on one build, whenever it is told to.

    python -m benchmarks.regression.worker PACKAGES BENCHMARK PARAMETERS

PACKAGES is the directory that holds the build's `model_checkpoint`. Once it is ready it prints a line; for each line
that it reads, a number of calls, it prints the seconds that these took.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from benchmarks.regression.workload import Workload


def import_from(packages: str) -> None:
    """Let `model_checkpoint` be the one in this directory, whatever else is installed."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in type(finder).__module__]
    sys.path.insert(0, packages)
    import model_checkpoint

    found = Path(model_checkpoint.__file__).parents[1]
    if found != Path(packages):
        raise ImportError(f"model_checkpoint comes from {found}, not from {packages}")


def serve(workload: Workload) -> None:
    call = workload.prepare()
    call()
    print("ready", flush=True)
    for line in sys.stdin:
        number = int(line)
        start = time.perf_counter()
        for _ in range(number):
            call()
        print((time.perf_counter() - start) / number, flush=True)


def main() -> None:
    packages, benchmark, parameters = sys.argv[1:]
    import_from(packages)
    serve(Workload(benchmark, tuple(json.loads(parameters))))
    sys.stdout.flush()
    os._exit(0)  # what a suite leaves open is closed by the system, not by finalizers that may wait


if __name__ == "__main__":
    main()
