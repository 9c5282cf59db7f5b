"""Which of a file's bytes the page cache has."""

from __future__ import annotations

import os
from pathlib import Path


def warm(path: Path) -> None:
    """Bring the whole file into the page cache: saves write past it."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 22):
            continue


def drop(path: Path) -> None:
    """Write the file back and evict its pages."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
