"""Every benchmark of the asv suite runs: asv itself would only note a failure."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from model_checkpoint import _native

ROOT = Path(__file__).parents[3]
MODULES = [
    importlib.import_module(f"benchmarks.asv.{path.stem}")
    for path in sorted((ROOT / "benchmarks" / "asv").glob("*.py"))
    if path.stem != "__init__"
]


def suites(module: ModuleType) -> list[type]:
    """The benchmark classes that a module defines."""
    classes = [value for value in vars(module).values() if inspect.isclass(value)]
    return [each for each in classes if each.__module__ == module.__name__ and methods(each)]


def methods(suite: type) -> list[str]:
    return [name for name in vars(suite) if name.startswith(("time_", "timeraw_"))]


SUITES = [suite for module in MODULES for suite in suites(module)]


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As asv runs them; what they set is set back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MCKPT_SHA256", "")
    monkeypatch.setenv("MCKPT_CRC32C", "")
    monkeypatch.setattr("benchmarks.asv.load.SIZES", (1,))
    monkeypatch.setattr("benchmarks.asv.header.COUNTS", (1_000,))
    threads = _native.get_threads()
    yield
    _native.set_threads(threads)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.__name__)
def test_a_benchmark_runs_with_its_first_parameters(suite: type) -> None:
    """Each method twice, with a setup before each call as asv has it; code for another process is run in this one."""
    parameters = [values[0] for values in getattr(suite, "params", ())]
    if "kernel" in getattr(suite, "param_names", ()):
        parameters[0] = "portable"
    benchmark = suite()
    getattr(benchmark, "setup_cache", lambda: None)()
    for name in 2 * methods(suite):
        benchmark.setup(*parameters)
        done = getattr(benchmark, name)(*parameters)
        if name.startswith("timeraw_"):
            statement, setup = done
            exec(f"{setup}\n{statement}", {})
        getattr(benchmark, "teardown", lambda *_: None)(*parameters)


def test_there_is_a_benchmark_for_everything_that_the_suite_promises() -> None:
    """Saves, loads, reads, verification, snapshots, kernels, headers and the catalog are covered."""
    assert {suite.__module__.rpartition(".")[2] for suite in SUITES} == {
        "catalog", "digest", "header", "load", "read", "save", "snapshot", "verify",
    }  # fmt: skip


def test_a_kernel_that_the_cpu_lacks_is_skipped() -> None:
    """asv leaves a gap where setting up says that there is nothing to run."""
    suite = next(suite for suite in SUITES if suite.__name__ == "Sha256Kernel")
    with pytest.raises(NotImplementedError):
        suite().setup("none such", 64)


def test_settings_name_what_exists() -> None:
    """The paths of asv.conf.json lead to the suite and the repository; results lie where git ignores them."""
    text = (ROOT / "benchmarks" / "asv.conf.json").read_text(encoding="utf-8")
    settings = json.loads(re.sub(r"(^|\s)//.*$", "", text, flags=re.MULTILINE))
    assert (ROOT / "benchmarks" / settings["benchmark_dir"] / "__init__.py").is_file()
    assert (ROOT / "benchmarks" / settings["repo"]).resolve() == ROOT
    assert {settings[key].split("/")[1] for key in ("env_dir", "results_dir", "html_dir")} == {".asv"}
    assert "/.asv/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
