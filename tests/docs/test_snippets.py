"""Every snippet of the README and the docs runs, in order, in one fresh directory per page."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
    if "```python" in page.read_text(encoding="utf-8") and page.name != "architecture.md"
)
DRY_RUN_WITH_WORK_TO_DO = 5


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """The `$ mckpt ...` lines of the page, without their comments."""
    lines = "\n".join(blocks(page, "console")).splitlines()
    return [line[2:].partition("  #")[0].strip() for line in lines if line.startswith("$ mckpt")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_snippets_of_a_page_run(page: Path, tmp_path: Path) -> None:
    """The page's Python blocks run top to bottom, then its mckpt commands, on what those made."""
    pytest.importorskip("torch")
    script = tmp_path / "page.py"
    script.write_text("\n\n".join(blocks(page, "python")), encoding="utf-8")
    environment = {**os.environ, "PYTHONWARNINGS": "error::UserWarning", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

    for command in commands(page):
        words = shlex.split(command)[1:]
        done = subprocess.run(
            [sys.executable, "-m", "model_checkpoint.cli", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, DRY_RUN_WITH_WORK_TO_DO), f"{command}: {done.stderr}"
        assert done.stdout.strip(), command


def test_every_page_with_code_is_found() -> None:
    """The test above sees the README, the tutorial and the how-to."""
    assert {"README.md", "tutorial.md", "pytorch-loop.md"} <= {page.name for page in PAGES}
