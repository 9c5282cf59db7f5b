"""Names made to deceive, through everything that takes a name."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sqlite3
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import model_checkpoint as mc
from model_checkpoint.analytics.compaction import Compactor
from model_checkpoint.analytics.reader import MetricsReader
from model_checkpoint.checkpoint.reindex import reindex
from model_checkpoint.checkpoint.scrub import scrub
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.cli import main
from model_checkpoint.database.metric_table import MetricTable
from model_checkpoint.errors import CheckpointError, CorruptionError
from model_checkpoint.storage.backends import get_backend
from model_checkpoint.storage.base_backend import register_backend
from model_checkpoint.storage.commit import Draft
from model_checkpoint.storage.durable import remove_tree
from model_checkpoint.storage.store import Store
from tests.harness import canary
from tests.harness.canary import Guard
from tests.harness.hostile_names import NAMES, fits_a_command_line
from tests.hostile.test_manifests import forged

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.skipif(canary.unavailable() is not None, reason=str(canary.unavailable())),
]


@dataclass
class Place:
    """A store between canaries.

    Attributes:
        level: What holds the store and, beside it, canaries.
        runs: The store.
        ckpts: Its manager.
        scratch: Where else something may be made.
    """

    level: Path
    runs: Path
    ckpts: mc.CheckpointManager
    scratch: Path

    def fresh(self) -> Path:
        """A path at which there is nothing yet."""
        if self.scratch.exists():
            shutil.rmtree(self.scratch)
        self.scratch.mkdir()
        return self.scratch / "new"


@pytest.fixture
def place(memory_path, monkeypatch) -> Iterator[Place]:
    """Canaries above, beside and, for relative paths, below the working directory's parents; and a guard over them."""
    level = memory_path / "level"
    for canaries in (memory_path / "outside", level / "beside", level / "etc"):
        canaries.mkdir(parents=True)
        (canaries / "secret.txt").write_text("secret")
        (canaries / "passwd").write_text("secret")
    (level / "secret.txt").write_text("secret")
    (level / "cwd").mkdir()
    monkeypatch.chdir(level / "cwd")
    before = listing(memory_path)
    with contextlib.ExitStack() as open_now:
        guards = [open_now.enter_context(Guard(str(path))) for path in (memory_path / "outside", level / "beside")]
        with mc.CheckpointManager(level / "runs", experiment="exp", monitor="loss") as ckpts:
            ckpts.track(model={"w": np.zeros(4)})
            for step in range(2):
                ckpts.save(step, metrics={"loss": 1.0}, block=True)
                ckpts.log(step, loss=1.0)
            ckpts.collector.flush()
            with Workspace.open(level / "runs") as workspace:
                Compactor(workspace.store.root, MetricTable(workspace.catalog)).compact("exp")
            yield Place(level, level / "runs", ckpts, level / "cwd" / "scratch")
        problems = [problem for guard in guards for problem in guard.problems()]
    shutil.rmtree(level / "cwd" / "scratch", ignore_errors=True)
    assert not problems
    assert listing(memory_path) == before


def listing(path: Path) -> list[str]:
    """What is around the store."""
    places = (path, path / "level", path / "level" / "cwd")
    return sorted(str(found) for place in places for found in place.iterdir() if found.name != "runs")


# --- names that are given to the library ------------------------------------------------------------------------------
# Each function stores a name and asserts that it comes back, or lets the error pass.


def experiment(place: Place, name: str) -> None:
    with mc.CheckpointManager(place.runs, experiment=name) as ckpts:
        assert ckpts.experiment == name
    with Workspace.open(place.runs) as workspace:
        assert name in {found.name for found in workspace.catalog.experiments()}


def monitored_metric(place: Place, name: str) -> None:
    with mc.CheckpointManager(place.runs, experiment="monitored", monitor=name, mode="min") as ckpts:
        assert ckpts.monitor == name
        assert Store(place.runs).read_experiment("monitored").monitor == name


def component(place: Place, name: str) -> None:
    mc.save({name: {"w": np.ones(2)}}, place.fresh())
    assert list(mc.load(place.scratch / "new")) == [name]


def part(place: Place, name: str) -> None:
    with mc.CheckpointManager(place.runs, experiment="parts") as ckpts:
        ckpts.track(**{name: {"w": np.zeros(2)}})
        ckpts.save(1, block=True)
        assert name in ckpts.load()


def key_of_a_state(place: Place, name: str) -> None:
    mc.save({"model": {"layers": {name: np.ones(2), "x": 1}}}, place.fresh())
    assert list(mc.load(place.scratch / "new")["model"]["layers"]) == [name, "x"] if name != "x" else True


def tensor(place: Place, name: str) -> None:
    mc.save_file({name: np.ones(2)}, place.fresh())
    assert list(mc.load_file(place.scratch / "new")) == [name]


def metadata_of_a_file(place: Place, name: str) -> None:
    mc.save_file({"w": np.ones(2)}, place.fresh(), metadata={name: name})
    with mc.open_file(place.scratch / "new") as file:
        assert file.metadata()[name] == name


def file(place: Place, name: str) -> None:
    mc.save({"x": 1}, place.fresh(), files={name: b"content"})
    assert (place.scratch / "new" / name).read_bytes() == b"content"
    assert {found.name for found in mc.inspect(place.scratch / "new").manifest.files} == {name}


def metadata(place: Place, name: str) -> None:
    mc.save({"x": 1}, place.fresh(), metadata={name: name})
    assert mc.inspect(place.scratch / "new").manifest.metadata == {name: name}


def metric(place: Place, name: str) -> None:
    mc.save({"x": 1}, place.fresh(), metrics={name: 0.5})
    assert mc.inspect(place.scratch / "new").manifest.metrics == {name: 0.5}


def late_metric(place: Place, name: str) -> None:
    place.ckpts.attach_metrics(0, **{name: 0.5})
    assert place.ckpts.info(0).metrics[name] == 0.5
    assert Store(place.runs).annotation(place.ckpts.info(0)).metrics[name] == 0.5


def logged_metric(place: Place, name: str) -> None:
    place.ckpts.log(3, {name: 0.5}, split=name, tags={name: name})
    place.ckpts.collector.flush()
    table = place.ckpts.metrics(name).to_arrow()
    assert set(table["name"].to_pylist()) == {name}


def alias(place: Place, name: str) -> None:
    place.ckpts.alias(0, name)
    assert place.ckpts.info(name).step == 0
    assert name in Store(place.runs).annotation(place.ckpts.info(0)).aliases
    place.ckpts.unalias(name)


def tag(place: Place, name: str) -> None:
    place.ckpts.tag(0, **{name: name})
    assert place.ckpts.info(0).tags[name] == name
    assert Store(place.runs).annotation(place.ckpts.info(0)).tags[name] == name


def reference(place: Place, name: str) -> None:
    for ref in (name, f"exp:{name}", f"{name}:latest", f"best@{name}", f"{name}:{name}"):
        try:
            place.ckpts.load(ref)
        except CheckpointError as error:
            failure = error
    raise failure


def checkpoint_id(place: Place, name: str) -> None:
    store = Store(place.runs)
    for act in (lambda: store.restore(name), lambda: Draft("exp", 0, None, [], id=name)):
        try:
            act()
        except CheckpointError as error:
            failure = error
    raise failure


def policy(_place: Place, name: str) -> None:
    mc.Keep.parse(name)


def query(place: Place, name: str) -> None:
    with MetricsReader.open(place.runs) as reader:
        reader.query(name)


def parameter_of_a_query(place: Place, name: str) -> None:
    with MetricsReader.open(place.runs) as reader:
        assert reader.query("SELECT ? AS x", [name])["x"].to_pylist() == [name]


def file_in_a_query(place: Place, name: str) -> None:
    quoted = name.replace("'", "''")
    with MetricsReader.open(place.runs) as reader:
        reader.query(f"SELECT * FROM '{quoted}'")


def backend(_place: Place, name: str) -> None:
    get_backend(name)
    register_backend(name)(type("Late", (), {}))  # type: ignore[type-var]


def settings(place: Place, name: str) -> None:
    with mc.CheckpointManager(place.runs, experiment="settings", config={name: name}) as ckpts:
        found = Store(ckpts.root).read_experiment("settings")
        assert found is not None
        assert found.config == {name: name}


GIVEN: tuple[Callable[[Place, str], None], ...] = (
    experiment, monitored_metric, component, part, key_of_a_state, tensor, metadata_of_a_file, file, metadata, metric,
    late_metric, logged_metric, alias, tag, reference, checkpoint_id, policy, query, parameter_of_a_query,
    file_in_a_query, backend, settings,
)  # fmt: skip


# --- names that are found in a store ----------------------------------------------------------------------------------
# Each function forges something that holds the name; whatever reads it then must refuse it, or take it for what it is.


def everything(place: Place) -> None:
    """All that reads a store; every part may refuse it."""
    for act in (
        lambda: Workspace.open(place.runs).close(),
        lambda: place.ckpts.load(0),
        lambda: place.ckpts.verify(0),
        lambda: place.ckpts.pin(0),
        lambda: place.ckpts.prune(dry_run=False, keep=mc.Keep.last(1)),
        lambda: place.ckpts.restore(0),
        lambda: scrub(place.runs, repair=True),
        lambda: reindex(place.runs),
        lambda: command(["ls", "--all"], place),
        lambda: command(["show", "exp:0"], place),
        lambda: command(["verify", "--all"], place),
        lambda: command(["inspect", "exp:0"], place),
        lambda: command(["export", "exp:0", "exported"], place),
        lambda: command(["doctor"], place),
    ):
        with contextlib.suppress(CheckpointError):
            act()
    shutil.rmtree("exported", ignore_errors=True)


@contextlib.contextmanager
def rolled_back(place: Place) -> Iterator[None]:
    """Let the store be again what it is now."""
    copy = place.fresh()
    shutil.copytree(place.runs, copy, symlinks=True)
    try:
        yield
    finally:
        for found in place.runs.iterdir():
            shutil.rmtree(found) if found.is_dir() else found.unlink()
        shutil.copytree(copy, place.runs, symlinks=True, dirs_exist_ok=True)


def record_of_the_trash(place: Place, name: str) -> None:
    with rolled_back(place):
        directory = place.runs / ".trash" / "0123"
        times = {"trashed_at": "2020-01-01T00:00:00.000000Z", "expires_at": "2020-01-02T00:00:00.000000Z"}
        for path in (name, f"exp/{name}", f"{name}/step-00000000-01234567"):
            for identity in ("0" * 32, name):
                (directory / "step-00000000-01234567").mkdir(parents=True, exist_ok=True)  # it has expired: it goes
                record = {"id": identity, "path": path, **times, "reasons": [name]}
                (directory / "trash.json").write_text(json.dumps(record))
                everything(place)


def manifest(place: Place, name: str) -> None:
    directory = place.fresh()
    for change in (
        {"files": [{"name": name, "bytes": 6, "digest": "a" * 64, "kind": kind}]} for kind in ("blob", "tensors")
    ):
        forge(directory, **change)
    for member in ("id", "experiment", "parent", "backend", "created_at", "content"):
        forge(directory, **{member: name})
    forge(directory, requires=[name])
    forge(directory, state={"$tensor": [name, name]})
    forge(directory, metrics={name: 1.0}, metadata={name: name}, environment={name: name})


def forge(directory: Path, **changes: Any) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    try:
        (directory / "manifest.json").write_bytes(forged(**changes))
    except UnicodeEncodeError:
        return
    for act in (mc.verify, mc.load, mc.inspect):
        with contextlib.suppress(CheckpointError):
            act(directory)


def annotation(place: Place, name: str) -> None:
    with rolled_back(place):
        info = place.ckpts.info(0)
        path = place.runs / "exp" / ".annotations" / f"{info.id}.json"
        path.parent.mkdir(exist_ok=True)
        members = {"aliases": {name: "2020-01-01T00:00:00.000000Z"}, "tags": {name: name}, "metrics": {name: 1.0}}
        path.write_text(json.dumps({"id": info.id, **members}))
        reindex(place.runs)
        everything(place)


def settings_of_an_experiment(place: Place, name: str) -> None:
    with rolled_back(place):
        path = place.runs / "exp" / "experiment.json"
        members = json.loads(path.read_text())
        for member in ("name", "monitor", "mode", "keep", "created_at"):
            path.write_text(json.dumps(members | {member: name}))
            everything(place)


def row_of_the_catalog(column: str) -> Callable[[Place, str], None]:
    def forge_row(place: Place, name: str) -> None:
        with rolled_back(place):
            table, _, field = column.partition(".")
            with contextlib.closing(sqlite3.connect(place.runs / "catalog.db")) as database, database:
                try:
                    database.execute(f"UPDATE {table} SET {field} = ?", (name,))
                except UnicodeEncodeError:
                    return
                except sqlite3.IntegrityError:
                    return
            everything(place)
            with contextlib.suppress(CheckpointError), MetricsReader.open(place.runs) as reader:
                reader.metrics("exp").to_arrow()
            with contextlib.suppress(CheckpointError), Workspace.open(place.runs) as workspace:
                Compactor(str(place.runs), MetricTable(workspace.catalog)).compact("exp")

    forge_row.__name__ = column
    return forge_row


FOUND: tuple[Callable[[Place, str], None], ...] = (
    record_of_the_trash,
    manifest,
    annotation,
    settings_of_an_experiment,
    *map(
        row_of_the_catalog,
        ("checkpoints.path", "checkpoints.parent", "checkpoints.backend", "checkpoints.experiment", "checkpoints.id",
         "experiments.monitor", "experiments.keep", "metric_segments.path", "series.name", "series.tags"),
    ),
)  # fmt: skip


# --- names on the command line ----------------------------------------------------------------------------------------

N = "\N{FULL BLOCK}"
COMMANDS = [
    ["ls", N], ["show", N], ["show", f"exp:{N}"], ["best", N], ["best", "exp", "-m", N], ["metrics", N],
    ["metrics", "exp", "-m", N], ["compare", N], ["compare", "exp", "-m", N], ["compare", "exp", "--split", N],
    ["query", N], ["verify", f"exp:{N}"], ["scrub", N], ["scrub", "--rate", N], ["scrub", "--for", N],
    ["diff", f"exp:{N}", "exp:0"], ["inspect", f"{N}:0"], ["inspect", "exp:0", "-t", N], ["prune", N],
    ["prune", "exp", "--keep", N], ["restore", N], ["restore", f"exp:{N}"], ["pin", N], ["unpin", f"exp:{N}"],
    ["alias", "exp:0", N], ["alias", f"exp:{N}", "x"], ["export", f"exp:{N}", "out"],
    ["export", "exp:0", "out", "-c", N], [N], ["doctor", N], ["reindex", N], ["report", N], ["perf", N],
    ["perf", "--kind", N], ["replay", N], ["replay", "exp", "-p", N], ["best", "exp", "--where", N],
]  # fmt: skip


def command(words: list[str], place: Place) -> int:
    """Run a command; what it prints can be printed, and it never ends in an error that is none of ours."""
    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()) as out:
        code = main(["-C", str(place.runs), *words])
    said = out.getvalue() + err.getvalue()
    assert code in range(6), f"{words}: exit code {code}"
    assert "Traceback" not in said, f"{words}: {said}"
    assert "mckpt: unexpected " not in said, f"{words}: {said}"
    raw = {c for c in said if c != "\n" and (unicodedata.category(c)[0] == "C" or c in "\u2028\u2029")}
    assert not raw, f"{words}: {raw} reach the terminal"
    return code


# --- the tests --------------------------------------------------------------------------------------------------------


def chosen(what: str, stride: int, names: tuple[str, ...] = NAMES) -> tuple[str, ...]:
    """Every so many names, others for each thing that is tried."""
    return names[zlib.crc32(what.encode()) % stride :: stride]


def outcome(act: Callable[[], object], what: str, name: str, problems: list[str]) -> str:
    try:
        act()
    except CheckpointError:
        return "refused"
    except BaseException as error:  # noqa: BLE001 - none of ours
        problems.append(f"{what} {ascii(name)[:60]}: {type(error).__name__}: {str(error)[:200]}")
    return "kept"


def test_names_are_refused_or_kept_exactly(place, trials, evidence):
    """Whatever a name is made of, it is refused by an error of ours or comes back as it was, and leads nowhere."""
    stride = trials(ci=60, proof=6, full=1)
    outcomes, problems = Counter[str](), []
    for entry in GIVEN:
        for name in chosen(entry.__name__, stride):
            outcomes[outcome(lambda e=entry, n=name: e(place, n), entry.__name__, name, problems)] += 1
    evidence(
        threat="Hostile names, given to everything that takes one",
        promise="A name is refused by a specific error or comes back exactly; nothing outside of the store is touched.",
        trials=outcomes.total(),
        unit="names given",
        violations=len(problems),
        detail=f"{len(NAMES)} names, {len(GIVEN)} ways; {outcomes['refused']} refused, {outcomes['kept']} kept",
    )
    assert not problems, "\n".join(problems[:30])


def test_names_that_are_found_in_a_store_lead_nowhere(place, trials, evidence):
    """A store whose records and catalog hold hostile names is used as far as it can be, and nothing outside of it."""
    stride = trials(ci=350, proof=50, full=8)
    done, problems = 0, list[str]()
    for entry in FOUND:
        for name in chosen(entry.__name__, stride):
            outcome(lambda e=entry, n=name: e(place, n), entry.__name__, name, problems)
            done += 1
    evidence(
        threat="Hostile names in manifests, annotations, records of the trash, settings and catalogs",
        promise="Whatever reads them refuses them or takes them for mere text; nothing outside is touched.",
        trials=done,
        unit="forged records",
        violations=len(problems),
        detail=f"{len(NAMES)} names, {len(FOUND)} kinds of records; everything that reads a store reads each",
    )
    assert not problems, "\n".join(problems[:30])


@pytest.mark.parametrize("name", ["\ud800", "a\udc80", "\ud83d\ude00", "a\0b"])
def test_a_text_without_utf8_or_with_a_nul_spoils_nothing_that_comes_later(place, name):
    """A lone surrogate is refused where it is given: not when a queue of metrics or a file of settings is written."""
    for entry in GIVEN:
        with contextlib.suppress(CheckpointError):
            entry(place, name)
    place.ckpts.log(5, later=1.0)
    assert place.ckpts.metrics("later").to_numpy()["value"].tolist() == [1.0]


@pytest.mark.parametrize("is_absolute", [True, False])
def test_no_segment_is_read_where_an_edited_catalog_says_it_is(place, memory_path, is_absolute):
    """A file outside is no segment, although the catalog has its size and digest."""
    segment = next((place.runs / "exp" / ".metrics").iterdir())
    twin = memory_path / "twin" / segment.name
    twin.parent.mkdir()
    shutil.copy(segment, twin)
    path = str(twin) if is_absolute else f"../../twin/{segment.name}"
    with contextlib.closing(sqlite3.connect(place.runs / "catalog.db")) as database, database:
        database.execute("UPDATE metric_segments SET path = ?", (path,))
    with Guard(str(twin.parent)) as guard:
        with Workspace.open(place.runs) as workspace, contextlib.suppress(CheckpointError):
            Compactor(workspace.store.root, MetricTable(workspace.catalog)).compact("exp", least=1)
        with pytest.raises(CorruptionError, match="no segment's path"):
            place.ckpts.metrics("loss")
        assert not guard.problems()
    shutil.rmtree(twin.parent)


def test_names_on_the_command_line_end_in_an_exit_code(place, trials, evidence):
    """Every command ends in one of its exit codes, without a traceback, and prints nothing that moves the cursor."""
    stride = trials(ci=100, proof=10, full=1)
    names = tuple(name for name in NAMES if fits_a_command_line(name))
    done, problems = 0, list[str]()
    for words in COMMANDS:
        for name in chosen(str(words), stride, names):
            spelled = [word.replace(N, name) for word in words]
            outcome(lambda s=spelled: command(s, place), " ".join(words), name, problems)
            remove_tree("out")  # a file, if the name is that of a component
            done += 1
    evidence(
        threat="Hostile names as arguments of every command",
        promise="The command ends in its exit code, prints no control character, and touches nothing outside.",
        trials=done,
        unit="command lines",
        violations=len(problems),
        detail=f"{len(names)} names, {len(COMMANDS)} places for them",
    )
    assert not problems, "\n".join(problems[:30])
