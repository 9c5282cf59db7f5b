"""What importing costs: the heavy dependencies are loaded by what uses them, never by the package itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "alembic",
    "duckdb",
    "numpy",
    "pyarrow",
    "rich",
    "safetensors",
    "sqlalchemy",
    "sqlite3",
    "torch",
    "transformers",
    "typer",
}
PURE = [
    "model_checkpoint.errors",
    "model_checkpoint.types",
    "model_checkpoint.analytics.selection",
    "model_checkpoint.checkpoint.keep",
    "model_checkpoint.checkpoint.retention",
    "model_checkpoint.checkpoint.save_when",
]


def imported_by(module: str) -> set[str]:
    """The top-level packages that a fresh interpreter holds after one import."""
    script = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    """`import model_checkpoint` loads neither torch nor numpy nor a database."""
    assert imported_by("model_checkpoint") & HEAVY == set()


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_load_nothing_heavy(module: str) -> None:
    """Policies, values and errors can be used, and tested, without a disk or a framework."""
    assert imported_by(module) & HEAVY == set()
