"""Links, pipes, sockets, devices, and what else may stand where a store has a file or a directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.harness import canary
from tests.harness.nursery import Nursery

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.skipif(canary.unavailable() is not None, reason=str(canary.unavailable())),
]


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


def test_nothing_that_is_planted_in_a_store_leads_out_of_it_or_keeps_us_waiting(nursery, memory_path, trials, evidence):
    """Whatever stands in the place of a file or a directory, it is refused by name or ignored."""
    base = str(memory_path)
    places = nursery.ask("tests.harness.planted", "build", base=base)
    cases = [tuple(case) for case in nursery.ask("tests.harness.planted", "all_cases", base=base, places=places)]
    stride = trials(ci=len(cases) // 50, proof=len(cases) // 600, full=1)
    outcomes, problems = Counter[str](), []
    for place, kind, operation in cases[::stride]:
        found = nursery.ask(
            "tests.harness.planted", "trial", base=base, place=places[place], kind=kind, operation=operation
        )
        outcomes[found["outcome"]] += 1
        wrong = [*found["problems"], *([found["said"]] if found["outcome"] == "wrong" else [])]
        problems += [f"{operation} with {kind} in the place of {place}: {problem}" for problem in wrong]
    evidence(
        threat="A link, pipe, socket, device, file or directory in the place of each part of a store",
        promise="It is refused by a specific error or ignored: nothing waits for it, and nothing outside is touched.",
        trials=outcomes.total(),
        unit="operations on such a store",
        violations=len(problems),
        detail=f"{outcomes['done']} went well, {outcomes['refused']} were refused",
        exhaustive=stride == 1,
    )
    assert not problems, "\n".join(problems[:20])
