"""Directories in memory that do not outlive their process for long, however that ends."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["memory_place"]


@contextmanager
def memory_place(name: str) -> Iterator[Path]:
    """A new directory, in memory where there is such a place. First removes what killed processes have left.

    Args:
        name: What it is for: a part of its name.
    """
    parent = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())
    for left in parent.glob(f"mckpt-{name}-*"):
        owner = re.fullmatch(rf"mckpt-{name}-(\d+)-\w+", left.name)
        if owner is not None and not os.path.exists(f"/proc/{owner[1]}"):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=f"mckpt-{name}-{os.getpid()}-") as directory:
        yield Path(directory)
