"""The `mckpt` command.

One file a command; what they share is in `command.py` (options and session), `root.py` (which store), `exit_codes.py`
(how an error ends the process) and `render.py` (what is printed). A command's module is imported when it is called,
and heavy parts of the library inside the function that needs them: `mckpt ls` must not pay for what it does not use.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line with ``arguments`` (default: the process's) and return its exit code."""
    from model_checkpoint.cli.app import run

    return run(arguments)
