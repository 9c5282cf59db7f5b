"""What Python's audit hooks tell of a process: whether it runs code, starts programs, or talks to a network.

A hook cannot be removed again, so this is for processes of their own.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import model_checkpoint

__all__ = ["audited", "modules_asked_for"]

# By the beginning of their names, https://docs.python.org/3/library/audit_events.html
_FORBIDDEN = (
    *("exec", "compile", "code.__new__", "function.__new__", "marshal.load", "pickle.find_class", "builtins.input"),
    *("subprocess.", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.system", "os.startfile", "pty.spawn"),
    *("socket.", "http.client.", "urllib.Request", "ftplib.", "smtplib.", "webbrowser.open"),
    *("ctypes.", "sqlite3.enable_load_extension", "sqlite3.load_extension", "cpython.run_"),
)

_MIGRATIONS = os.path.join(os.path.dirname(os.path.realpath(model_checkpoint.__file__)), "database", "migrations", "")

_seen: Counter[str] | None = None
_asked_for: set[str] = set()
_known: frozenset[str] = frozenset()
_is_hooked = False
_is_stopped = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "import":
        _asked_for.add(str(arguments[0]))
        if _seen is not None and str(arguments[0]) not in _known:
            _seen[f"import of {arguments[0]}"] += 1
    elif _seen is not None and event.startswith(_FORBIDDEN) and not _is_own_migration(event, arguments):
        _seen[f"{event} {ascii(arguments)[:100]}"] += 1
        if _is_stopped:
            raise PermissionError(f"{event} while it must not be")


def _is_own_migration(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether Alembic runs a script of the package's, as it does where a catalog is made: it imports them by itself."""
    script = {
        "compile": lambda: arguments[1],
        "exec": lambda: arguments[0].co_filename,
    }.get(event)
    return script is not None and os.path.realpath(str(script())).startswith(_MIGRATIONS)


def _install() -> None:
    global _is_hooked  # noqa: PLW0603 - so is the hook
    if not _is_hooked:
        sys.addaudithook(_hook)
        _is_hooked = True


def modules_asked_for() -> frozenset[str]:
    """The names of modules that this process has asked for since the first call, whether they exist or not."""
    _install()
    return frozenset(_asked_for)


@contextmanager
def audited(*, stop: bool = True) -> Iterator[Counter[str]]:
    """Count what must not happen, by event; and, unless ``stop`` is false, do not let it happen.

    An import counts unless somebody has asked for that module before: an optional one that is missing is looked for
    again each time.
    """
    global _seen, _known, _is_stopped  # noqa: PLW0603 - there is one hook
    _known, _is_stopped = modules_asked_for(), stop
    seen = _seen = Counter[str]()
    try:
        yield seen
    finally:
        _seen = None
