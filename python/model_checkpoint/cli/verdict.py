"""What a verification has found: first the whole by the engine, then, if that fails, every part by itself."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from model_checkpoint.cli.progress import Advance
from model_checkpoint.cli.target import Target
from model_checkpoint.errors import CheckpointError, CheckpointNotFoundError, IntegrityError, UnverifiableError
from model_checkpoint.storage.checkpoint_dir import verify_contents
from model_checkpoint.storage.contents import Contents, check_file
from model_checkpoint.storage.flaws import Flaw
from model_checkpoint.storage.safetensors.verify import find_damage, verify_file
from model_checkpoint.types import FileInfo
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["Verdict", "examine", "flaw_json"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome for one checkpoint or file.

    Attributes:
        target: What was verified.
        files: How many files were read; 0 if it came not to that.
        nbytes: How many bytes they have.
        seconds: Wall time in seconds.
        flaws: What is damaged; empty if nothing is.
    """

    target: Target
    files: int
    nbytes: int
    seconds: float
    flaws: tuple[Flaw, ...] = ()


def examine(target: Target, advance: Advance) -> Verdict:
    """Verify a checkpoint or a plain file.

    Args:
        target: Which.
        advance: Told of the bytes that were read.

    Raises:
        UnverifiableError: It is a file without digests.
        StorageError: Something cannot be read.
    """
    start = time.perf_counter()
    try:
        if target.is_file:
            files, nbytes, flaws = _examine_file(target.path, advance)
        else:
            files, nbytes, flaws = _examine_checkpoint(target.open(), advance)
    except UnverifiableError:
        raise
    except (IntegrityError, CheckpointNotFoundError) as error:  # not even the manifest is there, or can be trusted
        files, nbytes, flaws = 0, 0, (Flaw("", str(error)),)
    return Verdict(target, files, nbytes, time.perf_counter() - start, flaws)


def _examine_checkpoint(contents: Contents, advance: Advance) -> tuple[int, int, tuple[Flaw, ...]]:
    flaws: tuple[Flaw, ...] = ()
    try:
        verify_contents(contents, advance)
    except IntegrityError as error:
        found = [flaw for file in contents.manifest.files for flaw in _flaws_of(contents.directory, file)]
        flaws = tuple(found) or (Flaw("", str(error)),)
    return len(contents.manifest.files), contents.manifest.nbytes, flaws


def _examine_file(path: str, advance: Advance) -> tuple[int, int, tuple[Flaw, ...]]:
    nbytes = os.path.getsize(path)
    try:
        verify_file(path, advance=advance)
    except UnverifiableError:
        raise
    except IntegrityError as error:
        return 1, nbytes, tuple(_chunks(path, "", error))
    return 1, nbytes, ()


def _flaws_of(directory: str, file: FileInfo) -> Iterator[Flaw]:
    try:
        check_file(directory, file)
    except IntegrityError as error:
        if file.kind == "tensors":
            yield from _chunks(os.path.join(directory, file.name), file.name, error)
        else:
            yield Flaw(file.name, str(error))


def _chunks(path: str, name: str, error: IntegrityError) -> Iterator[Flaw]:
    """The damaged chunks of a plain file; its error, if it is not one of chunks."""
    try:
        damage = find_damage(path, nofollow=bool(name))
    except CheckpointError:  # the header is damaged, or the file is gone: what the engine said says it all
        damage = ()
    for chunk in damage:
        yield Flaw(name, "differs from its digest", chunk.tensor, chunk.chunk, chunk.offset, chunk.nbytes)
    if not damage:
        yield Flaw(name, str(error))


def flaw_json(flaw: Flaw) -> dict[str, JsonValue]:
    return {
        "file": flaw.file,
        "tensor": flaw.tensor,
        "chunk": flaw.chunk,
        "offset": flaw.offset,
        "bytes": flaw.nbytes,
        "message": flaw.message,
    }
