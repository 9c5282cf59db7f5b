"""The fuzz targets of the core, in C++: libFuzzer, or the driver of their own, run as a program."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.dictionary import ROOT
from tests.fuzz.loop import MEMORY_BYTES, Finding, Statistics

__all__ = ["NativeTarget", "NativeWorker", "targets"]

_WEIGHTS = {"map": 4.0, "memory": 6.0, "read": 1.0, "write": 1.0}
_BUILDS = ("fuzz", "asan")
_NUMBER = re.compile(r"stat::(\w+): +([0-9]+)")
_PROGRESS = re.compile(r"^#([0-9]+)", re.MULTILINE)
_SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}
_INTERRUPTED = 72
"""How libFuzzer ends after SIGINT."""


@dataclass(frozen=True, slots=True)
class NativeTarget:
    """A program that tries inputs by itself.

    Attributes:
        name: Its name in the table.
        program: The program.
        corpus: Where libFuzzer keeps inputs that reached new code, for the next run.
        weight: Its share of a campaign's executions.
    """

    name: str
    program: Path
    corpus: Path
    weight: float


def targets() -> list[NativeTarget]:
    """Those that are built: with libFuzzer (``cmake --preset fuzz``), or else under the sanitizers alone (``asan``)."""
    for preset in _BUILDS:
        build = ROOT / "build" / preset
        programs = {name: build / "cpp" / "tests" / "fuzz" / f"{name}_fuzz" for name in _WEIGHTS}
        if all(program.exists() for program in programs.values()):
            return [
                NativeTarget(f"core.{name}", program, build / "corpus" / name, _WEIGHTS[name])
                for name, program in programs.items()
            ]
    return []


class NativeWorker:
    """A process that runs a target for so many inputs."""

    def __init__(self, target: NativeTarget, executions: int, seed: int) -> None:
        self.target = target
        self._artifacts = Path(tempfile.mkdtemp(prefix="mckpt-fuzz-"))
        self._log = self._artifacts / "log"
        self._start = time.monotonic()
        target.corpus.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*_command(target, executions, seed), f"-artifact_prefix={self._artifacts}/", str(target.corpus)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | _SANITIZERS,
            )

    @property
    def executions(self) -> int:
        """How many inputs it has tried, as far as it says."""
        return max(map(int, _PROGRESS.findall(self._text())), default=0)

    def poll(self) -> Statistics | None:
        """What came of it, once it has ended."""
        return None if self._process.poll() is None else self._statistics()

    def stop(self) -> Statistics:
        """End it now."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return self._statistics()

    def _text(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def _statistics(self) -> Statistics:
        text = self._text()
        numbers = {key: int(value) for key, value in _NUMBER.findall(text)}
        statistics = Statistics(
            executions=numbers.get("number_of_executed_units", self.executions),
            seconds=time.monotonic() - self._start,
            slowest=numbers.get("slowest_unit_time_sec", 0),
        )
        if self._process.returncode not in (0, _INTERRUPTED, -signal.SIGINT):
            inputs = [path for path in sorted(self._artifacts.iterdir()) if path != self._log]
            what = f"exit code {self._process.returncode}: {text[-3000:]}"
            statistics.findings[what] = Finding(self.target.name, inputs[0].read_bytes() if inputs else b"", what)
        for path in self._artifacts.iterdir():
            path.unlink()
        self._artifacts.rmdir()
        return statistics


def _command(target: NativeTarget, executions: int, seed: int) -> list[str]:
    return [
        str(target.program),
        f"-runs={executions}",
        f"-seed={seed}",
        "-max_len=256",
        "-timeout=10",
        f"-malloc_limit_mb={MEMORY_BYTES // 2**20}",
        "-print_final_stats=1",
    ]
