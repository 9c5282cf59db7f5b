"""A copy of the package that may be changed, and processes that import it instead of the installed one."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.harness.mutants.mutant import PACKAGE, Mutant

__all__ = ["REPOSITORY", "PackageCopy"]

REPOSITORY = Path(__file__).parents[3]

# The finder of an editable install would win over PYTHONPATH.
_SITECUSTOMIZE = """\
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
"""


class PackageCopy:
    """The package, once more.

    Args:
        directory: Where to put it; created.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        shutil.copytree(PACKAGE, directory / PACKAGE.name)  # with times, so that compiled modules stay valid
        core = importlib.util.find_spec(f"{PACKAGE.name}._native._core")
        assert core is not None
        assert core.origin is not None
        shutil.copy2(core.origin, directory / PACKAGE.name / "_native")  # an editable install has it elsewhere
        (directory / "sitecustomize.py").write_text(_SITECUSTOMIZE)
        self.check()

    @contextmanager
    def mutated(self, mutant: Mutant) -> Iterator[None]:
        """Change the copy for the length of a block."""
        path = self._directory / PACKAGE.name / mutant.file
        original, status = path.read_bytes(), path.stat()
        path.write_text(mutant.applied(self._directory / PACKAGE.name))
        try:
            yield
        finally:
            path.write_bytes(original)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def check(self) -> None:
        """See that processes import the copy.

        Raises:
            RuntimeError: They do not.
        """
        done = self.run(["-c", "import model_checkpoint.checkpoint.manager as m; print(m.__file__)"])
        if not done.stdout.startswith(str(self._directory)):
            raise RuntimeError(f"the copy is not what is imported: {done.stdout}{done.stderr}")

    def run(self, arguments: Sequence[str], *, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
        """Run Python in the repository, with the copy."""
        environment = {"PYTHONPATH": str(self._directory), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
