"""Warnings as people at a terminal read them: a line each."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

from model_checkpoint.cli.render import escape

__all__ = ["warnings_in_lines"]


@contextlib.contextmanager
def warnings_in_lines() -> Iterator[None]:
    """Print each warning once, and without the place in our code that gave it."""
    said: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],  # noqa: ARG001 - as `warnings.showwarning` is called
        filename: str,  # noqa: ARG001
        lineno: int,  # noqa: ARG001
        file: TextIO | None = None,  # noqa: ARG001
        line: str | None = None,  # noqa: ARG001
    ) -> None:
        if str(message) not in said:
            said.add(str(message))
            print(f"mckpt: {escape(str(message))}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
