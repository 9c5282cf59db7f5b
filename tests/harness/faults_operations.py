"""What is done to a store while calls fail, and the store that it is done to."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

import model_checkpoint as mc
from model_checkpoint.checkpoint.cleaning import Janitor
from model_checkpoint.checkpoint.reindex import reindex
from model_checkpoint.database.listing import CATALOG_NAME

__all__ = ["EXPERIMENT", "LITTER", "NEW", "OPERATIONS", "Operation", "build", "manager", "state_of"]

EXPERIMENT = "exp"
SMALL, LARGE = 500, 1_200_000  # numbers in a weight; the large one takes five chunks and two blocks of the core
NEW = 10
"""The step that operations save."""

_PINNED, _LARGE, _LATEST, _TRASHED, _EXPIRED = 1, 2, 3, 4, 5
LITTER = "0123456789abcdef" * 2


def state_of(step: int) -> dict[str, Any]:
    """A state that its step determines."""
    size = LARGE if step in (_LARGE, NEW) else SMALL
    return {"weight": np.arange(step, step + size, dtype=np.float32), "bias": np.full(3, step), "meta": {"step": step}}


def manager(root: str, **options: Any) -> mc.CheckpointManager:
    """A manager of the one experiment."""
    return mc.CheckpointManager(root, experiment=EXPERIMENT, **options)


def _save(ckpts: mc.CheckpointManager, step: int, **options: Any) -> mc.SaveHandle:
    ckpts._parts.clear()
    ckpts.track(**state_of(step))
    return ckpts.save(step, **options)


# --- the store --------------------------------------------------------------------------------------------------------


def build(root: str) -> None:
    """Make the store: three checkpoints, one of them pinned and named, and two in the trash, one of them expired."""
    with manager(root, monitor="loss", keep=mc.Keep.last(100)) as ckpts:
        for step in (_TRASHED, _EXPIRED, _PINNED, _LARGE, _LATEST):
            _save(ckpts, step, block=True)
        ckpts.pin(_PINNED)
        ckpts.alias(_PINNED, "good")
        for step, keep in ((_TRASHED, timedelta(days=7)), (_EXPIRED, timedelta(microseconds=1))):
            Janitor(ckpts._workspace, lambda _: None, keep).remove(ckpts.info(step), "no reason")


def _litter(root: str) -> None:
    """Add what processes leave that die: a staging directory, a deletion, a temporary file, an unknown checkpoint."""
    for path in (f".staging/{LITTER}", f".trash/{LITTER}.deleting"):
        os.makedirs(os.path.join(root, path))
        Path(root, path, "model.safetensors").write_bytes(b"x")
    Path(root, f".staging/{LITTER}.owner").write_text('{"pid": 1, "started": "1", "boot": "another"}\n')
    temporary = Path(root, EXPERIMENT, f".mckpt-{LITTER[:16]}.tmp")
    temporary.write_bytes(b"x")
    os.utime(temporary, (0, 0))
    with contextlib.closing(sqlite3.connect(os.path.join(root, CATALOG_NAME))) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM checkpoints WHERE step = ?", (_LATEST,))


def _lose_the_catalog(root: str) -> None:
    for path in Path(root).glob(f"{CATALOG_NAME}*"):
        path.unlink()


def _leave(_root: str) -> None:
    """Change nothing."""


# --- operations -------------------------------------------------------------------------------------------------------

Act = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that is done to a store.

    Attributes:
        ready: Prepares it, without faults, and gives what does it; when that returns, it is acknowledged.
        before: Changes the store first.
        makes: Steps that are there once it is acknowledged.
        may_remove: Steps that may be gone for good afterwards, whatever happens.
        only_reads: Whether what it may write down on the way, "found intact", is no part of it.
        check: Told the root and whether it was acknowledged; raises AssertionError if something is wrong.
    """

    ready: Callable[[str], AbstractContextManager[Act]]
    before: Callable[[str], None] = _leave
    makes: frozenset[int] = frozenset()
    may_remove: frozenset[int] = frozenset({_EXPIRED})
    only_reads: bool = False
    check: Callable[[str, bool], None] = lambda _root, _acknowledged: None


@contextmanager
def _with_manager(root: str, act: Callable[[mc.CheckpointManager], object], **options: Any) -> Iterator[Act]:
    ckpts = manager(root, **options)
    try:
        yield lambda: _ignore(act(ckpts))
    finally:
        with contextlib.suppress(mc.SaveError):  # the act was to hear of it, and is asked whether it did
            ckpts.close()


def _ignore(_value: object) -> None:
    """Return nothing."""


def _managed(act: Callable[[mc.CheckpointManager], object], **options: Any) -> Callable[[str], Any]:
    return lambda root: _with_manager(root, act, **options)


def _plain(act: Callable[[str], object]) -> Callable[[str], Any]:
    """An act that needs no preparation."""
    return lambda root: contextlib.nullcontext(lambda: _ignore(act(root)))


def _told_by_handle(ckpts: mc.CheckpointManager) -> None:
    _save(ckpts, NEW, alias="new").result()


def _told_by_next_call(ckpts: mc.CheckpointManager) -> None:
    _save(ckpts, NEW).wait()
    ckpts.list()


def _told_by_close(ckpts: mc.CheckpointManager) -> None:
    _save(ckpts, NEW)
    ckpts.close()


def _equal(loaded: Any, step: int) -> None:
    expected = state_of(step)
    assert np.array_equal(loaded["weight"], expected["weight"]), "a load returned other bytes than were saved"
    assert loaded["meta"] == expected["meta"]


def _load(ckpts: mc.CheckpointManager) -> None:
    _equal(ckpts.load(_LARGE), _LARGE)


@contextmanager
def _load_mapped(root: str) -> Iterator[Act]:
    directory = next(Path(root, EXPERIMENT).glob(f"step-{_LARGE:08}-*"))
    yield lambda: _equal(mc.load(directory, mmap=True), _LARGE)


def _load_into(ckpts: mc.CheckpointManager) -> None:
    target = {"weight": np.zeros(LARGE, np.float32), "meta": {"step": -1}}
    try:
        ckpts.load(_LARGE, into=target)
    except BaseException:
        if target["weight"].any():  # whole, and only the last look at the length of the files failed
            _equal(target, _LARGE)
        else:
            assert target["meta"] == {"step": -1}, "a load that failed has changed its target"
        raise
    _equal(target, _LARGE)


def _save_directory(root: str, name: str = "checkpoint") -> None:
    mc.save(state_of(NEW), os.path.join(root, "alone", name), files={"config.json": b"{}"})


def _check_directory(root: str, acknowledged: bool) -> None:
    directory = os.path.join(root, "alone", "checkpoint")
    assert os.path.exists(directory) or not acknowledged, "an acknowledged checkpoint is gone"
    if os.path.exists(directory):
        _equal(mc.load(directory), NEW)
    _save_directory(root, "next")  # which tidies up
    assert not Path(root, "alone", ".staging").exists(), "a staging directory was left behind"


def _save_file(root: str) -> None:
    mc.save_file({"weight": state_of(NEW)["weight"]}, os.path.join(root, "file.safetensors"))


def _save_older_file(root: str) -> None:
    mc.save_file({"weight": np.zeros(SMALL)}, os.path.join(root, "file.safetensors"))


def _check_file(root: str, acknowledged: bool) -> None:
    """The older one or the newer one is there, whole."""
    loaded = mc.load_file(os.path.join(root, "file.safetensors"), framework="numpy")
    assert len(loaded["weight"]) == LARGE or not acknowledged
    assert len(loaded["weight"]) in (SMALL, LARGE)


def _remark(ckpts: mc.CheckpointManager) -> None:
    ckpts.tag(_PINNED, team="blue")
    ckpts.alias(_LATEST, "better")
    ckpts.attach_metrics(_LATEST, score=0.5)


def _open(root: str) -> None:
    manager(root).close()


def _prune(ckpts: mc.CheckpointManager) -> None:
    ckpts.prune(dry_run=False, keep=mc.Keep.last(1), force=True)


_SAVED = frozenset({NEW})

OPERATIONS: dict[str, Operation] = {
    "save": Operation(_managed(lambda ckpts: _save(ckpts, NEW, alias="new", block=True)), makes=_SAVED),
    "strict save": Operation(_managed(lambda ckpts: _save(ckpts, NEW, block=True), verify_writes=True), makes=_SAVED),
    "background save, asked by its handle": Operation(_managed(_told_by_handle), makes=_SAVED),
    "background save, asked by the next call": Operation(_managed(_told_by_next_call), makes=_SAVED),
    "background save, asked by close": Operation(_managed(_told_by_close), makes=_SAVED),
    "save to a directory": Operation(_plain(_save_directory), check=_check_directory),
    "save to a file": Operation(_plain(_save_file), before=_save_older_file, check=_check_file),
    "load": Operation(_managed(_load), only_reads=True),
    "load, mapped": Operation(_load_mapped, only_reads=True),
    "load into": Operation(_managed(_load_into), only_reads=True),
    "verify": Operation(_managed(lambda ckpts: ckpts.verify(_LARGE))),
    "delete": Operation(_managed(_prune, trash_for_s=10.0**6)),
    "delete for good": Operation(_managed(_prune), may_remove=frozenset({_LARGE, _EXPIRED})),
    "restore": Operation(_managed(lambda ckpts: ckpts.restore(_TRASHED)), makes=frozenset({_TRASHED})),
    "pins, names and tags": Operation(_managed(_remark)),
    "open, purge and recover": Operation(_plain(_open), before=_litter),
    "rebuild a lost catalog": Operation(_plain(_open), before=_lose_the_catalog),
    "reindex": Operation(_plain(reindex)),
}
"""By name."""
