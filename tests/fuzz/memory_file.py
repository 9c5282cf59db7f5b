"""A file in memory that has a path, so that what opens files by name needs no disk."""

from __future__ import annotations

import os

__all__ = ["MemoryFile"]


class MemoryFile:
    """Its content can be replaced. It lives until the process ends; a forked child makes one of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pid = -1
        self._fd = -1

    @property
    def path(self) -> str:
        return f"/proc/self/fd/{self._fd}"

    def replace(self, content: bytes) -> None:
        if self._pid != os.getpid():
            self._fd, self._pid = os.memfd_create(self._name), os.getpid()
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, content, 0)
