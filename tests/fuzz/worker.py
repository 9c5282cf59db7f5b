"""One process that tries inputs, watched from outside: it may hang, or die of what native code does."""

from __future__ import annotations

import mmap
import multiprocessing
import struct
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

from tests.fuzz.loop import Finding, Statistics, limit_memory, run
from tests.fuzz.native import NativeTarget, NativeWorker
from tests.fuzz.target import Target

__all__ = ["Task", "Worker"]

_FORK = multiprocessing.get_context("fork")
_HEAD = struct.Struct("<QQ")
_ROOM = 1024 * 1024
_WARM_UP = 400
_PATIENCE_S = 60.0
"""A worker that makes no progress for so long hangs. An input has a second of CPU time; this machine may be busy."""


@dataclass(frozen=True, slots=True)
class Task:
    """A part of a campaign.

    Attributes:
        target: What to try.
        executions: How many inputs.
        seed: The same seed gives the same inputs.
    """

    def start(self) -> Worker | NativeWorker:
        """A process that does it."""
        if isinstance(self.target, NativeTarget):
            return NativeWorker(self.target, self.executions, self.seed)
        return Worker(self.target, self.executions, self.seed)

    target: Target | NativeTarget
    executions: int
    seed: int


class Worker:
    """A process that tries inputs on one target. What it is trying stands in memory that it shares."""

    def __init__(self, target: Target, executions: int, seed: int) -> None:
        self.target = target
        self._shared = mmap.mmap(-1, _HEAD.size + _ROOM)
        self._results, results = _FORK.Pipe(duplex=False)
        self._process = _FORK.Process(target=_work, args=(target, executions, seed, self._shared, results))
        self._process.start()
        results.close()
        self._start = time.monotonic()
        self._seen = (0, self._start)

    @property
    def executions(self) -> int:
        """How many inputs it has tried so far."""
        return int(_HEAD.unpack_from(self._shared)[0])

    def poll(self) -> Statistics | None:
        """What came of it, once it has ended."""
        if self._results.poll():
            try:
                statistics: Statistics = self._results.recv()
            except EOFError:
                return self._died("the process died")
            self._process.join()
            return statistics
        count, now = self.executions, time.monotonic()
        if count != self._seen[0]:
            self._seen = (count, now)
        elif now - self._seen[1] > _PATIENCE_S:
            self._process.kill()
            return self._died("no end in sight")
        return None

    def stop(self) -> Statistics:
        """End it now; only how many inputs it has tried is known of it."""
        self._process.kill()
        self._process.join()
        return Statistics(executions=self.executions, seconds=time.monotonic() - self._start)

    def _died(self, what: str) -> Statistics:
        self._process.join()
        count, length = _HEAD.unpack_from(self._shared)
        data = self._shared[_HEAD.size : _HEAD.size + length]
        text = f"{what} (exit code {self._process.exitcode})"
        return Statistics(executions=count, findings={text: Finding(self.target.name, data, text)})


def _work(target: Target, executions: int, seed: int, shared: mmap.mmap, results: Connection) -> None:
    count = 0

    def publish(data: bytes) -> None:
        nonlocal count
        count += 1
        if len(data) <= _ROOM:
            shared[_HEAD.size : _HEAD.size + len(data)] = data
            _HEAD.pack_into(shared, 0, count, len(data))

    # Threads, pools and caches are there before memory is limited.
    run(target, executions=min(_WARM_UP, executions), seed=~seed)
    limit_memory()
    results.send(run(target, executions=executions, seed=seed, before=publish))
