"""One side of a comparison: a workload on a build, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from benchmarks.regression.workload import Workload

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Side:
    """What is run.

    Attributes:
        packages: The directory that holds the build's `model_checkpoint`.
        workload: What it does.
        environment: Variables that differ from this process's.
    """

    packages: Path
    workload: Workload
    environment: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def running(self) -> Iterator[Runner]:
        """Start the process in an empty directory beside the builds; it is ready, and warm, when this returns."""
        directory = tempfile.TemporaryDirectory(dir=self.packages.parent, prefix="run-")
        with directory as cwd, tempfile.TemporaryFile("w+") as errors, self._start(cwd, errors) as process:
            try:
                yield Runner(self, process, errors)
            finally:
                process.kill()

    def _start(self, directory: str, errors: IO[str]) -> subprocess.Popen[str]:
        workload = self.workload
        command = [sys.executable, "-m", "benchmarks.regression.worker"]
        command += [str(self.packages), workload.benchmark, json.dumps(workload.parameters)]
        return subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )


class SideError(Exception):
    """A side cannot be run."""

    def __init__(self, side: Side, reason: str) -> None:
        super().__init__(reason)
        self.side = side


class Runner:
    """A side that is running.

    Raises:
        SideError: It cannot be set up; the message is the last line that it printed.
    """

    def __init__(self, side: Side, process: subprocess.Popen[str], errors: IO[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._side, self._errors = side, errors
        self._requests, self._answers = process.stdin, process.stdout
        self._answer()

    def seconds(self, number: int) -> float:
        """Seconds of one call, as the mean of `number` of them."""
        self._requests.write(f"{number}\n")
        self._requests.flush()
        return float(self._answer())

    def _answer(self) -> str:
        line = self._answers.readline()
        if not line:
            self._errors.seek(0)
            raise SideError(self._side, self._errors.read().strip().rpartition("\n")[2])
        return line
