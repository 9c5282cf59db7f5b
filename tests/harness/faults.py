"""Lets calls of the C library fail at the k-th of them, for every k, in the process that makes them.

Far quicker than stopping a process at its system calls, since nothing is forked and nobody is asked: a small library,
``faults.c``, stands between the program, SQLite and the core on one side and the C library on the other. It must be
preloaded:

    with Nursery(LD_PRELOAD=faults.library()) as nursery:
        nursery.ask("tests.harness.…", "…")

and there:

    with faults.injected(Fault(Action.FAIL, errno.EIO, kinds=SYNCS), root, at=3) as calls:
        …
    calls.hits

Calls are counted over all threads, and only those on paths below ``root``.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import errno
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FAULTS", "Action", "Call", "Calls", "Fault", "Kind", "injected", "library", "unavailable"]

_SOURCE = Path(__file__).with_suffix(".c")


class Kind(enum.IntEnum):
    """Kinds of calls, as faults.c numbers them."""

    OPEN = 0
    CREATE = 1
    CLOSE = 2
    READ = 3
    WRITE = 4
    SYNC = 5
    ALLOCATE = 6
    TRUNCATE = 7
    RENAME = 8
    MKDIR = 9
    UNLINK = 10
    STAT = 11
    LIST = 12
    MODE = 13
    LOCK = 14
    FLOCK = 15
    MAP = 16
    ADVISE = 17
    DATA_SYNC = 18  # SQLite's, which never calls fsync, as this package never calls fdatasync


class Action(enum.IntEnum):
    """What happens to a call."""

    NOTHING = 0
    FAIL = 1  # it is not made, and fails; but a descriptor is closed
    LOSE = 2  # it is made, and reported as failed
    SHORTEN = 3  # it moves one byte, or one sector if it is direct; half, if all later calls are hit, too


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done, and to which calls.

    Attributes:
        action: What is done.
        error: The errno.
        kinds: The kinds that count.
        lasting: Whether to all calls from the k-th on.
        only: A part of the paths that count, or empty.
        exempt: A part of paths that do not count, or empty.
    """

    action: Action
    error: int
    kinds: frozenset[Kind]
    lasting: bool = False
    only: str = ""
    exempt: str = ""

    @property
    def is_survived(self) -> bool:
        """Whether the call can be repeated, or goes on where it was cut short, so that nobody may notice."""
        return self.action is Action.SHORTEN or self.error == errno.EINTR


_ALL = frozenset(Kind)
_TAKES_SPACE = frozenset(
    {
        Kind.CREATE,
        Kind.WRITE,
        Kind.SYNC,
        Kind.DATA_SYNC,
        Kind.CLOSE,
        Kind.ALLOCATE,
        Kind.TRUNCATE,
        Kind.RENAME,
        Kind.MKDIR,
    }
)
_WAITS = frozenset(
    {Kind.OPEN, Kind.CREATE, Kind.CLOSE, Kind.READ, Kind.WRITE, Kind.ALLOCATE, Kind.TRUNCATE, Kind.FLOCK}
)
_MOVES = frozenset({Kind.READ, Kind.WRITE})
_CHANGES_NAMES = frozenset({Kind.CREATE, Kind.RENAME, Kind.MKDIR, Kind.UNLINK})

FAULTS = {
    "EIO": Fault(Action.FAIL, errno.EIO, _ALL),
    "ENOSPC": Fault(Action.FAIL, errno.ENOSPC, _TAKES_SPACE),
    "EDQUOT": Fault(Action.FAIL, errno.EDQUOT, _TAKES_SPACE),
    "EINTR": Fault(Action.FAIL, errno.EINTR, _WAITS),
    "short": Fault(Action.SHORTEN, 0, _MOVES),
    "EIO, but done": Fault(Action.LOSE, errno.EIO, _CHANGES_NAMES),
    "EIO from then on": Fault(Action.FAIL, errno.EIO, _ALL, lasting=True),
    "ENOSPC from then on": Fault(Action.FAIL, errno.ENOSPC, _TAKES_SPACE, lasting=True),
    "short from then on": Fault(Action.SHORTEN, 0, _MOVES, lasting=True),
}
"""What can happen, by name."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that counted.

    Attributes:
        kind: Of which kind.
        path: Which file or directory.
        is_hit: Whether something was done to it.
        error: The errno that it ended with, or 0.
    """

    kind: Kind
    path: str
    is_hit: bool
    error: int


@dataclass(slots=True)
class Calls:
    """All calls that counted, in order; filled when the block ends."""

    all: tuple[Call, ...] = ()

    @property
    def hits(self) -> tuple[Call, ...]:
        return tuple(call for call in self.all if call.is_hit)


# --- the library ------------------------------------------------------------------------------------------------------

_PATH, _LOGGED = 256, 8192


class _Call(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int),
        ("hit", ctypes.c_int),
        ("error", ctypes.c_int),
        ("path", ctypes.c_char * _PATH),
    )


class _Control(ctypes.Structure):
    _fields_ = (
        ("armed", ctypes.c_int),
        ("action", ctypes.c_int),
        ("error", ctypes.c_int),
        ("lasting", ctypes.c_int),
        ("at", ctypes.c_int),
        ("kinds", ctypes.c_uint),
        ("count", ctypes.c_int),
        ("root", ctypes.c_char * _PATH),
        ("only", ctypes.c_char * _PATH),
        ("exempt", ctypes.c_char * _PATH),
        ("calls", _Call * _LOGGED),
    )


@functools.cache
def library() -> str:
    """The path of the compiled library, to be preloaded."""
    directory = tempfile.TemporaryDirectory(prefix="mckpt-faults-")
    _kept.append(directory)
    target = f"{directory.name}/faults.so"
    command = ["cc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", target, str(_SOURCE), "-ldl"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target


_kept: list[tempfile.TemporaryDirectory[str]] = []  # until this process ends


def unavailable() -> str | None:
    """Why nothing can be injected here, or None. For ``pytest.skip``."""
    if shutil.which("cc") is None:
        return "injecting faults needs a C compiler, `cc`"
    return None


@functools.cache
def _control() -> _Control:
    """The control block of the preloaded library."""
    return _Control.in_dll(ctypes.CDLL(None), "faults_control")


@contextlib.contextmanager
def injected(fault: Fault | None, root: str, at: int = 0) -> Iterator[Calls]:
    """Inject a fault into the k-th call below ``root``; without one, all calls are only written down.

    Args:
        fault: What to do to which calls.
        root: A directory.
        at: Which call is the first to be hit, counted from 1; 0 for none.
    """
    control, calls = _control(), Calls()
    chosen = fault or Fault(Action.NOTHING, 0, _ALL)
    control.action, control.error, control.lasting = chosen.action, chosen.error, chosen.lasting
    control.kinds = sum(1 << kind for kind in chosen.kinds)
    control.root, control.only, control.exempt = root.encode(), chosen.only.encode(), chosen.exempt.encode()
    control.at, control.count = at, 0
    control.armed = 1
    try:
        yield calls
    finally:
        control.armed = 0
        count = control.count
        assert count <= _LOGGED, f"{count} calls are more than can be written down"
        calls.all = tuple(
            Call(Kind(call.kind), call.path.decode(errors="replace"), bool(call.hit), call.error)
            for call in control.calls[:count]
        )
