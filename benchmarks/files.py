"""The files that are loaded: one of each format, written when first asked for, one in the page cache at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks.harness import drop_cache, warm_cache

Writer = Callable[[dict[str, torch.Tensor], Path], object]


@dataclass
class Files:
    """Files and directories of one model.

    Attributes:
        writers: What writes a format, by the format's name.
    """

    directory: Path
    state: dict[str, torch.Tensor]
    writers: dict[str, Writer]
    _written: dict[str, Path] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        """The model in a format."""
        if name not in self._written:
            path = self.directory / f"model.{name}"
            self.writers[name](self.state, path)
            self._written[name] = path
        return self._written[name]

    def warm(self, name: str) -> None:
        """Have the page cache hold all of one format and nothing of the others, for which memory may not suffice."""
        path = self.path(name)
        for other in set(self._written.values()) - {path}:
            drop_all(other)
        for file in files_of(path):
            warm_cache(file)

    def cool(self, name: str) -> None:
        """Have the page cache hold nothing of one format, checked."""
        drop_all(self.path(name))

    def remove(self) -> None:
        for path in self._written.values():
            unlink(path)
        self._written.clear()


def files_of(path: Path) -> list[Path]:
    """The path itself, or the files below it."""
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def drop_all(path: Path) -> None:
    for file in files_of(path):
        drop_cache(file)


def unlink(path: Path) -> None:
    """Remove a file or directory, if it is there, and have the file system finish that."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    os.sync()
