"""A short run of the fuzz targets, on what every change must pass; `make fuzz` runs ten million inputs."""

from __future__ import annotations

import pytest

from tests.fuzz import campaign
from tests.fuzz.targets.all import TARGETS

pytestmark = pytest.mark.hostile


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_made_to_deceive_are_read_or_refused(name):
    """A value that obeys the format, or an exception of ours, in bounded time and memory."""
    tasks = campaign.tasks([TARGETS[name]], executions=1_000, seed=7)
    found = campaign.run(tasks, jobs=1, seconds=60.0, report=lambda _done, _findings: None)
    assert found[name].executions >= 1_000
    assert found[name].findings == {}
