"""Options of the commands that read logged metrics."""

from __future__ import annotations

import click

__all__ = ["skip_damaged"]

skip_damaged = click.option(
    "--skip-damaged",
    "leave_out",
    is_flag=True,
    help="Leave out the points of damaged files, with a warning that names each. Otherwise one ends the command.",
)
