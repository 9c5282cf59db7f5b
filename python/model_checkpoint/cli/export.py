"""`mckpt export`: a checkpoint's plain files outside of the store."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import click

from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.copying import copy_directory, copy_file
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.progress import byte_progress
from model_checkpoint.cli.render import count, escape, print_json, print_line
from model_checkpoint.cli.target import find_target
from model_checkpoint.errors import CheckpointNotFoundError, ConfigurationError
from model_checkpoint.types import FileInfo
from model_checkpoint.utils.duration import format_duration
from model_checkpoint.utils.sizes import format_size

__all__ = ["export_command"]


@command("export")
@click.argument("ref", metavar="REF|PATH")
@click.argument("out", type=click.Path())
@click.option("-c", "--component", metavar="NAME", help="Only this part of the state, for example: model.")
def export_command(session: Session, *, ref: str, out: str, component: str | None) -> ExitCode:
    """Copy a checkpoint, or one component of it, out of the store.

    OUT must not exist. The copy is verified before it appears. A component of one file becomes the file OUT, or a file
    in OUT if that is a directory.
    """
    target = find_target(session, ref)
    if target.is_file:
        raise ConfigurationError(f"{target.path} is a file: there is nothing to export from it")
    contents = target.open()
    files = contents.manifest.files if component is None else _files_of(contents.manifest.files, component, target.name)
    nbytes, start = sum(file.nbytes for file in files), time.perf_counter()
    with byte_progress("exporting", nbytes) as advance:
        if component is not None and len(files) == 1:
            path = os.path.join(out, files[0].name) if os.path.isdir(out) else out
            copy_file(contents.directory, files[0], path, advance)
        else:
            path = out
            copy_directory(contents.directory, files, path, advance, with_manifest=component is None)
    seconds = time.perf_counter() - start
    if session.as_json:
        names: list[str] = [file.name for file in files]
        print_json({"source": target.name, "path": path, "files": names, "bytes": nbytes, "seconds": seconds})
    else:
        done = f"{count(len(files), 'file')}, {format_size(nbytes)}, verified, in {format_duration(seconds)}"
        print_line(escape(f"exported {target.name} to {path} ({done})"))
    return ExitCode.OK


def _files_of(files: Sequence[FileInfo], component: str, name: str) -> list[FileInfo]:
    """The file of a component, or its shards with their index.

    Raises:
        CheckpointNotFoundError: There is no such component.
    """
    from model_checkpoint.storage.names import component_of

    parsed = {file.name: shard for file in files if (shard := component_of(file.name)) is not None}
    index = f"{component}.safetensors.index.json"
    found = [file for file in files if parsed.get(file.name, ("",))[0] == component or file.name == index]
    if not found:
        there = sorted({shard[0] for shard in parsed.values()})
        raise CheckpointNotFoundError(f"{name} has no component {component!r}", ref=component, candidates=there)
    return found
