"""`mckpt inspect`: what the headers say, without reading the data."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.render import Column, count, escape, print_json, print_line, print_table
from model_checkpoint.cli.target import Target, find_target
from model_checkpoint.errors import CheckpointNotFoundError
from model_checkpoint.types import TensorInfo
from model_checkpoint.utils.sizes import format_size
from model_checkpoint.utils.strict_json import JsonValue

if TYPE_CHECKING:
    from model_checkpoint.storage.safetensors.alias import Alias
    from model_checkpoint.storage.safetensors.inspect import FileReport

__all__ = ["inspect_command"]

_DIGITS = 16
_COLUMNS = [
    Column("TENSOR"),
    Column("DTYPE"),
    Column("SHAPE"),
    Column("SIZE", right=True),
    Column("OFFSET", right=True),
    Column("DIGEST"),
]


@command("inspect")
@click.argument("target", metavar="REF|PATH")
@click.option("-t", "--tensors", metavar="GLOB", default="*", help="Only tensors whose names match: 'layers.0.*'.")
def inspect_command(session: Session, *, target: str, tensors: str) -> ExitCode:
    """Show the tensors of a checkpoint or of a safetensors file.

    Headers are checked; data is not read (see verify).
    """
    reports = _inspect(find_target(session, target))
    if tensors != "*" and not any(_matching(report, tensors) for report in reports):
        raise CheckpointNotFoundError(f"no tensor matches {tensors!r}", ref=target)
    if session.as_json:
        print_json({"files": [_as_json(report, tensors) for report in reports]})
        return ExitCode.OK
    for index, report in enumerate(reports):
        if index:
            print_line()
        _print(report, tensors)
    return ExitCode.OK


def _inspect(target: Target) -> list[FileReport]:
    from model_checkpoint.storage.safetensors.inspect import inspect_file

    if target.is_file:
        return [inspect_file(target.path)]
    contents = target.open()
    return [inspect_file(os.path.join(contents.directory, name), nofollow=True) for name in contents.tensor_files]


def _matching(report: FileReport, pattern: str) -> list[TensorInfo]:
    return [tensor for tensor in report.tensors if fnmatch.fnmatchcase(tensor.name, pattern)]


def _print(report: FileReport, pattern: str) -> None:
    found = _matching(report, pattern)
    kind = f"file digest {report.digest[:_DIGITS]}" if report.digest is not None else "foreign: carries no digests"
    total = count(len(report.tensors), "tensor")
    parts = [report.path, total, format_size(report.nbytes), f"data at {report.data_offset}", kind]
    print_line(escape(" · ".join(parts)), style="bold")
    print_table(_COLUMNS, map(_row, found))
    for name, alias in sorted(report.aliases.items()):
        if fnmatch.fnmatchcase(name, pattern):
            print_line(escape(f"{name} = {_target(alias)}"))
    for key, value in sorted(report.metadata.items()):
        print_line(escape(f"metadata {key}: {value}"), style="dim")


def _row(tensor: TensorInfo) -> Sequence[str]:
    digest = tensor.digest[:_DIGITS] if tensor.digest is not None else ""
    return [tensor.name, tensor.dtype, _shape(tensor.shape), format_size(tensor.nbytes), str(tensor.offset), digest]


def _shape(shape: Sequence[int]) -> str:
    """``[4, 3]``; a scalar is ``[]``."""
    return f"[{', '.join(map(str, shape))}]"


def _target(alias: Alias) -> str:
    if alias.view is None:
        return alias.of
    return f"{alias.of} viewed as {_shape(alias.view.shape)}"


def _as_json(report: FileReport, pattern: str) -> JsonValue:
    return {
        "path": report.path,
        "bytes": report.nbytes,
        "data_offset": report.data_offset,
        "ours": report.ours,
        "digest": report.digest,
        "metadata": dict(report.metadata),
        "tensors": [
            {
                "name": tensor.name,
                "dtype": tensor.dtype,
                "shape": list(tensor.shape),
                "bytes": tensor.nbytes,
                "offset": tensor.offset,
                "digest": tensor.digest,
            }
            for tensor in _matching(report, pattern)
        ],
        "aliases": {name: _alias_json(alias) for name, alias in report.aliases.items()},
    }


def _alias_json(alias: Alias) -> JsonValue:
    view = alias.view
    if view is None:
        return {"of": alias.of}
    return {"of": alias.of, "shape": list(view.shape), "strides": list(view.strides), "offset": view.offset}
