"""`mckpt query`: SQL over experiments, checkpoints and logged metrics."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from model_checkpoint.analytics.reader import MetricsReader
from model_checkpoint.analytics.statement import Limits
from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.hard_limits import hard_limits
from model_checkpoint.cli.metric_options import skip_damaged
from model_checkpoint.cli.render import Column, count, print_json, print_line, print_rows
from model_checkpoint.utils.clock import format_rfc3339
from model_checkpoint.utils.duration import parse_duration
from model_checkpoint.utils.optional_import import require
from model_checkpoint.utils.sizes import parse_size
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["query_command"]


@command("query")
@click.argument("sql")
@click.option("--for", "duration", default="1m", show_default=True, help="How long it may take.")
@click.option("--memory", default="2GB", show_default=True, help="How much memory it may take.")
@skip_damaged
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), default=200, show_default=True, help="How many rows to show."
)
def query_command(session: Session, *, sql: str, duration: str, memory: str, limit: int, leave_out: bool) -> ExitCode:
    """Answer one SELECT in DuckDB's SQL. Nothing can be changed by it.

    Tables: experiments (name, created_at, monitor, mode, criterion, keep, config), checkpoints (id, experiment, step,
    seq, created_at, nbytes, state, pinned, aliases, metrics['name'], tags['key'], ...), metrics (experiment, name,
    step, value, time, epoch, split, tags).

    With --json all rows are printed.
    """
    limits = Limits(parse_duration(duration), parse_size(memory))
    _load_libraries()
    with (
        MetricsReader.open(session.store_root, damaged="skip" if leave_out else "raise") as reader,
        hard_limits(seconds=limits.seconds, memory_bytes=limits.memory_bytes),
    ):
        table = reader.query(sql, limits=limits)
    if session.as_json:
        found = table.to_pylist(maps_as_pydicts="strict")
        rows = [{name: _plain(value) for name, value in row.items()} for row in found]
        print_json({"columns": list(table.column_names), "rows": rows})
        return ExitCode.OK
    shown = table.slice(0, min(limit, table.num_rows))
    columns = [
        Column(name, right=_is_number(kind)) for name, kind in zip(table.column_names, table.schema.types, strict=True)
    ]
    print_rows(columns, [[_text(value) for value in row.values()] for row in shown.to_pylist()])
    if table.num_rows > limit:
        print_line(f"and {count(table.num_rows - limit, 'row')} more (--limit, --json)", style="dim")
    return ExitCode.OK


def _load_libraries() -> None:
    """When they are first used, they reserve more memory than many a query may take: it is not counted against it."""
    arrow: Any = require("pyarrow", extra="analytics")
    duckdb: Any = require("duckdb", extra="analytics")
    arrow.array([0])
    duckdb.connect(":memory:").close()


def _is_number(kind: Any) -> bool:
    return str(kind).startswith(("int", "uint", "float", "double", "decimal"))


def _text(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case datetime():
            return format_rfc3339(value) if value.tzinfo else value.isoformat()
        case list():
            return ", ".join(map(_item, value))
        case _:
            return str(value)


def _item(value: object) -> str:
    """Of a list a value, of a map a pair."""
    match value:
        case (key, item):
            return f"{key}={_text(item)}"
        case _:
            return _text(value)


def _plain(value: object) -> JsonValue:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime():
            return _text(value)
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return str(value)
