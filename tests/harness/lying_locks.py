"""Makes locks of files do nothing, and say that they were granted, in the processes that preload this.

with Nursery(LD_PRELOAD=lying_locks.library()) as nursery:
    nursery.ask("tests.harness.…", "…")
"""

from __future__ import annotations

import fcntl
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

__all__ = ["library", "lie", "unavailable"]

_SOURCE = Path(__file__).with_suffix(".c")
_kept: list[tempfile.TemporaryDirectory[str]] = []  # until this process ends


@functools.cache
def library() -> str:
    """The path of the compiled library, to be preloaded."""
    directory = tempfile.TemporaryDirectory(prefix="mckpt-locks-")
    _kept.append(directory)
    target = f"{directory.name}/lying_locks.so"
    command = ["cc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", target, str(_SOURCE), "-ldl"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target


def unavailable() -> str | None:
    """Why locks cannot be made to lie here, or None. For ``pytest.skip``."""
    return None if shutil.which("cc") else "making locks lie needs a C compiler, `cc`"


def lie() -> bool:
    """Whether locks lie in this process: two owners are both granted the only lock of a file, of each kind."""
    with tempfile.NamedTemporaryFile() as file, open(file.name, "rb+") as other:
        for lock in (fcntl.flock, fcntl.lockf):
            lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
