"""Builds of the package to compare, made alike from two source trees.

The package is tens of files to copy, the core a minute to compile: cores are kept by the digest of their sources, so
that a change of Python alone compiles nothing, and both sides then run the same machine code.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILDS = ROOT / "build" / "regression"
CORE_SOURCES = ("CMakeLists.txt", "cpp/CMakeLists.txt", "cpp/include", "cpp/src", "cpp/bindings")
SOURCES = (*CORE_SOURCES, "python")  # all that can change a figure


def extract(commit: str, directory: Path) -> Path:
    """A commit's sources, without touching the checkout."""
    archive = git_bytes("archive", "--format=tar", commit, "CMakeLists.txt", "cpp", "pyproject.toml", "python")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(directory, filter="data")
    return directory


def package(source: Path, name: str, core: Path) -> Path:
    """Put a source tree's package and a core together; returns the directory that holds `model_checkpoint`."""
    packages = BUILDS / name
    shutil.rmtree(packages, ignore_errors=True)
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(source / "python" / "model_checkpoint", packages / "model_checkpoint", ignore=ignored)
    only_core = shutil.ignore_patterns("*.py", "*.pyi", "__pycache__", "py.typed")
    shutil.copytree(core, packages / "model_checkpoint", ignore=only_core, dirs_exist_ok=True)
    return packages


def installed_core() -> Path:
    """The core that is installed in this environment: built for release, as in wheels, if nobody asked for another."""
    spec = importlib.util.find_spec("model_checkpoint._native._core")
    if spec is None or spec.origin is None:
        raise RuntimeError("no core is installed: make build")
    return Path(spec.origin).parents[1]


def core(source: Path) -> Path:
    """The compiled core of a source tree, as it lies in the package."""
    installed = BUILDS / "cores" / digest(source, CORE_SOURCES)
    if not installed.exists():
        with tempfile.TemporaryDirectory() as temporary:
            compile_core(source, Path(temporary), installed)
    return installed / "model_checkpoint"


def compile_core(source: Path, build: Path, installed: Path) -> None:
    """As in wheels; nobody finds a core that is not whole."""
    part = installed.with_suffix(".part")
    options = ["-DCMAKE_BUILD_TYPE=Release", f"-DPython_EXECUTABLE={sys.executable}"]
    run("cmake", "-S", str(source), "-B", str(build), "-G", "Ninja", *options)
    run("cmake", "--build", str(build))
    run("cmake", "--install", str(build), "--prefix", str(part))
    part.rename(installed)


def digest(source: Path, parts: tuple[str, ...]) -> str:
    """What tells two trees apart: names and contents of the files in these parts."""
    result = hashlib.sha256()
    for path in sorted(files(source, parts)):
        content = path.read_bytes()
        result.update(f"{path.relative_to(source)}\0{len(content)}\0".encode() + content)
    return result.hexdigest()[:16]


def files(source: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    for part in parts:
        if (source / part).is_file():
            yield source / part
        for path in (source / part).rglob("*"):
            if path.is_file() and path.suffix not in {".so", ".pyc"}:
                yield path


def run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}")


def git_bytes(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
