"""What lies outside of a store and nobody may touch, and a guard over it.

Contents, modes and names are compared before and after; and the kernel tells (inotify) of whatever was opened, read,
changed, made or removed there meanwhile, which no comparison shows of what was only read.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import stat
import struct
import sys
from collections.abc import Iterator
from typing import Self

__all__ = ["Guard", "seen", "unavailable"]

_EVENTS = {0x1: "read", 0x2: "written", 0x4: "changed in mode, owner or times", 0x20: "opened", 0x40: "moved away"} | {
    0x80: "moved here", 0x100: "made", 0x200: "removed"
}  # fmt: skip
_ALL = sum(_EVENTS)
_OVERFLOW = 0x4000
_HEAD = struct.Struct("iIII")

_libc = ctypes.CDLL(None, use_errno=True)


class Guard:
    """Watches a directory and all below it; use ``with``.

    Args:
        path: The directory.
        reads: Whether reading counts. It cannot where the store itself has a hard link to something there.
    """

    def __init__(self, path: str, *, reads: bool = True) -> None:
        self._path = path
        self._mask = _ALL if reads else _ALL & ~0x25
        self._places: dict[int, str] = {}
        self._fd = -1

    def __enter__(self) -> Self:
        self._before = seen(self._path)
        self._fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        for directory, _, files in os.walk(self._path):
            for place in (directory, *(os.path.join(directory, name) for name in files)):
                if stat.S_ISREG(mode := os.lstat(place).st_mode) or stat.S_ISDIR(mode):
                    self._places[_checked(_libc.inotify_add_watch(self._fd, os.fsencode(place), self._mask))] = place
        self._events()  # of what we have just listed
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def problems(self) -> list[str]:
        """What happened there, in words."""
        events, after = self._events(), seen(self._path)
        changed = [path for path in sorted(self._before | after) if self._before.get(path) != after.get(path)]
        self._events()  # of our own look
        return sorted({*events, *(f"{path} differs" for path in changed)})

    def _events(self) -> list[str]:
        found = []
        for number, mask, name in self._raw():
            if mask & _OVERFLOW:
                found.append("more happened than could be followed")
            place = os.path.join(self._places.get(number, "?"), name) if name else self._places.get(number, "?")
            found += [f"{place} was {text}" for bit, text in _EVENTS.items() if mask & bit]
        return found

    def _raw(self) -> Iterator[tuple[int, int, str]]:
        while True:
            try:
                data = os.read(self._fd, 1 << 16)
            except BlockingIOError:
                return
            while data:
                number, mask, _, length = _HEAD.unpack_from(data)
                name = data[_HEAD.size : _HEAD.size + length].rstrip(b"\0")
                data = data[_HEAD.size + length :]
                yield number, mask, os.fsdecode(name)


def seen(path: str) -> dict[str, tuple[object, ...]]:
    """Everything at a path and below it, with mode, content and time of the last change."""
    found = {path: _look(path)}
    for directory, directories, files in os.walk(path):
        found |= {place: _look(place) for name in (*directories, *files) if (place := os.path.join(directory, name))}
    return found


def _look(path: str) -> tuple[object, ...]:
    status = os.lstat(path)
    content = ""
    if stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            content = hashlib.sha256(file.read()).hexdigest()
    return status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns, content


def unavailable() -> str | None:
    """Why nothing can be watched here, or None."""
    if sys.platform != "linux":
        return "watching files needs Linux's inotify"
    with contextlib.suppress(OSError):
        os.close(_checked(_libc.inotify_init1(os.O_CLOEXEC)))
        return None
    return "watching files needs inotify"


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"inotify: {os.strerror(code)}" + (" (max_user_watches)" if code == errno.ENOSPC else ""))
    return result
