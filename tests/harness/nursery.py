"""A process that has imported everything and done nothing else: it forks what a test wants to kill.

Imports take far longer than the work that is to be killed; and a process that has threads must not be forked. So a test
starts a nursery once and asks it to call functions; these run in it as its only thread, and fork by `isolated` or
`strace.follow` whatever uses the package.

    with Nursery() as nursery:
        nursery.ask("tests.harness.kills", "kill_at", operation="a save", at=17, which="every")
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Nursery", "isolated"]

_REPOSITORY = Path(__file__).parents[2]


class Nursery:
    """Calls functions in a process of its own; arguments and results are what JSON can say.

    Args:
        environment: Variables to add to those of this process.
    """

    def __init__(self, **environment: str) -> None:
        own, theirs = os.pipe()
        self._replies = os.fdopen(own, encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs)],
            cwd=_REPOSITORY,
            stdin=subprocess.PIPE,
            text=True,
            pass_fds=(theirs,),
            env={**os.environ, **environment},
        )
        os.close(theirs)

    def ask(self, module: str, function: str, *, timeout_s: float = 120, **arguments: Any) -> Any:
        """The result of a function in the nursery.

        Raises:
            AssertionError: It raised an exception, took too long, or ended the nursery.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([module, function, arguments]) + "\n")
        self._process.stdin.flush()
        where = f"{function}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
        if not select.select([self._replies], [], [], timeout_s)[0]:
            self.close(patience_s=0)
            raise AssertionError(f"{where} took longer than {timeout_s} s")
        line = self._replies.readline()
        assert line, f"{where} ended the nursery"
        error, result = json.loads(line)
        assert error is None, f"{where}: {error}"
        return result

    def close(self, *, patience_s: float = 10) -> None:
        """Let it end, and kill it if it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._replies.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def isolated(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function that runs in a forked child, which may have threads.

    Raises:
        RuntimeError: It raised an exception, or ended the child.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        with contextlib.suppress(BrokenPipeError), open(writing, "w", encoding="utf-8") as reply:
            reply.write(_outcome(function, *arguments))
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as reply:
        text = reply.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    error, result = json.loads(text) if text else (f"the child ended with status {status}", None)
    if error is not None:
        raise RuntimeError(error)
    return result


def _outcome(function: Callable[..., Any], *arguments: Any, **named: Any) -> str:
    """The traceback of a function and None, or None and its result."""
    try:
        return json.dumps([None, function(*arguments, **named)])
    except BaseException:  # noqa: BLE001 - whatever it is, the one who asked shall hear of it
        return json.dumps([traceback.format_exc(), None])


def _serve(replies: int) -> None:
    with open(replies, "w", encoding="utf-8") as out:
        os.set_inheritable(replies, False)
        for line in sys.stdin:
            module, name, arguments = json.loads(line)
            out.write(_outcome(_call, module, name, arguments) + "\n")
            out.flush()


def _call(module: str, name: str, arguments: dict[str, Any]) -> Any:
    return getattr(importlib.import_module(module), name)(**arguments)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
