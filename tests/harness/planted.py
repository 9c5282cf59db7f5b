"""Stores in which something was put in another thing's place: links, pipes, devices. Runs in a nursery."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import random
import select
import shutil
import signal
import socket
import stat
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import model_checkpoint as mc
from model_checkpoint.analytics.compaction import Compactor
from model_checkpoint.analytics.reader import MetricsReader
from model_checkpoint.checkpoint.reindex import reindex
from model_checkpoint.checkpoint.scrub import scrub
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.cli import main
from model_checkpoint.database.catalog import Catalog
from model_checkpoint.database.metric_table import MetricTable
from model_checkpoint.errors import CheckpointError
from tests.harness.canary import Guard
from tests.harness.nursery import isolated
from tests.harness.sample_store import LONG, manager, save_one

__all__ = ["KINDS", "OPERATIONS", "PLACES", "all_cases", "build", "trial"]

_PATIENCE_S = 30.0

# --- the store --------------------------------------------------------------------------------------------------------

PLACES = {
    "the root": "",
    "an experiment": "exp",
    "the settings of an experiment": "exp/experiment.json",
    "a checkpoint": "exp/step-00000003-*",
    "a manifest": "exp/step-00000003-*/manifest.json",
    "a file of tensors": "exp/step-00000003-*/state.safetensors",
    "a file of the user's": "exp/step-00000003-*/config.json",
    "the annotations": "exp/.annotations",
    "an annotation": "exp/.annotations/3.json",
    "the lock of annotations": "exp/.annotations/.lock",
    "the metrics": "exp/.metrics",
    "a segment of metrics": "exp/.metrics/points-*",
    "the trash": ".trash",
    "an entry of the trash": ".trash/*",
    "the record of an entry": ".trash/*/trash.json",
    "a checkpoint in the trash": ".trash/*/step-*",
    "a manifest in the trash": ".trash/*/step-*/manifest.json",
    "the staging area": ".staging",
    "a staging directory": ".staging/left",
    "the owner of a staging directory": ".staging/left.owner",
    "a staged file": ".staging/left/state.safetensors",
    "the catalog": "catalog.db",
    "the catalog's log": "catalog.db-wal",
    "the catalog's index of its log": "catalog.db-shm",
    "the catalog's journal": "catalog.db-journal",
    "the scrub's journal": ".scrub.json",
    "the log of timings": ".timings.jsonl",
}
"""What there is in a store, each with its place."""


def build(base: str) -> dict[str, str]:
    """Make the store of all trials; returns its places, with names in place of patterns."""
    places: dict[str, str] = isolated(_build, base)
    return places


def _build(base: str) -> dict[str, str]:
    root = os.path.join(base, "template")
    with manager(root, trash_for_s=LONG) as ckpts:
        for step in range(5):
            save_one(ckpts, step, files={"config.json": b"{}"}, block=True)
            ckpts.log(step, loss=1.0 / (step + 1))
        ckpts.alias(3, "good")
        ckpts.tag(3, team="blue")
        ckpts.pin(1)
        ckpts.prune(dry_run=False, keep=mc.Keep.last(3))
        chosen = ckpts.info(3)
    with manager(root, "other") as others:
        save_one(others, 0, block=True)
    with Workspace.open(root) as workspace:
        Compactor(workspace.store.root, MetricTable(workspace.catalog)).compact("exp")
    scrub(root)
    left = Path(root, ".staging", "left")
    left.mkdir(parents=True)
    (left / "state.safetensors").write_bytes(b"left by a dead writer")
    left.with_suffix(".owner").write_bytes(b"{}")
    names = {"exp/.annotations/3.json": f"exp/.annotations/{chosen.id}.json"}
    return {name: _found(root, names.get(place, place)) for name, place in PLACES.items()}


def _found(root: str, place: str) -> str:
    if "*" not in place:
        return place
    return str(min(Path(root).glob(place)).relative_to(root))


# --- what is planted --------------------------------------------------------------------------------------------------


def _link(path: str, twin: str) -> None:
    os.symlink(twin, path)


def _dangling(path: str, twin: str) -> None:
    os.symlink(os.path.join(os.path.dirname(twin), "nothing"), path)


def _loop(path: str, _twin: str) -> None:
    os.symlink(os.path.basename(path), path)


def _hard_link(path: str, twin: str) -> None:
    os.link(twin, path)


def _pipe(path: str, _twin: str) -> None:
    os.mkfifo(path)


def _socket(path: str, _twin: str) -> None:
    directory = os.open(os.path.dirname(path), os.O_PATH)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{directory}/{os.path.basename(path)}")  # a socket's path must be short
    os.close(directory)


def _zero(path: str, _twin: str) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))


def _full(path: str, _twin: str) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 7))


def _directory(path: str, _twin: str) -> None:
    os.mkdir(path)
    Path(path, "inside").write_bytes(b"something")


def _file(path: str, _twin: str) -> None:
    Path(path).write_bytes(b"something")


KINDS: dict[str, Callable[[str, str], None]] = {
    "a link that leads out": _link,
    "a link that leads nowhere": _dangling,
    "a link to itself": _loop,
    "a hard link to a file outside": _hard_link,
    "a pipe": _pipe,
    "a socket": _socket,
    "/dev/zero": _zero,
    "/dev/full": _full,
    "a directory": _directory,
    "a file": _file,
}
"""What may be put in the place of another thing, given its path and that of the same thing in a store outside."""


def _is_attack(base: str, place: str, kind: str) -> bool:
    """Whether a place can have something of a kind that it should not have."""
    path = os.path.join(base, "template", place)
    if not place and "link" in kind:  # whose root is a link has chosen so
        return False
    if kind == "a hard link to a file outside":
        return os.path.isfile(path)
    return kind != ("a directory" if os.path.isdir(path) else "a file" if os.path.isfile(path) else "")


def _plant(root: str, place: str, kind: str, outside: str) -> None:
    path, twin = os.path.join(root, place).rstrip("/"), os.path.join(outside, place).rstrip("/")
    if os.path.isdir(path):
        shutil.rmtree(path)
    else:
        Path(path).unlink(missing_ok=True)
    KINDS[kind](path, twin)


# --- what is done -----------------------------------------------------------------------------------------------------


def _open(root: str) -> None:
    Workspace.open(root).close()


def _list(root: str) -> None:
    with Workspace.open(root) as workspace:
        workspace.catalog.list("exp")


def _load(root: str) -> None:
    with manager(root) as ckpts:
        ckpts.load(3)


def _verify(root: str) -> None:
    with manager(root) as ckpts:
        ckpts.verify(3)


def _save(root: str) -> None:
    with manager(root) as ckpts:
        save_one(ckpts, 9, alias="good", files={"config.json": b"{}"}, block=True)


def _delete(root: str) -> None:
    with manager(root) as ckpts:
        ckpts.prune(dry_run=False, keep=mc.Keep.last(1), force=True)


def _delete_for_good(root: str) -> None:
    with manager(root, trash_for_s=0) as ckpts:
        ckpts.unalias("good")
        ckpts.prune(dry_run=False, keep=mc.Keep.last(1), force=True)


def _restore(root: str) -> None:
    with manager(root) as ckpts:
        ckpts.restore(0)


def _remark(root: str) -> None:
    with manager(root) as ckpts:
        ckpts.pin(3)
        ckpts.tag(3, team="red")
        ckpts.alias(4, "good")
        ckpts.attach_metrics(3, score=1.0)


def _reindex(root: str) -> None:
    reindex(root)


def _scrub(root: str) -> None:
    report = scrub(root, repair=True)
    for damage in report.damaged:
        print(damage)


def _log(root: str) -> None:
    with manager(root) as ckpts:
        ckpts.log(9, loss=0.1)


def _metrics(root: str) -> None:
    with MetricsReader.open(root) as reader:
        reader.metrics("exp").to_arrow()


def _compact(root: str) -> None:
    with Catalog.open(root) as catalog:
        Compactor(os.path.realpath(root), MetricTable(catalog)).compact("exp", least=1)


def _rebuild(root: str) -> None:
    for suffix in ("", "-wal", "-shm"):
        path = Path(root, f"catalog.db{suffix}")
        if path.is_file() and not path.is_symlink():
            path.unlink()
    _open(root)


def _command(*words: str) -> Callable[[str], None]:
    def run(root: str) -> None:
        with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
            code = main(["-C", root, *words])
        if "unexpected" in said.getvalue():
            raise AssertionError(said.getvalue())
        if code not in (0, 5):
            raise CheckpointError(said.getvalue())

    return run


OPERATIONS: dict[str, Callable[[str], None]] = {
    "opening": _open,
    "listing": _list,
    "loading": _load,
    "verifying": _verify,
    "saving": _save,
    "deleting": _delete,
    "deleting for good": _delete_for_good,
    "restoring": _restore,
    "remarking": _remark,
    "reindexing": _reindex,
    "rebuilding": _rebuild,
    "scrubbing": _scrub,
    "logging": _log,
    "querying": _metrics,
    "compacting": _compact,
    "mckpt ls": _command("ls", "--all"),
    "mckpt show": _command("show", "exp:3"),
    "mckpt verify": _command("verify", "--all"),
    "mckpt inspect": _command("inspect", "exp:3"),
    "mckpt export": _command("export", "exp:3", "/proc/self/cwd/exported"),
    "mckpt prune": _command("prune", "exp", "--keep", "last(1)", "--yes", "--force"),
    "mckpt restore": _command("restore", "exp:0"),
    "mckpt doctor": _command("doctor"),
}


# --- a trial ----------------------------------------------------------------------------------------------------------


def trial(base: str, place: str, kind: str, operation: str) -> dict[str, Any]:
    """Plant something, do something, and see what came of it.

    Args:
        base: Where `build` has made the store.
        place: Path in the store.
        kind: Name in `KINDS`.
        operation: Name in `OPERATIONS`.

    Returns:
        ``outcome``: done, refused or wrong; ``said``: the error; ``problems``: what happened outside.
    """
    template, root, outside = (os.path.join(base, name) for name in ("template", "runs", "outside"))
    for copy in (root, outside):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(copy) if os.path.islink(copy) or not os.path.isdir(copy) else shutil.rmtree(copy)
        shutil.copytree(template, copy)
    for exported in Path(base).glob("exported*"):
        shutil.rmtree(exported)
    _plant(root, place, kind, outside)
    with Guard(outside, reads=kind != "a hard link to a file outside") as guard:
        outcome, said = _forked(base, root, operation)
        return {"outcome": outcome, "said": said, "problems": guard.problems()}


def _forked(base: str, root: str, operation: str) -> tuple[str, str]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.chdir(base)
        os.write(writing, json.dumps(_outcome(root, operation)).encode()[:60_000])
        os._exit(0)
    os.close(writing)
    try:
        if not select.select([reading], [], [], _PATIENCE_S)[0]:
            os.kill(pid, signal.SIGKILL)
            return "wrong", "it hangs"
        with open(reading, "rb", closefd=False) as said:
            outcome, text = json.loads(said.read() or b'["wrong", "it died"]')
            return outcome, text
    finally:
        os.close(reading)
        os.waitpid(pid, 0)


def _outcome(root: str, operation: str) -> tuple[str, str]:
    logging.getLogger("model_checkpoint").addHandler(logging.NullHandler())
    try:
        OPERATIONS[operation](root)
    except CheckpointError as error:
        return "refused", f"{type(error).__name__}: {error}"
    except BaseException:  # noqa: BLE001 - none of ours
        return "wrong", traceback.format_exc()[-2000:]
    return "done", ""


def all_cases(base: str, places: dict[str, str]) -> list[tuple[str, str, str]]:
    """All that can be tried: name of the place, kind, operation; shuffled, so that any part has something of all."""
    kinds = [kind for kind in KINDS if os.geteuid() == 0 or not kind.startswith("/dev")]
    planted = [(place, kind) for place in places for kind in kinds if _is_attack(base, places[place], kind)]
    cases = [(place, kind, operation) for place, kind in planted for operation in OPERATIONS]
    random.Random(0).shuffle(cases)
    return cases
