"""Limits of this process, for what a library does not count or look up from: one huge value, one endless function."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
from collections.abc import Iterator

from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.utils.duration import format_duration

__all__ = ["hard_limits"]

_GRACE_S = 3.0
_MOST_BYTES = 2**63 - 1
_SLACK_BYTES = 512 * 1024**2
"""Stacks of threads, and room that allocators reserve and do not use."""


@contextlib.contextmanager
def hard_limits(*, seconds: float, memory_bytes: int) -> Iterator[None]:
    """End the process a little after so many seconds, and refuse it much more memory than it may take.

    Args:
        seconds: After these and a grace of 3 more, the process prints one line and ends with `ExitCode.FAILED`.
        memory_bytes: Twice these, for a library and its answer, and 512 MiB more than there is now. What is mapped from
            files does not count.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = min(_memory_now() + 2 * memory_bytes + _SLACK_BYTES, _MOST_BYTES)
    if soft in (resource.RLIM_INFINITY, -1) or wanted < soft:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    clock = threading.Timer(min(seconds + _GRACE_S, threading.TIMEOUT_MAX), _end, [seconds])
    clock.daemon = True
    clock.start()
    try:
        yield
    finally:
        clock.cancel()
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _memory_now() -> int:
    """Bytes of private memory that can be written to: what `RLIMIT_DATA` is about."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[5]) * resource.getpagesize()


def _end(seconds: float) -> None:
    sys.stderr.write(f"mckpt: the query took longer than {format_duration(seconds)}\n")
    sys.stderr.flush()
    os._exit(ExitCode.FAILED)
