"""Stops a process at its system calls, and there kills it, lets a call fail, or cuts one short.

The tool of this name injects, too, but counts the calls of each name in each thread by themselves: of a process with
threads it cannot say "the k-th call" nor, therefore, "every call". Here calls are counted over all threads, from the
moment on that matters: a child is forked, prepares itself unseen, and is then followed while it does one thing.

    trace = strace.follow(prepare, strace.Injection(strace.Kill(), at=17))
    trace = strace.follow(prepare, strace.Injection(strace.Fail(errno.EIO), at=3, which=strace.named("fsync")))

An injection that lies beyond the end does not happen: ``trace.injected`` is None then, and every k was tried.

The caller must have one thread only, for it forks: let a process that did nothing but import do it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "Action",
    "Call",
    "Fail",
    "Injection",
    "Kill",
    "Trace",
    "changes",
    "every",
    "follow",
    "named",
    "syncs",
    "unavailable",
]

# --- what is injected -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL to the process, instead of the call."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The call is not made, and fails with this errno."""

    errno: int


Action = Kill | Fail


class Call(NamedTuple):
    """A system call that a thread is about to make."""

    name: str
    args: tuple[int, ...]
    tid: int

    @property
    def file(self) -> str:
        """The path of the descriptor that is the first argument; empty if there is none."""
        with contextlib.suppress(OSError):
            return os.readlink(f"/proc/{self.tid}/fd/{self.args[0]}")
        return ""


def every(_call: Call) -> bool:
    """All system calls."""
    return True


def named(*names: str) -> Callable[[Call], bool]:
    """The system calls of these names."""
    chosen = frozenset(names)
    unknown = chosen - _names().keys()
    if unknown:
        raise ValueError(f"there is no system call {', '.join(sorted(unknown))}")
    return lambda call: call.name in chosen


_CHANGES = frozenset(
    """write writev pwrite64 pwritev pwritev2 sendfile copy_file_range fallocate truncate ftruncate msync creat
    mkdir mkdirat rmdir link linkat symlink symlinkat unlink unlinkat rename renameat renameat2 mknod mknodat
    chmod fchmod fchmodat chown fchown fchownat utimensat setxattr fsetxattr""".split()
)
_SYNCS = frozenset("fsync fdatasync sync_file_range syncfs sync".split())


def changes(call: Call) -> bool:
    """The calls that can change what a file system shows: contents, names, modes.

    Between two of them a kill finds the same files, whenever it comes: syncs matter to power cuts alone, and locks end
    with their process.
    """
    if call.name in {"open", "openat"}:
        return bool(call.args[1 if call.name == "open" else 2] & (os.O_CREAT | os.O_TRUNC))
    return call.name in _CHANGES


def syncs(call: Call) -> bool:
    """The calls that make something durable."""
    return call.name in _SYNCS


@dataclass(frozen=True, slots=True)
class Injection:
    """What is done to which call.

    Attributes:
        action: What.
        at: To which one of those that ``which`` accepts, counted from 1.
        which: The calls that count.
        lasting: Whether to all later ones, too.
    """

    action: Action
    at: int
    which: Callable[[Call], bool] = every
    lasting: bool = False

    def hits(self, number: int) -> bool:
        return number == self.at or (self.lasting and number > self.at)


@dataclass(frozen=True, slots=True)
class Trace:
    """What became of a child.

    Attributes:
        status: Its exit status, or minus the number of the signal that ended it.
        calls: Names of the calls that counted, in order.
        injected: Name of the first call to which something was done, or None.
    """

    status: int
    calls: tuple[str, ...]
    injected: str | None


# --- following a child ------------------------------------------------------------------------------------------------


def follow(
    prepare: Callable[[], Callable[[], object]], injection: Injection | None = None, *, timeout_s: int = 60
) -> Trace:
    """Fork a child, and follow it from call to call in what ``prepare``, which it calls unseen, has returned.

    Args:
        prepare: Does what shall not be followed, and returns what shall. To follow a program from its start, return
            something that calls ``os.execv``.
        injection: What to do to it; without, all calls are counted.
        timeout_s: How long it may take.

    Raises:
        TimeoutError: It took longer, and was killed.
        ChildProcessError: It died before it was followed.
        OSError: It could not be followed.
    """
    with _forked(prepare) as (pid, let_go), _time_limit(timeout_s, pid):
        tracer = _Tracer(pid, injection or Injection(Kill(), at=0))
        tracer.seize()
        let_go()
        return tracer.follow()


@contextlib.contextmanager
def _forked(prepare: Callable[[], Callable[[], object]]) -> Iterator[tuple[int, Callable[[], None]]]:
    """A child that has prepared itself and waits; it is dead when the block ends."""
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready[0])
        os.close(go[1])
        _be_the_child(prepare, ready[1], go[0])
    os.close(ready[1])
    os.close(go[0])
    try:
        if not os.read(ready[0], 1):
            raise ChildProcessError("the child died while it prepared itself")
        yield pid, lambda: _tell(go[1])
    finally:
        os.close(ready[0])
        os.close(go[1])
        _end(pid)


def _end(pid: int) -> None:
    """Kill a child, unless its end has been seen; followed threads must be waited for, too, and end before it."""
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG | _WALL)[0] == 0:
            os.kill(pid, signal.SIGKILL)
            while os.waitpid(-pid, _WALL)[0] != pid:
                pass


def _be_the_child(prepare: Callable[[], Callable[[], object]], ready: int, go: int) -> None:
    status = 1
    try:
        os.setpgid(0, 0)
        act = prepare()
        os.write(ready, b".")
        if os.read(go, 1):
            act()
            status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - the child of a fork must not go on as its parent
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _tell(fd: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(fd, b".")


@contextlib.contextmanager
def _time_limit(seconds: int, pid: int) -> Iterator[None]:
    expired = []

    def kill(*_: object) -> None:
        expired.append(True)
        os.kill(pid, signal.SIGKILL)

    before = signal.signal(signal.SIGALRM, kill)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    if expired:
        raise TimeoutError(f"the child was still running after {seconds} s")


@dataclass(slots=True)
class _Tracer:
    """Counts the calls of a child and its threads."""

    pid: int
    injection: Injection
    calls: list[str] = field(default_factory=list)
    injected: str | None = None
    results: dict[int, int] = field(default_factory=dict)
    """What calls that are not made will return, by thread."""
    inside: set[int] = field(default_factory=set)
    """Threads that have been let into a call, and have not come out of it yet."""

    def seize(self) -> None:
        """Take hold of all threads, and stop them at their next system call."""
        for name in os.listdir(f"/proc/{self.pid}/task"):
            tid = int(name)
            _ptrace(_SEIZE, tid, 0, _OPTIONS)
            _ptrace(_INTERRUPT, tid)
            os.waitpid(tid, _WALL)
            self._resume(tid)

    def follow(self) -> Trace:
        """Let the child go on until it ends."""
        while True:
            tid, status = os.waitpid(-self.pid, _WALL)  # of its process group
            if os.WIFSTOPPED(status):
                self._on_stop(tid, os.WSTOPSIG(status), event=status >> 16)
            elif tid == self.pid:
                return Trace(os.waitstatus_to_exitcode(status), tuple(self.calls), self.injected)

    def _on_stop(self, tid: int, number: int, *, event: int) -> None:
        if number == signal.SIGTRAP | _AT_CALL:
            with contextlib.suppress(ProcessLookupError):  # another thread has ended the process
                self._on_call(tid)
        self._resume(tid, 0 if event or number & _AT_CALL else number)

    def _on_call(self, tid: int) -> None:
        info = _SyscallInfo()
        _ptrace(_GET_SYSCALL_INFO, tid, ctypes.sizeof(info), ctypes.addressof(info))
        if info.op == _ENTRY:
            self._on_entry(Call(_numbers().get(info.nr, f"call {info.nr}"), tuple(info.args), tid))
            self.inside.add(tid)
        elif info.op == _EXIT:
            self.inside.discard(tid)
            if tid in self.results:
                _ptrace(_POKEUSER, tid, _RESULT, self.results.pop(tid))

    def _on_entry(self, call: Call) -> None:
        if not self.injection.which(call):
            return
        self.calls.append(call.name)
        if self.injection.hits(len(self.calls)):
            self.injected = self.injected or call.name
            self._inject(self.injection.action, call)

    def _inject(self, action: Action, call: Call) -> None:
        match action:
            case Kill():
                self._let_others_finish()
                os.kill(self.pid, signal.SIGKILL)  # while it is stopped before the call: that one is never made
            case Fail(errno):
                self.results[call.tid] = -errno
                _ptrace(_POKEUSER, call.tid, _NUMBER, -1)

    def _let_others_finish(self) -> None:
        """Wait until the calls of other threads are over, or sleep.

        A kill would undo calls that were counted: the kernel does not begin one in a thread that is about to die. One
        that sleeps may wait for the thread that is stopped here.
        """
        while any(_is_running(self.pid, tid) for tid in self.inside):
            time.sleep(0.0001)

    @staticmethod
    def _resume(tid: int, number: int = 0) -> None:
        with contextlib.suppress(ProcessLookupError):  # it was killed
            _ptrace(_TO_NEXT_CALL, tid, 0, number)


def _is_running(pid: int, tid: int) -> bool:
    """Whether a thread runs, is about to, or waits for a device: neither stopped by us nor asleep."""
    try:
        status = Path(f"/proc/{pid}/task/{tid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # its call was its last
        return False
    return status.rpartition(")")[2].split()[0] in {"R", "D"}


# --- ptrace -----------------------------------------------------------------------------------------------------------

_WALL = 0x40000000
_TO_NEXT_CALL, _POKEUSER, _SEIZE, _INTERRUPT, _GET_SYSCALL_INFO = 24, 6, 0x4206, 0x4207, 0x420E
_OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x100000  # TRACESYSGOOD, TRACEFORK, TRACEVFORK, TRACECLONE, EXITKILL
_AT_CALL = 0x80
_ENTRY, _EXIT = 1, 2
_RESULT, _NUMBER = 80, 120  # where x86-64's `struct user` has rax and orig_rax


class _SyscallInfo(ctypes.Structure):
    """Linux's struct ptrace_syscall_info, at a call's entry; with room for what later kernels add."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("instruction_pointer", ctypes.c_uint64),
        ("stack_pointer", ctypes.c_uint64),
        ("nr", ctypes.c_uint64),
        ("args", ctypes.c_uint64 * 6),
        ("more", ctypes.c_uint64 * 4),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_long)
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, tid: int, address: int = 0, data: int = 0) -> None:
    if _libc.ptrace(request, tid, address, data) == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"ptrace request {request:#x}: {os.strerror(code)}")


_HEADERS = ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h")


@functools.cache
def _names() -> dict[str, int]:
    """Numbers of the system calls by name, as the kernel's header has them."""
    header = next(path for path in map(Path, _HEADERS) if path.exists())
    return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", header.read_text())}


@functools.cache
def _numbers() -> dict[int, str]:
    return {number: name for name, number in _names().items()}


@functools.cache
def unavailable() -> str | None:
    """Why nothing can be followed here, or None. For ``pytest.skip``; forks."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "following system calls needs Linux on x86-64"
    if not any(map(os.path.exists, _HEADERS)):
        return "following system calls needs the kernel's headers (Debian: linux-libc-dev)"
    try:
        follow(lambda: os.getpid)
    except OSError as error:
        return f"following system calls needs ptrace: {error}"
    return None
