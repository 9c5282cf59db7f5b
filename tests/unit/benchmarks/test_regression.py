"""The regression check: its verdicts on scripted times, its processes on real builds."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from benchmarks.regression.against_base import WORKLOADS
from benchmarks.regression.base import choose_base
from benchmarks.regression.build import digest
from benchmarks.regression.comparison import GENERATIONS, TURNS, Comparison, judge, measure
from benchmarks.regression.side import Side, SideError
from benchmarks.regression.workload import Workload

ROOT = Path(__file__).parents[3]
HASH = Workload("digest.DigestChunks.time_digest_chunks", (1,))


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """This tree's package with the core that is installed, as a build beside which runs may lie."""
    packages = tmp_path / "candidate"
    shutil.copytree(ROOT / "python" / "model_checkpoint", packages / "model_checkpoint")
    core = importlib.util.find_spec("model_checkpoint._native._core")
    assert core is not None
    shutil.copy(str(core.origin), packages / "model_checkpoint" / "_native")
    return packages


class Scripted:
    """Stands for both a side and what runs of it: each call takes as long as the script says."""

    def __init__(self, *script: float) -> None:
        self._seconds = itertools.cycle(script)
        self.started = 0

    @contextmanager
    def running(self) -> Iterator[Scripted]:
        self.started += 1
        yield self

    def seconds(self, _number: int) -> float:
        return next(self._seconds)


def compare(numerator: Scripted, denominator: Scripted) -> Comparison:
    return Comparison("scripted", cast("Side", numerator), cast("Side", denominator), at_most=1.25)


def test_a_side_that_takes_half_as_long_again_fails_and_is_measured_twice() -> None:
    """The ratio is above the bound with confidence; processes of their own have to say so again."""
    slow, fast = Scripted(0.15), Scripted(0.10)
    verdict = judge(compare(slow, fast))
    assert verdict.failed
    assert verdict.ratio.median == pytest.approx(1.5)
    assert slow.started == fast.started == 2 * GENERATIONS
    assert not judge(compare(fast, slow)).failed


def test_a_slowdown_that_is_gone_when_measured_again_passes() -> None:
    """What one pair of processes had by bad luck is no verdict."""

    class Unlucky(Scripted):
        def seconds(self, _number: int) -> float:
            return 0.3 if self.started <= GENERATIONS else 0.1

    assert not judge(compare(Unlucky(), Scripted(0.1))).failed


def test_outliers_do_not_make_a_slowdown() -> None:
    """A side that every third time takes ten times as long is as fast as the other in the median."""
    assert not judge(compare(Scripted(0.1, 0.1, 1.0), Scripted(0.1))).failed


def test_every_generation_gives_its_turns(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real processes give as many ratios as an interval needs, though the time for them is over at once."""
    monkeypatch.setattr("benchmarks.regression.comparison.SECONDS", 0.0)
    ratios = measure(Comparison("itself", Side(build, HASH), Side(build, HASH), 1.25))
    assert len(ratios) == GENERATIONS * TURNS.start
    assert min(ratios) > 0


def test_a_side_runs_the_build_that_it_names(tmp_path: Path) -> None:
    """An installed package does not stand in for a build that has none."""
    packages = tmp_path / "empty"
    packages.mkdir()
    with (
        pytest.raises(SideError, match=r"model_checkpoint comes from .*, not from .*/empty"),
        Side(packages, HASH).running(),
    ):
        pass


def test_a_workload_that_fails_says_why(build: Path) -> None:
    """The error carries the side and the last line of its traceback."""
    side = Side(build, Workload("digest.DigestChunks.time_nothing", (1,)))
    with pytest.raises(SideError, match="has no attribute 'time_nothing'") as caught, side.running():
        pass
    assert caught.value.side == side


def test_the_environment_of_a_side_chooses_its_kernel(build: Path) -> None:
    """A kernel that there is not makes the core warn, where the side's variables turn into an error."""
    side = Side(build, HASH, {"MCKPT_SHA256": "none such", "PYTHONWARNINGS": "error"})
    with pytest.raises(SideError, match="initialization failed"), side.running():
        pass


def test_a_digest_of_sources_sees_names_and_contents(tmp_path: Path) -> None:
    """A renamed, a changed and a moved byte each make another core; compiled files make none."""
    seen = set()
    for name, content in [("a.cpp", "12"), ("b.cpp", "12"), ("a.cpp", "21")]:
        shutil.rmtree(tmp_path / "cpp", ignore_errors=True)
        (tmp_path / "cpp").mkdir()
        (tmp_path / "cpp" / name).write_text(content)
        seen.add(digest(tmp_path, ("cpp",)))
    assert len(seen) == 3
    (tmp_path / "cpp" / "c.so").write_text("built")
    assert digest(tmp_path, ("cpp",)) in seen


def test_a_base_that_does_not_exist_is_refused() -> None:
    """A mistyped commit does not turn the check into one that compares nothing."""
    with pytest.raises(ValueError, match="there is no commit nowhere"):
        choose_base("nowhere")


def test_workloads_are_benchmarks_of_the_suite() -> None:
    """Each names a class and a method, and has a value for each of its parameters."""
    for workload in WORKLOADS.values():
        module, suite, method = workload.benchmark.split(".")
        namespace: dict[str, object] = {}
        exec(f"from benchmarks.asv.{module} import {suite} as suite", namespace)
        found = namespace["suite"]
        assert callable(getattr(found, method))
        assert len(workload.parameters) == len(getattr(found, "param_names", ())), workload
