"""Rules that hold for the whole repository and that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCES = sorted((ROOT / "python").rglob("*.py"))

TOP_LEVEL = {
    ".ci", ".clang-format", ".clang-tidy", ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "CMakeLists.txt",
    "CMakePresets.json", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "benchmarks", "constraints.txt", "cpp",
    "docs", "pyproject.toml", "python", "tests",
}  # fmt: skip
RUNS_CODE = {"cloudpickle", "code", "dill", "joblib", "marshal", "pickle", "runpy", "shelve"}
IMPORT_NAMES = {
    "hdrhistogram": "hdrh",
    "ml-dtypes": "ml_dtypes",
    "opentelemetry-api": "opentelemetry",
    "prometheus-client": "prometheus_client",
    "pysqlite3-binary": "pysqlite3",
    "typing-extensions": "typing_extensions",
}


def syntax_tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_packages(tree: ast.Module) -> Iterator[str]:
    """Top-level names of absolute imports, and of `import_module("...")` and `require("...")`."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="require"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield module.partition(".")[0]


def requirement_names(requirements: list[str]) -> set[str]:
    """Import names of the packages that requirements name."""
    names = {re.split(r"[^\w-]", requirement, maxsplit=1)[0].lower() for requirement in requirements}
    return {IMPORT_NAMES.get(name, name) for name in names}


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Every call whose target is a plain or dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "python")))
def test_no_module_can_run_code_from_a_file(path: Path) -> None:
    """No pickle or its kin, no eval or exec, and torch.load only with weights_only=True: noqa does not help."""
    tree = syntax_tree(path)
    assert RUNS_CODE & set(imported_packages(tree)) == set()
    for name, call in calls(tree):
        assert name not in {"eval", "exec", "compile", "__import__"}, f"line {call.lineno}"
        if name == "torch.load":
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            assert keywords.get("weights_only") == "True", f"line {call.lineno}"


def test_every_third_party_import_is_declared() -> None:
    """What the package imports comes with the base installation or with an extra."""
    extras = PROJECT["optional-dependencies"].values()
    declared = requirement_names(PROJECT["dependencies"]).union(*map(requirement_names, extras))
    imported = {name for path in SOURCES for name in imported_packages(syntax_tree(path))}
    assert imported - declared - set(sys.stdlib_module_names) == {"model_checkpoint"}


def test_every_extra_that_an_error_recommends_exists() -> None:
    """`require(..., extra=...)` and `MissingDependencyError(..., extra=...)` name extras of pyproject.toml."""
    named = {
        ast.literal_eval(keyword.value)
        for path in SOURCES
        for _, call in calls(syntax_tree(path))
        for keyword in call.keywords
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Constant)
    }
    assert named <= set(PROJECT["optional-dependencies"])


def test_the_extra_all_has_every_other_extra() -> None:
    """`pip install model-checkpoint-engine[all]` leaves nothing out."""
    (everything,) = PROJECT["optional-dependencies"]["all"]
    extras = set(everything.partition("[")[2].rstrip("]").split(","))
    assert extras == set(PROJECT["optional-dependencies"]) - {"all"}


def test_the_version_is_stated_once() -> None:
    """The installed metadata carries pyproject's version, and no source repeats it."""
    assert version(PROJECT["name"]) == PROJECT["version"]
    repeats = [
        path.name
        for path in [*SOURCES, *ROOT.glob("cpp/**/*.?pp"), *ROOT.glob("**/CMakeLists.txt")]
        if "build" not in path.parts and f'"{PROJECT["version"]}"' in path.read_text(encoding="utf-8")
    ]
    assert repeats == []


def test_the_root_stays_small() -> None:
    """Nothing is committed at the top level but what is listed here."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {name.partition("/")[0] for name in done.stdout.splitlines()} - TOP_LEVEL == set()
