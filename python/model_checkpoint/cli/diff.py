"""`mckpt diff`: what differs between two checkpoints or files, by their digests."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.render import Cell, Column, count, escape, print_json, print_line, print_table
from model_checkpoint.cli.target import find_target
from model_checkpoint.utils.strict_json import JsonValue

if TYPE_CHECKING:
    from model_checkpoint.storage.diff import Difference, TensorChange, ValueChange
    from model_checkpoint.types import TensorInfo

__all__ = ["diff_command"]

_SHOWN = 30
_VALUE_WIDTH = 60


@command("diff")
@click.argument("a", metavar="REF|PATH")
@click.argument("b", metavar="REF|PATH")
@click.option("-a", "--all", "everything", is_flag=True, help=f"List everything, not only {_SHOWN} of each kind.")
def diff_command(session: Session, *, a: str, b: str, everything: bool) -> ExitCode:
    """Compare two checkpoints or files.

    Tensors are compared by their digests and not read; other values of the state, metrics and files are compared too.
    """
    from model_checkpoint.storage.diff import diff

    first, second = find_target(session, a), find_target(session, b)
    difference = diff(*(side.path if side.is_file else side.open() for side in (first, second)))
    if session.as_json:
        print_json({"a": first.name, "b": second.name, **_as_json(difference)})
    else:
        print_line(escape(f"{first.name} -> {second.name}"), style="bold")
        _print(difference, None if everything else _SHOWN)
    return ExitCode.OK


def _print(difference: Difference, limit: int | None) -> None:
    _print_part([Column(""), Column("TENSOR"), Column("WAS"), Column("IS")], list(_tensor_rows(difference)), limit)
    _print_part([Column("VALUE"), Column("WAS"), Column("IS")], list(map(_value_row, difference.values)), limit)
    _print_part([Column("METRIC"), Column("WAS"), Column("IS")], list(map(_metric_row, difference.metrics)), limit)
    for name in difference.files:
        print_line(escape(f"file {name} differs"))
    if difference.is_empty:
        print_line(f"the same state: {count(difference.unchanged, 'tensor')}", style="green")
    else:
        parts = (("changed", len(difference.changed)), ("added", len(difference.added)),
                 ("removed", len(difference.removed)), ("unchanged", difference.unchanged))  # fmt: skip
        print_line("tensors: " + ", ".join(f"{number:,} {what}" for what, number in parts if number))


def _print_part(columns: Sequence[Column], rows: Sequence[Sequence[str | Cell]], limit: int | None) -> None:
    if not rows:
        return
    print_table(columns, rows[:limit])
    if limit is not None and len(rows) > limit:
        print_line(f"... and {len(rows) - limit:,} more (--all)", style="dim")
    print_line()


def _tensor_rows(difference: Difference) -> Iterator[Sequence[str | Cell]]:
    for name in difference.added:
        yield [Cell("added", "green"), name, "", ""]
    for name in difference.removed:
        yield [Cell("removed", "red"), name, "", ""]
    for change in difference.changed:
        yield [Cell("changed", "yellow"), change.name, *_sides(change)]


def _sides(change: TensorChange) -> tuple[str, str]:
    """Dtype and shape where they differ, otherwise the beginnings of the digests."""
    if change.is_reshaped:
        return _form(change.before), _form(change.after)
    return str(change.before.digest)[:16], str(change.after.digest)[:16]


def _form(tensor: TensorInfo) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"


def _value_row(change: ValueChange) -> Sequence[str]:
    return [change.path, _shortened(change.before), _shortened(change.after)]


def _metric_row(change: ValueChange) -> Sequence[str]:
    return [change.path, *("-" if value is None else f"{value:.6g}" for value in (change.before, change.after))]


def _shortened(value: Any) -> str:
    text = "-" if value is None else repr(value)
    return text if len(text) <= _VALUE_WIDTH else text[: _VALUE_WIDTH - 3] + "..."


def _as_json(difference: Difference) -> dict[str, JsonValue]:
    return {
        "identical": difference.is_empty,
        "added": list(difference.added),
        "removed": list(difference.removed),
        "changed": [
            {"name": change.name, "before": _tensor_json(change.before), "after": _tensor_json(change.after)}
            for change in difference.changed
        ],
        "unchanged": difference.unchanged,
        "values": [_value_json(change) for change in difference.values],
        "metrics": [_value_json(change) for change in difference.metrics],
        "files": list(difference.files),
    }


def _tensor_json(tensor: TensorInfo) -> JsonValue:
    return {"dtype": tensor.dtype, "shape": list(tensor.shape), "digest": tensor.digest}


def _value_json(change: ValueChange) -> JsonValue:
    return {"path": change.path, "before": _plain(change.before), "after": _plain(change.after)}


def _plain(value: Any) -> JsonValue:
    """What JSON can say as it is, everything else as Python would write it."""
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return repr(value)
