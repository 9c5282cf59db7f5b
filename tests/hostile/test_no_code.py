"""No code runs on load: not that of pickles, not that of a catalog's schema, not that which a file names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import model_checkpoint
from tests.harness.no_code import KINDS
from tests.harness.nursery import Nursery

pytest.importorskip("torch")
pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")

pytestmark = pytest.mark.hostile

PACKAGE = Path(model_checkpoint.__file__).parent

WHAT = {
    "inputs": ("files and manifests made to deceive", "loaded, opened, verified and inspected", (220, 1_100, 5_500)),
    "pickles": ("`.pt` files with pickles that run code", "given to the backend `pytorch`", (280, 900, 3_000)),
    "catalogs": ("catalogs with programs in their schema, or damaged", "opened and listed", (50, 200, 800)),
    "segments": ("segments of metrics with pickles in their schema, or damaged", "read and asked", (40, 100, 400)),
    "stores": ("stores with a file damaged, or made a pickle", "scrubbed, listed and opened", (30, 100, 400)),
}
"""Of each kind: what it is, what is done with it, and how many at each scale: more than 10,000 at the last."""


@pytest.mark.parametrize("kind", KINDS)
def test_no_code_runs_whatever_is_read(kind, trials, evidence):
    """Python's audit hooks hear of no exec, compile, import, program, socket or foreign call; a canary is silent."""
    what, use, counts = WHAT[kind]
    count = trials(**dict(zip(("ci", "proof", "full"), counts, strict=True)))
    with Nursery() as nursery:
        tally = nursery.ask("tests.harness.no_code", "try_kind", kind=kind, count=count, seed=1, timeout_s=3600)
    evidence(
        threat=f"code in data: {what}",
        promise=f"Nothing of it runs when they are {use}: Python's audit hooks tell of no exec, compile, import, "
        "started program, socket or foreign function.",
        trials=tally["tried"],
        unit="files",
        violations=sum(tally["events"].values()) + sum(tally["errors"].values()),
        detail=f"{tally['refused']:,} of them are refused.",
    )
    assert tally["tried"] >= count
    assert tally["events"] == {}
    assert tally["errors"] == {}


@pytest.mark.parametrize(
    ("form", "events"),
    [
        ("pickle", ["pickle.find_class", "os.system", "mark"]),
        ("eval", ["compile", "exec"]),
        ("import", ["import of mckpt_canary", "compile", "exec", "mark"]),
    ],
)
def test_the_hooks_hear_of_code_that_runs(form, events):
    """So that their silence means something: each way of running code is reported, and the canary sings."""
    with Nursery() as nursery:
        heard = nursery.ask("tests.harness.no_code", "control", form=form)
    for event in events:
        assert any(name.startswith(event) and count for name, count in heard.items()), (event, heard)


def test_a_catalog_with_a_program_in_it_is_refused_and_made_anew(tmp_path):
    """A view that never ends would keep every reader; it is set aside like any damaged catalog."""
    with Nursery() as nursery:
        rows = nursery.ask("tests.harness.no_code", "rebuilt_after_a_program", root=str(tmp_path / "store"))
    assert rows == {"listing": "CatalogDamagedError", "checkpoints": 3, "programs": 0}


@pytest.mark.parametrize("schema", ["a schema that is no SQL", "a schema that is no text", "two tables on one page"])
def test_a_catalog_whose_schema_is_damaged_is_an_error_of_ours(tmp_path, schema):
    """SQLite quotes the schema in what it says; where that is no text, the driver fails in a way of its own."""
    with Nursery() as nursery:
        said = nursery.ask("tests.harness.no_code", "listed_with", root=str(tmp_path / "store"), schema=schema)
    assert said == "CatalogDamagedError"


# --- the package's source ---------------------------------------------------------------------------------------------

MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "joblib",
    "runpy",
    "code",
    "codeop",
}
CALLS = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
ATTRIBUTES = {
    *("import_module", "load_module", "exec_module", "spec_from_file_location", "enable_load_extension"),
    *("load_extension", "find_class", "unsafe_load", "full_load", "set_audit_hook", "popen", "posix_spawn", "execv"),
}
ALLOWED = {
    "__init__.py: import_module": "the public names, which are constants there",
    "database/__init__.py: import_module": "the same",
    "monitoring/__init__.py: import_module": "the same",
    "cli/app.py: import_module": "commands, from a constant table",
    "utils/optional_import.py: import_module": "extras, which callers name by constants",
    "utils/sqlite_version.py: import_module": "one of two drivers, which are constants there",
    "storage/safetensors/numpy_adapter.py: import_module": "ml_dtypes, by a constant",
}
"""What of it there is, and why no file can choose what it does."""


def _suspects() -> Iterator[str]:
    for path in sorted(PACKAGE.rglob("*.py")):
        where = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            yield from (f"{where}: {name}" for name in _suspect_names(node))


def _suspect_names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES)
    elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").partition(".")[0] in MODULES:
        yield node.module or ""
    elif isinstance(node, ast.Name) and node.id in CALLS:
        yield node.id
    elif isinstance(node, ast.Attribute) and (node.attr in ATTRIBUTES or _is_load(node)):
        yield node.attr


def _is_load(node: ast.Attribute) -> bool:
    """numpy's and yaml's, which may run code; torch's has its own test."""
    return node.attr in {"load", "load_all"} and isinstance(node.value, ast.Name) and node.value.id in {"np", "yaml"}


def test_the_package_has_nothing_that_runs_data():
    """No pickle, marshal or shelve, no eval, exec or compile; imports by name only where names are constants."""
    assert set(_suspects()) == ALLOWED.keys()


def test_torch_loads_weights_only():
    """Every `torch.load` of the package says so."""
    calls = [
        node
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    ]
    assert calls
    for call in calls:
        assert "weights_only=True" in {f"{word.arg}={ast.unparse(word.value)}" for word in call.keywords}
