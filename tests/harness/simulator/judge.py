"""What the next run makes of the store that a power cut has left."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import sqlite3
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_checkpoint.checkpoint.reindex import reindex
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.errors import CatalogDamagedError
from tests.harness.aftermath import NEXT, leftovers, use
from tests.harness.sample_store import EXPERIMENTS, View, age, view
from tests.harness.simulator.disk import Content, Tree
from tests.harness.simulator.operations import WITHOUT_PROMISES

__all__ = ["Judge", "Promise", "read_tree", "write_tree"]

logging.getLogger("model_checkpoint").addHandler(logging.NullHandler())  # it has much to say of what it finds

_CATALOG = ("catalog.db", "catalog.db-journal")


@dataclass(frozen=True, slots=True, eq=False)
class Promise:
    """What may be seen after a power cut.

    Attributes:
        views: Each thing is as in one of them. What is only in the first one goes when what is only in the second one
            has come.
        final: What is acknowledged: beginnings of names, each with the views that are left for what is named so.
    """

    views: tuple[View, ...]
    final: tuple[tuple[str, tuple[View, ...]], ...] = ()

    def broken_by(self, seen: View) -> Iterator[str]:
        """What is not as promised."""
        for key in sorted(set().union(seen, *self.views)):
            allowed = {repr(view.get(key)) for view in self._allowed(key)}
            if repr(seen.get(key)) not in allowed and not key.partition("/")[2].startswith(f"{NEXT} "):
                yield f"{key} is {seen.get(key)!r}, not {' or '.join(sorted(allowed))}"
        before, after, now = (_checkpoints(view) for view in (*self.views[:2], seen))
        if before - after - now and after - before - now:
            yield f"{sorted(before - after - now)} went before {sorted(after - before - now)} came"

    def _allowed(self, key: str) -> tuple[View, ...]:
        return next((views for name, views in reversed(self.final) if key.startswith(name)), self.views)


def _checkpoints(view: View) -> set[str]:
    return {key for key in view if key.endswith(" state")}


@dataclass(frozen=True, slots=True, eq=False)
class _Findings:
    """What there is to see of a store after recovery, at once and after a reindex, and what is wrong with it anyway.

    Nothing is seen if the store is of no use any more.
    """

    problems: tuple[str, ...]
    seen: View | None = None
    indexed: View | None = None

    def measured_by(self, promise: Promise) -> Iterator[str]:
        """All that is wrong, given a promise."""
        yield from self.problems
        if self.seen is not None and self.indexed is not None:
            yield from promise.broken_by(self.seen)
            yield from (f"after a reindex, {problem}" for problem in promise.broken_by(self.indexed))


class Judge:
    """Judges what power cuts leave.

    What recovery makes of a tree depends on what SQLite reads from the catalog, after it has rolled back what was not
    committed, and on the other files. The former is found out for every tree, and the latter done for every combination
    that is new; what comes of it is mostly the same, too, and looked at closely once only.

    Args:
        base: A directory of its own, in memory if there is such a place.

    Attributes:
        recoveries: How many trees were recovered.
    """

    def __init__(self, base: Path) -> None:
        self._pool, self._work, self._read = (base / name for name in ("pool", "judged", "catalog"))
        self._pool.mkdir()
        self._read.mkdir()
        self._paths: dict[bytes, Path] = {}
        self._catalogs: dict[tuple[bytes, ...], bytes | None] = {}
        self._known: dict[object, _Findings] = {}
        self._judged: dict[tuple[_Findings, Promise], list[str]] = {}
        self.recoveries = 0

    def problems(self, tree: Tree, promise: Promise) -> list[str]:
        """What is wrong with a tree."""
        key = self._key(tree)
        found = self._known.get(key)
        if found is None:
            found = self._recovered(tree)
            if key is not None:
                self._known[key] = found
        if (found, promise) not in self._judged:
            self._judged[found, promise] = list(found.measured_by(promise))
        return self._judged[found, promise]

    def _recovered(self, tree: Tree) -> _Findings:
        self._put(tree)
        self.recoveries += 1
        root = str(self._work / "runs")
        try:
            reopen(root)
            key = _signature(root)
        except Exception:  # noqa: BLE001 - whatever it is, the store does not open any more, or not with all it had
            return _Findings((traceback.format_exc(),))
        if key not in self._known:
            self._known[key] = self._look(root)
        return self._known[key]

    def _key(self, tree: Tree) -> object:
        """What recovery depends on; None if that cannot be told."""
        parts = [tree.get(f"runs/{name}") for name in _CATALOG]
        digests = tuple(b"" if part is None else part.digest for part in parts)
        if digests not in self._catalogs:
            self._catalogs[digests] = self._says(parts)
        catalog = self._catalogs[digests]
        if catalog is None:
            return None
        others = ((path, content and content.digest) for path, content in tree.items() if not path.endswith(_CATALOG))
        return catalog, frozenset(others)

    def _says(self, parts: Sequence[Content | None]) -> bytes | None:
        """What SQLite reads from a catalog, and whether it has to roll something back; None if it is not sound."""
        for name, part in zip(_CATALOG, parts, strict=True):
            (self._read / name).unlink(missing_ok=True)
            if part is not None:
                _write(str(self._read / name), part.data)
        database, journal = parts
        if database is None:
            return b"missing" if journal is None else None
        is_hot = journal is not None and journal.data[:1] not in {b"", b"\0"}
        try:
            return b"%d" % is_hot + _rows(str(self._read / _CATALOG[0]), check=True)
        except sqlite3.DatabaseError:
            return None

    def views(self, tree: Tree) -> tuple[View, View]:
        """What there is to see of a tree after recovery, and after a reindex: of what a killed process has said of a
        checkpoint, the catalog may know nothing before.
        """
        self._put(tree)
        root = str(self._work / "runs")
        reopen(root)
        _separate(root)
        seen = view(root)
        reindex(root)
        return seen, view(root)

    def changed_pool(self) -> list[Path]:
        """Files that are not what they were: recovery has written to what it must not touch."""
        return [path for digest, path in self._paths.items() if Content(path.read_bytes()).digest != digest]

    def _put(self, tree: Tree) -> None:
        """Lay out a tree. Files that nobody may write to are links to one copy, so that they cost little."""
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir()
        for path in sorted(tree):
            content, target = tree[path], os.path.join(self._work, path)
            if content is None:
                os.mkdir(target)
            elif path.endswith(_CATALOG):
                _write(target, content.data)
            else:
                os.link(self._pooled(content), target)

    def _pooled(self, content: Content) -> Path:
        if content.digest not in self._paths:
            path = self._pool / str(len(self._paths))
            path.write_bytes(content.data)
            self._paths[content.digest] = path
        return self._paths[content.digest]

    def _look(self, root: str) -> _Findings:
        _separate(root)
        problems: list[str] = []
        try:
            seen = view(root)
            problems += _look_again(root)
            use(root)
            reindex(root)
            contents = {key: value for key, value in seen.items() if key.endswith(" content")}
            return _Findings(tuple(problems), seen, {**contents, **view(root, deep=False)})
        except Exception:  # noqa: BLE001 - whatever it is, this store is of no use any more
            return _Findings((*problems, traceback.format_exc()))


def reopen(root: str) -> None:
    """Open the store as managers of its experiments do."""
    with Workspace.open(root) as workspace:
        for experiment in EXPERIMENTS:
            try:
                workspace.join(experiment, monitor="loss", mode="min", keep=None)
            except CatalogDamagedError:
                workspace.repair()
                workspace.join(experiment, monitor="loss", mode="min", keep=None)


def _look_again(root: str) -> Iterator[str]:
    """A second recovery has nothing to do, and what is old and of no use is gone."""
    before = _described(root)
    reopen(root)
    yield from (f"a second recovery changed {path}" for path in sorted(before ^ _described(root)))
    age(root)
    reopen(root)
    yield from (f"left behind: {path}" for path in leftovers(root))


# --- trees ------------------------------------------------------------------------------------------------------------


def read_tree(directory: Path) -> dict[str, Content | None]:
    """What is in a directory, as far as anything is promised of it."""
    return {
        str(path.relative_to(directory)): None if path.is_dir() else Content(path.read_bytes())
        for path in directory.rglob("*")
        if path.name not in WITHOUT_PROMISES
    }


def write_tree(directory: Path, tree: Tree) -> None:
    """Make a directory that has a tree in it, and nothing else."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    for path in sorted(tree):
        content = tree[path]
        if content is None:
            (directory / path).mkdir()
        else:
            (directory / path).write_bytes(content.data)


def _write(path: str, data: bytes) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(data)


def _separate(root: str) -> None:
    """Give a tree files of its own, which may be changed."""
    for directory, _, names in os.walk(root):
        for path in (os.path.join(directory, name) for name in names):
            if os.stat(path).st_nlink > 1:
                data = Path(path).read_bytes()
                os.unlink(path)
                _write(path, data)


def _described(root: str) -> set[tuple[str, bytes]]:
    """Each path with its content; of a catalog what its tables say, which pages do not always say alike."""
    found = set()
    for directory, names, files in os.walk(root):
        found |= {(os.path.join(directory, name), b"") for name in names}
        for path in (os.path.join(directory, name) for name in files):
            found.add((path, _identity(path)))
    return found


def _identity(path: str) -> bytes:
    status = os.stat(path)
    if status.st_nlink > 1:
        return b"%d" % status.st_ino
    if path.endswith(_CATALOG[0]):
        return _rows(path)
    data = Path(path).read_bytes()
    if path.endswith(_CATALOG[1]) and data[:1] == b"\0":
        return b""  # SQLite takes no notice of it, and begins anew
    return re.sub(rb'"created_at":"[^"]*"', b"", data) if path.endswith("experiment.json") else data


def _signature(root: str) -> bytes:
    digest = hashlib.sha256()
    for path, content in sorted(_described(root)):
        digest.update(b"%s\0%d\0%s" % (path.encode(), len(content), content))
    return digest.digest()


def _rows(path: str, *, check: bool = False) -> bytes:
    """All that a sound catalog says, but for its log."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        if check and connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("it is damaged")
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        rows = [(name, _rows_of(connection, name)) for (name,) in tables if name != "audit_log"]
    return repr(rows).encode()


def _rows_of(connection: sqlite3.Connection, table: str) -> list[str]:
    """The rows of a table; experiments without the time of their creation, for recovery may create some at any time."""
    columns = "name, monitor, mode, keep, config" if table == "experiments" else "*"
    return sorted(map(repr, connection.execute(f"SELECT {columns} FROM {table}")))
