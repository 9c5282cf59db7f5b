"""What all tests share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
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
    path = request.config.getoption("--evidence")

    def write(*, threat: str, promise: str, trials: int, unit: str, violations: int, detail: str = "") -> None:
        line = Evidence(threat, promise, trials, unit, violations, request.node.nodeid, scale, Evidence.today(), detail)
        if path:
            evidences.append(path, line)

    return write
