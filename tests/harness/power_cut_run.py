"""Processes that carry out scripts, and say outside of the file system that will lose its power how far they came."""

from __future__ import annotations

import ctypes
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from model_checkpoint.events import Event, RetentionFailed
from tests.harness.power_cut_script import Script

__all__ = ["Progress", "Run", "running"]

_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        acknowledged: How many of its acts are done, and therefore durable.
        begun: How many it has begun.
        error: What ended it, or an empty text.
    """

    acknowledged: int
    begun: int
    error: str


@dataclass(frozen=True, slots=True)
class Run:
    """A process that carries out a script.

    Attributes:
        script: The script.
        pid: The process.
        said: The file in which it says what it has begun and done.
    """

    script: Script
    pid: int
    said: Path

    def progress(self) -> Progress:
        """How far it has come now."""
        lines = self.said.read_text().splitlines()
        return Progress(
            acknowledged=lines.count("done"),
            begun=lines.count("begin"),
            error="\n".join(line for line in lines if line not in {"ready", "begin", "done"}),
        )

    def wait_until_ready(self) -> None:
        """Wait until it has opened its manager."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.said.read_text():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the run of {self.script.experiment} does not begin")
            time.sleep(0.001)


@contextmanager
def running(scripts: list[Script], root: str, said: Path, prepare: Callable[[], None]) -> Iterator[list[Run]]:
    """Let a process carry out each script, until the block ends; all are killed then.

    The caller must have one thread only, for it forks.

    Args:
        scripts: What to do, each for another experiment.
        root: The store.
        said: A directory for what the runs say, on another file system.
        prepare: What each process does first.
    """
    with ExitStack() as stack:
        runs = [stack.enter_context(_started(script, root, said / script.experiment, prepare)) for script in scripts]
        for run in runs:
            run.wait_until_ready()
        yield runs


@contextmanager
def _started(script: Script, root: str, path: Path, prepare: Callable[[], None]) -> Iterator[Run]:
    run = _start(script, root, path, prepare)
    try:
        yield run
    finally:
        os.kill(run.pid, signal.SIGKILL)
        os.waitpid(run.pid, 0)


def _start(script: Script, root: str, path: Path, prepare: Callable[[], None]) -> Run:
    said = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        _die_with(parent)
        try:
            prepare()
            _carry_out(script, root, lambda text: _write(said, text))
        except BaseException:  # noqa: BLE001 - the child of a fork must not go on as its parent
            _write(said, traceback.format_exc())
        finally:
            signal.pause()  # as one that idles: what ends a process has no part in this
            os._exit(0)
    os.close(said)
    return Run(script, pid, path)


def _carry_out(script: Script, root: str, say: Callable[[str], None]) -> None:
    failures = _Failures()
    ckpts = script.manager(root, failures)
    say("ready")
    for act in script.acts:
        say("begin")
        act.do(ckpts)
        failures.raise_them()
        say("done")


class _Failures:
    """Hears of failed cleanups: the save that they follow is not failed by them, and does not tell of them."""

    def __init__(self) -> None:
        self._events: list[RetentionFailed] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, RetentionFailed):
            self._events.append(event)

    def raise_them(self) -> None:
        for event in self._events:
            raise event.error


def _write(fd: int, text: str) -> None:
    os.write(fd, f"{text}\n".encode())


_PR_SET_PDEATHSIG = 1


def _die_with(parent: int) -> None:
    """Be killed when the parent ends, however it does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
