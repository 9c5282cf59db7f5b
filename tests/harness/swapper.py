"""Exchanges things in a store for links that lead out of it, as fast as the kernel can: the attack in a race.

A process of its own, for it must not wait for the interpreter of what it attacks.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Swapper"]

_REPOSITORY = Path(__file__).parents[2]
_RENAMEAT2, _AT_FDCWD, _EXCHANGE = 316, -100, 2
_libc = ctypes.CDLL(None, use_errno=True)


class Swapper:
    """Exchanges while the block runs, and has put everything back when it ends.

    Args:
        pairs: Each a path in the store, and that of a link outside of it, which are exchanged back and forth. A last
            component ``*`` stands for whatever is there at the moment.
        seed: Decides the order.

    Attributes:
        swaps: How often a link was in the store, when the block has ended.
    """

    def __init__(self, pairs: list[tuple[str, str]], seed: int) -> None:
        self.swaps = 0
        self._arguments = json.dumps([pairs, seed])

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", __name__, self._arguments]
        self._process = subprocess.Popen(command, cwd=_REPOSITORY, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        said = self._process.communicate(timeout=30)[0]
        assert self._process.returncode == 0
        self.swaps = int(said)


def _swap(pairs: list[tuple[str, str]], order: random.Random) -> None:
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    print("ready", flush=True)
    targets = {link: os.readlink(link) for _, link in pairs}
    swaps = 0
    while not ended:
        inside, link = order.choice(pairs)
        if inside.endswith("/*"):
            inside = _any_of(inside[:-2], order)
        if inside and _exchange(inside, link):
            swaps += 1
            for _ in range(order.choice((0, 10, 100, 1000))):  # long enough to be met, short enough to be missed
                pass
            if not _exchange(inside, link) and not os.path.lexists(inside):
                os.rename(link, inside)  # the link was moved or removed meanwhile
                os.symlink(targets[link], link)
    print(swaps)


def _any_of(directory: str, order: random.Random) -> str:
    try:
        names = os.listdir(directory)
    except OSError:
        return ""
    return os.path.join(directory, order.choice(names)) if names else ""


def _exchange(first: str, second: str) -> bool:
    arguments = (_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _EXCHANGE)
    return bool(_libc.syscall(_RENAMEAT2, *arguments) == 0)


if __name__ == "__main__":
    chosen, number = json.loads(sys.argv[1])
    _swap(chosen, random.Random(number))
