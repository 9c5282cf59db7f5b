"""What all tests share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.harness import evidence as evidences
from tests.harness.evidence import SCALES, Evidence, Scale

# No deadline: machines are noisy, and speed is the business of benchmarks/. CI tries the same examples every time.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A directory in memory where there is one: kills and races need no disk, and its syncs would take the time."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place, prefix="mckpt-test-") as directory:
        yield Path(directory)


# --- proof: how often to try, and what came of it ---------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("proof")
    group.addoption("--scale", choices=SCALES, default="ci", help="how thorough the tests that give evidence are")
    group.addoption("--evidence", metavar="FILE", help="write down there what was tried and what came of it")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "evidence" in getattr(item, "fixturenames", ()):
            item.add_marker("proof")


@pytest.fixture
def scale(request: pytest.FixtureRequest) -> Scale:
    """How thorough this run is."""
    chosen: Scale = request.config.getoption("--scale")
    return chosen


@pytest.fixture
def trials(scale: Scale) -> Callable[..., int]:
    """How often to try: ``trials(ci=20, proof=300, full=1000)``."""

    def choose(*, ci: int, proof: int, full: int) -> int:
        return {"ci": ci, "proof": proof, "full": full}[scale]

    return choose


@pytest.fixture
def evidence(request: pytest.FixtureRequest, scale: Scale) -> Callable[..., None]:
    """Write down what the test has shown; `Evidence` says what the words mean."""

    def write(
        *,
        threat: str,
        promise: str,
        trials: int,
        unit: str,
        violations: int,
        detail: str = "",
        exhaustive: bool = False,
    ) -> None:
        test, today = request.node.nodeid, Evidence.today()
        line = Evidence(threat, promise, trials, unit, violations, test, scale, today, detail, exhaustive)
        request.node.stash[_VIOLATED] = violations > 0
        if path := request.config.getoption("--evidence"):
            evidences.append(path, line)

    return write


_VIOLATED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails without saying how often a promise was broken must not keep the figure of its last success."""
    report = yield
    path = item.config.getoption("--evidence")
    if (
        path
        and report.failed
        and "evidence" in getattr(item, "fixturenames", ())
        and not item.stash.get(_VIOLATED, False)
    ):
        evidences.append(path, _unfinished(item, report))
    return report


def _unfinished(item: pytest.Item, report: pytest.TestReport) -> Evidence:
    said = (getattr(getattr(item, "obj", None), "__doc__", None) or item.name).strip().splitlines()[0]
    reason = report.longreprtext.strip().splitlines()[-1][:200]
    scale: Scale = item.config.getoption("--scale")
    return Evidence("", said, 1, evidences.UNFINISHED, 1, item.nodeid, scale, Evidence.today(), reason)
