"""Which store a command works on."""

from __future__ import annotations

import os
from pathlib import Path

from model_checkpoint.errors import CheckpointNotFoundError, ConfigurationError

__all__ = ["ROOT_VARIABLE", "is_store", "require_store", "resolve_root"]

ROOT_VARIABLE = "MCKPT_ROOT"
_DEFAULT = "runs"
_SIGNS = ("*/experiment.json", "*/step-*-*/manifest.json")


def is_store(directory: Path) -> bool:
    """Whether a directory has what a store has: a catalog, an experiment, or a checkpoint of one."""
    if (directory / "catalog.db").is_file():
        return True
    return any(True for sign in _SIGNS for _ in directory.glob(sign))


def resolve_root(given: str | None) -> Path:
    """The store's root: the option, else ``MCKPT_ROOT``, else the working directory if it is a store, else ``./runs``.

    Raises:
        ConfigurationError: The option is empty.
    """
    if given == "":
        raise ConfigurationError("--root is empty")
    chosen = given or os.environ.get(ROOT_VARIABLE)
    if chosen:
        return Path(chosen)
    return Path() if is_store(Path()) else Path(_DEFAULT)


def require_store(root: Path) -> Path:
    """``root`` itself, if there is a store: no command makes one by looking for it.

    Raises:
        CheckpointNotFoundError: There is none.
    """
    if is_store(root):
        return root
    what = "is not a store" if root.is_dir() else "does not exist"
    raise CheckpointNotFoundError(f"{root} {what}; name one with -C DIR or {ROOT_VARIABLE}", ref=str(root))
