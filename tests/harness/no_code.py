"""Files of every kind, made to have code run, given to everything that reads files; and what was seen meanwhile.

Each function is for a process of its own: `tests.harness.nursery`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle  # noqa: TID251 - to see that it is seen
import random
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from model_checkpoint.errors import CheckpointError
from tests.fuzz import loop
from tests.harness import audit, hostile_catalogs, pickles

logging.getLogger("model_checkpoint").addHandler(logging.NullHandler())  # it has much to say of what it finds

__all__ = ["KINDS", "control", "listed_with", "rebuilt_after_a_program", "try_kind"]

CANARY = "mckpt_canary"
_MARK = "canary-was-here"


@dataclass
class _Tally:
    """What came of the files of one kind.

    Attributes:
        tried: How many files.
        refused: How many of them were refused.
        events: What must not happen, and how often it did.
        errors: Exceptions that are not of this package, and how often.
    """

    tried: int = 0
    refused: int = 0
    events: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def attempt(self, use: Callable[[], Any]) -> None:
        self.tried += 1
        try:
            with audit.audited() as seen:
                use()
        except CheckpointError:
            self.refused += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
            self.errors[f"{type(error).__name__}: {error}"[:200]] += 1
        self.events.update(seen)


def try_kind(kind: str, count: int, seed: int) -> dict[str, Any]:
    """Try so many hostile files of one kind.

    Returns:
        How many were ``tried`` and ``refused``; the ``events`` that must not be; other ``errors``.
    """
    with _canaries() as mark:
        tally = _Tally()
        KINDS[kind](tally, count, seed)
        for name in (name for name in sys.modules if name.partition(".")[0] == CANARY):
            tally.events[f"{name} was imported"] += 1
        if mark.exists():
            tally.events["a canary was here"] += 1
    return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(tally).items()}


def control(form: str) -> dict[str, int]:
    """What is seen when something is read as it must not be: that the others saw nothing means something then."""
    with _canaries() as mark:
        raw = next(raw for raw in pickles.pickles(f"touch {mark}") if b"cos\nsystem\n" in raw)
        with audit.audited(stop=False) as seen, contextlib.suppress(Exception):
            if form == "pickle":
                pickle.loads(raw)
            elif form == "eval":
                eval("1 + 1")
            else:
                __import__(f"{CANARY}.inside")
        return {**seen, "mark": int(mark.exists())}


@contextlib.contextmanager
def _canaries() -> Iterator[Path]:
    """A module that leaves a mark when it is imported, on the path of this process."""
    with tempfile.TemporaryDirectory(prefix="mckpt-canary-") as directory:
        mark = Path(directory, _MARK)
        package = Path(directory, CANARY)
        package.mkdir()
        code = f"open({str(mark)!r}, 'w').close()\nrun = print\n"
        for name in ("__init__.py", "inside.py"):
            (package / name).write_text(code)
        sys.path.insert(0, directory)
        try:
            yield mark
        finally:
            sys.path.remove(directory)


# --- files and manifests ----------------------------------------------------------------------------------------------


def _try_inputs(tally: _Tally, count: int, seed: int) -> None:
    """The inputs of all fuzz targets: plain files, manifests, states, checkpoint directories, annotations, ..."""
    from tests.fuzz.targets.all import TARGETS

    for target in TARGETS.values():
        rng = random.Random(f"{seed} {target.name}")
        for raw in target.seeds(rng)[:40]:  # what is imported for honest files is imported now
            target.outcome(raw)
        inputs = loop.inputs(target, rng, [])
        for _ in range(-(-count // len(TARGETS))):
            raw = next(inputs)
            tally.attempt(lambda target=target, raw=raw: target.run(raw))


def _try_pickles(tally: _Tally, count: int, seed: int) -> None:
    """``.pt`` files given to the backend, and as the state of checkpoints whose manifest says that this is right."""
    import torch

    from model_checkpoint.storage import checkpoint_dir
    from model_checkpoint.storage.backends import get_backend
    from model_checkpoint.storage.commit import Draft
    from model_checkpoint.storage.staged_files import BackendFile
    from model_checkpoint.storage.store import Store

    backend = get_backend("pytorch")
    with tempfile.TemporaryDirectory(dir=_memory()) as directory:
        store, file = Store(Path(directory, "store")), Path(directory, "state.pt")
        honest = BackendFile(backend, {"a": torch.ones(2), "b": 1.5})
        path = Path(store.directory(store.commit(Draft("exp", 1, None, [honest], backend="pytorch"))))
        checkpoint_dir.load(path)
        files = pickles.hostile_files(random.Random(seed), f"touch {Path(sys.path[0], _MARK)}")
        for number in range(count):
            raw = next(files)
            if number % 4:
                file.write_bytes(raw)
                tally.attempt(lambda: backend.load(str(file)))
            else:
                _replace_state(path, raw)
                tally.attempt(lambda: checkpoint_dir.load(path))


def _replace_state(path: Path, raw: bytes) -> None:
    """Put other bytes into a checkpoint, and write the manifest that belongs to them."""
    import hashlib

    from model_checkpoint.storage import manifest as manifests

    old = manifests.decode((path / "manifest.json").read_bytes(), path="manifest.json")
    (file,) = old.files
    for name in (file.name, "manifest.json"):
        (path / name).chmod(0o600)
    (path / file.name).write_bytes(raw)
    files = (replace(file, nbytes=len(raw), digest=hashlib.sha256(raw).hexdigest()),)
    new = replace(old, files=files, content=manifests.content_digest(files, old.state))
    (path / "manifest.json").write_bytes(manifests.encode(new)[0])


# --- stores -----------------------------------------------------------------------------------------------------------


class _Store:
    """A store with three checkpoints and some metrics, that can be made anew."""

    def __init__(self, root: Path) -> None:
        import numpy as np

        import model_checkpoint as mc

        with mc.CheckpointManager(root, experiment="exp", monitor="loss") as ckpts:
            ckpts.track(weight=np.arange(40.0), meta={"step": 0})
            for step in range(3):
                ckpts.log(step, loss=1.0 / (step + 1))
                ckpts.save(step, metrics={"loss": float(step)}).result()
        _compact(root)
        self.root = root
        self.catalog = root / "catalog.db"
        self._copy = root.with_name("copy")
        shutil.copytree(root, self._copy)

    def restore(self) -> None:
        for path in self.root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(self._copy, self.root, dirs_exist_ok=True)


def _compact(root: Path) -> None:
    from model_checkpoint.analytics.compaction import Compactor
    from model_checkpoint.checkpoint.workspace import Workspace
    from model_checkpoint.database.metric_table import MetricTable

    with Workspace.open(root) as workspace:
        Compactor(workspace.store.root, MetricTable(workspace.catalog)).compact("exp")


def _list(root: Path) -> None:
    from model_checkpoint.database.listing import Listing

    with Listing.open(root) as listing:
        listing.list()
        listing.latest("exp")
        listing.best("exp", "loss", "min")
        listing.history(limit=5)


def _read_metrics(root: Path) -> None:
    from model_checkpoint.analytics.reader import MetricsReader

    with MetricsReader.open(root) as reader:
        reader.series("exp")
        reader.query("SELECT count(*) FROM metrics")


def _open_and_pin(root: Path) -> None:
    from model_checkpoint.checkpoint.workspace import Workspace

    with Workspace.open(root) as workspace:
        ids = [info.id for info in workspace.catalog.list()]
        workspace.catalog.pin(ids)
        workspace.catalog.check()


def _scrub(root: Path) -> None:
    from model_checkpoint.checkpoint.scrub import scrub

    scrub(root)


_USES = (_list, _read_metrics, _open_and_pin, _scrub)


@contextlib.contextmanager
def _store() -> Iterator[_Store]:
    """A store that everything has been done with once, so that what honest files need is imported."""
    with tempfile.TemporaryDirectory(dir=_memory()) as directory:
        store = _Store(Path(directory, "store"))
        for use in _USES:
            use(store.root)
        store.catalog.write_bytes(b"damaged" * 1000)
        for use in _USES:
            with contextlib.suppress(CheckpointError):
                use(store.root)
        yield store


def listed_with(root: str, schema: str) -> str:
    """What a listing says of a new store whose catalog got one of the hostile schemas: the exception's name."""
    store = _Store(Path(root))
    hostile_catalogs.with_schema(store.catalog, schema)
    try:
        _list(store.root)
    except CheckpointError as error:
        return type(error).__name__
    return "nothing"


def rebuilt_after_a_program(root: str) -> dict[str, Any]:
    """Put a view that never ends into a catalog: what a listing says, and what there is after the store was opened."""
    from model_checkpoint.database import queries
    from model_checkpoint.database.listing import Listing

    said = listed_with(root, "a view that never ends")
    _open_and_pin(Path(root))
    with Listing.open(root) as listing:
        count = len(listing.list())
    with sqlite3.connect(Path(root, "catalog.db")) as connection:
        programs = connection.execute(queries.PROGRAMS).fetchall()
    return {"listing": said, "checkpoints": count, "programs": len(programs)}


def _try_catalogs(tally: _Tally, count: int, seed: int) -> None:
    """Catalogs with triggers, views, virtual tables and other things that run; and damaged ones."""
    rng = random.Random(seed)
    names = list(hostile_catalogs.SCHEMAS)
    with _store() as store:
        store.restore()
        honest = store.catalog.read_bytes()
        for number in range(count):
            for path in store.root.glob("catalog.db*"):
                path.unlink()
            store.catalog.write_bytes(honest)
            if number % 2 or not hostile_catalogs.with_schema(store.catalog, names[number // 2 % len(names)]):
                store.catalog.write_bytes(hostile_catalogs.damaged(rng, honest))
            use = _USES[(number // 2 + number // 2 // len(names)) % len(_USES)]
            tally.attempt(lambda use=use: use(store.root))


def _try_damaged_stores(tally: _Tally, count: int, seed: int) -> None:
    """Stores with a file that is damaged, or replaced by one that would run code elsewhere."""
    rng = random.Random(seed)
    hostile = pickles.hostile_files(random.Random(seed), f"touch {Path(sys.path[0], _MARK)}")
    with _store() as store:
        for number in range(count):
            store.restore()
            path = rng.choice(sorted(path for path in store.root.rglob("*") if path.is_file()))
            raw = path.read_bytes()
            os.chmod(path, 0o600)
            path.write_bytes(next(hostile) if number % 4 == 0 else hostile_catalogs.damaged(rng, raw or b"0" * 4096))
            use = _USES[number % len(_USES)]
            tally.attempt(lambda use=use: use(store.root))


def _try_segments(tally: _Tally, count: int, seed: int) -> None:
    """Segments of metrics with the digest that their name needs, that carry pickles as Arrow's and pandas' own, or are
    damaged."""
    import hashlib

    from model_checkpoint.analytics.segment import read_replaced, read_segment

    rng = random.Random(seed)
    with _store() as store:
        store.restore()
        (path,) = store.root.rglob("*.parquet")
        listed = str(path.relative_to(store.root))
        honest = path.read_bytes()
        forged = _forged_segments(path, f"touch {Path(sys.path[0], _MARK)}")
        read_segment(str(store.root), listed)
        read_replaced(str(store.root), listed)
        for number in range(count):
            raw = rng.choice(forged) if number % 4 == 0 else _damaged_segment(rng, rng.choice((honest, *forged)))
            os.chmod(path, 0o600)
            path.write_bytes(raw)
            own = path.with_name(f"points-1-3-{hashlib.sha256(raw).hexdigest()[:16]}.parquet")
            own.write_bytes(raw)
            name = str(own.relative_to(store.root))
            if number % 3 == 0:
                tally.attempt(lambda: _read_metrics(store.root))
            else:
                read = read_segment if number % 3 == 1 else read_replaced
                tally.attempt(lambda read=read, name=name: read(str(store.root), name))
            own.unlink(missing_ok=True)


def _forged_segments(path: Path, argument: str) -> list[bytes]:
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.read_table(path)
    forged = []
    for raw in list(pickles.pickles(argument))[:60]:
        extension = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": raw}
        fields = [item.with_metadata(extension) for item in table.schema]
        metadata = dict(table.schema.metadata or {}) | {b"pandas": raw, b"PANDAS": raw}
        sink = pa.BufferOutputStream()
        parquet.write_table(table.cast(pa.schema(fields, metadata)), sink)
        forged.append(sink.getvalue().to_pybytes())
    return forged


def _damaged_segment(rng: random.Random, raw: bytes) -> bytes:
    """Changed in the footer, mostly: it is what is believed first."""
    result = bytearray(raw)
    footer = int.from_bytes(raw[-8:-4], "little") + 8
    for _ in range(rng.choice((1, 1, 2, 5))):
        result[-rng.randrange(1, min(footer, len(raw)) if rng.random() < 0.8 else len(raw))] = rng.randrange(256)
    return bytes(result)


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


KINDS: dict[str, Callable[[_Tally, int, int], None]] = {
    "inputs": _try_inputs,
    "pickles": _try_pickles,
    "catalogs": _try_catalogs,
    "segments": _try_segments,
    "stores": _try_damaged_stores,
}
