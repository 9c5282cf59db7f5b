"""The fuzz targets of the core, in C++: programs under the sanitizers, with libFuzzer or a driver of their own."""

from __future__ import annotations

import functools
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.dictionary import ROOT
from tests.fuzz.loop import MEMORY_BYTES, SECONDS, Finding, Statistics

__all__ = ["NAMES", "NativeTarget", "NativeWorker", "build", "targets"]

_PROMISES = {
    "map": ("a mapping is verified as it is, whatever is asked for and whenever the file is cut off", 0.7),
    "memory": ("memory is copied and hashed within its bounds, whatever the offsets", 0.9),
    "read": ("spans are read with exactly the bytes of the file, or refused, whenever the file is cut off", 0.25),
    "write": ("segments are written where they belong, or refused, whatever their place", 0.15),
}
"""What each of them shows, and its share of a campaign's executions."""
NAMES = tuple(f"core.{name}" for name in _PROMISES)

_BUILDS = {"fuzz": "libFuzzer", "asan": "a driver of their own"}
_CORPUS = ROOT / "cpp" / "tests" / "fuzz" / "corpus"
_NUMBER = re.compile(r"stat::(\w+): +([0-9]+)")
_PROGRESS = re.compile(r"^#([0-9]+)", re.MULTILINE)
_SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1:quarantine_size_mb=16:"
    f"max_allocation_size_mb={MEMORY_BYTES // 2**20}:hard_rss_limit_mb={110 + MEMORY_BYTES // 2**20}",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}
"""A program has up to 90 MB before its first input: what is beyond is the inputs'."""
_INTERRUPTED = 72
"""How libFuzzer ends after SIGINT."""


@dataclass(frozen=True, slots=True)
class NativeTarget:
    """A program that tries inputs by itself.

    Attributes:
        name: Its name in the table.
        promise: What is shown, for people.
        driver: What makes the inputs.
        program: The program.
        corpora: Inputs to begin with. libFuzzer adds those that reached new code to the first one, for the next run.
        weight: Its share of a campaign's executions.
    """

    name: str
    promise: str
    driver: str
    program: Path
    corpora: tuple[Path, Path]
    weight: float


def targets() -> list[NativeTarget]:
    """Those that are built, best with libFuzzer; none if one is missing."""
    for preset in _BUILDS:
        found = [_target(preset, name) for name in _PROMISES]
        if all(target.program.exists() for target in found):
            return found
    return []


def _target(preset: str, name: str) -> NativeTarget:
    directory = ROOT / "build" / preset
    promise, weight = _PROMISES[name]
    program = directory / "cpp" / "tests" / "fuzz" / f"{name}_fuzz"
    corpora = (directory / "corpus" / name, _CORPUS / name)
    return NativeTarget(f"core.{name}", promise, _BUILDS[preset], program, corpora, weight)


def build() -> list[NativeTarget]:
    """Build them as they are now: with libFuzzer where there is a clang that has it, else with the driver of their own.

    Raises:
        OSError: There is no cmake.
        subprocess.CalledProcessError: They cannot be built.
    """
    clang = _clang()
    preset, options = ("asan", []) if clang is None else ("fuzz", [f"-DCMAKE_CXX_COMPILER={clang}"])
    programs = [f"{name}_fuzz" for name in _PROMISES]
    for command in (["--fresh", "--preset", preset, *options], ["--build", "--preset", preset, "--target", *programs]):
        subprocess.run(["cmake", *command], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return [_target(preset, name) for name in _PROMISES]


@functools.cache
def _clang() -> str | None:
    """A clang that has libFuzzer's runtime: Debian has that in a package of its own."""
    for name in ("clang++", *(f"clang++-{version}" for version in range(25, 13, -1))):
        path = shutil.which(name)
        probe = 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }'
        command = [path or "", "-fsanitize=fuzzer", "-x", "c++", "-", "-o", os.devnull]
        if path and subprocess.run(command, input=probe.encode(), capture_output=True, check=False).returncode == 0:
            return path
    return None


class NativeWorker:
    """A process that runs a target for so many inputs."""

    def __init__(self, target: NativeTarget, executions: int, seed: int) -> None:
        self.target = target
        self._artifacts = Path(tempfile.mkdtemp(prefix="mckpt-fuzz-"))
        self._log = self._artifacts / "log"
        self._start = time.monotonic()
        target.corpora[0].mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*_command(target, executions, seed), f"-artifact_prefix={self._artifacts}/"],
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
        inputs = [path for path in sorted(self._artifacts.iterdir()) if path != self._log]
        if self._process.returncode not in (0, _INTERRUPTED, -signal.SIGINT):
            what = f"exit code {self._process.returncode}: {text[-3000:]}"
            statistics.findings[what] = Finding(self.target.name, inputs[0].read_bytes() if inputs else b"", what)
        for path in inputs:
            if path.name.startswith("slow-unit") and (taken := _cpu_seconds(self.target.program, path)) > SECONDS:
                what = f"took {taken:.1f} s"
                statistics.findings[what] = Finding(self.target.name, path.read_bytes(), what)
        shutil.rmtree(self._artifacts)
        return statistics


def _cpu_seconds(program: Path, path: Path) -> float:
    """What an input takes by itself that seemed slow: the machine may have been busy with something else."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([program, path], env=os.environ | _SANITIZERS, capture_output=True, check=False, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _command(target: NativeTarget, executions: int, seed: int) -> list[str]:
    return [
        str(target.program),
        f"-runs={executions}",
        f"-seed={seed}",
        "-max_len=256",
        "-timeout=10",
        f"-report_slow_units={SECONDS:.0f}",
        "-print_final_stats=1",
        *map(str, filter(Path.is_dir, target.corpora)),
    ]
