"""Where figures come from: the machine and the sources, each in a line."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import sqlite3
import subprocess
from pathlib import Path

__all__ = ["ROOT", "commit", "machine"]

ROOT = Path(__file__).parents[2]
_SOURCES = ("python", "cpp")


@functools.cache
def machine() -> str:
    """Processor, memory, kernel, file system of the working directory, and versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    versions = [f"{name} {found}" for name in ("torch", "numpy", "safetensors") if (found := _version(name))]
    return ", ".join(
        [
            f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
            f"{memory:.0f} GiB",
            f"Linux {platform.release()}",
            f"work on {_file_system(ROOT)}, temporary files on {_file_system(Path('/dev/shm'))}",
            f"Python {platform.python_version()}",
            *versions,
            f"SQLite {sqlite3.sqlite_version}",
        ]
    )


@functools.cache
def commit() -> str:
    """The commit; with a plus if its sources were changed."""
    try:
        name = _run("git", "rev-parse", "--short=10", "HEAD")
        return name + ("+" if _run("git", "status", "--porcelain", "--", *_SOURCES) else "")
    except (OSError, subprocess.CalledProcessError):
        return "no checkout"


def _run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return " ".join(line.partition(":")[2].split())
    return platform.machine()


def _file_system(path: Path) -> str:
    """The type of the file system that a path lies on."""
    device = os.stat(path).st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields, _, rest = line.partition(" - ")
        if fields.split()[2] == name:
            return rest.split()[0]
    return "an unknown file system"
