"""What cleanups take over long pasts: of values, as fast as they can be thought up, and of real stores."""

from __future__ import annotations

import random
import shutil

import pytest

from tests.harness.retention_past import Past
from tests.harness.retention_store import StoredPast

pytestmark = pytest.mark.concurrency


def test_no_past_costs_what_is_protected(trials, evidence):
    """Whatever happened in whatever order, no cleanup removes what is protected or what its policy keeps."""
    histories = trials(ci=300, proof=3000, full=100_000)
    problems, removals, refusals = [], 0, 0
    for seed in range(histories):
        past = Past(seed)
        for event in range(random.Random(seed).randint(5, 40)):
            past.live()
            if event % 5 == 4:
                problems += [f"seed {seed}: {wrong}" for wrong in past.prune()]
        removals, refusals = removals + past.removals, refusals + past.refusals
    evidence(
        threat="any past of a training: runs restarted in the same directory, equal steps, NaN and infinite metrics, "
        "clocks set back, pins, names, readers, checkpoints that are damaged, not verified, quarantined or lost",
        promise="No cleanup removes the newest committed, the newest verified, one of the best or the newest that its "
        "policy keeps, a pinned or named one, one in use, or the one that the run resumed from; NaN is never the best.",
        trials=histories,
        unit="histories",
        violations=len(problems),
        detail=f"{removals} removals, {refusals} cleanups refused by a circuit breaker",
    )
    assert problems == []
    assert removals > histories
    assert refusals > 0


def test_no_past_of_a_store_costs_what_is_protected(tmp_path, trials, evidence):
    """The same holds for files; and where a save could not be made durable, nothing is removed."""
    histories = trials(ci=8, proof=50, full=500)
    problems, removals, failures = [], 0, 0
    for seed in range(histories):
        past = StoredPast(str(tmp_path / str(seed)), seed)
        try:
            for _ in range(18):
                past.live()
        finally:
            past.close()
        problems += [f"seed {seed}: {problem}" for problem in past.problems]
        removals, failures = removals + past.removals, failures + past.failures
        shutil.rmtree(tmp_path / str(seed))
    evidence(
        threat="any past of a real store: saves that fail on the device, restarts, damaged files, pins, names, "
        "readers, values that come later, cleanups after each save and by hand",
        promise="No cleanup removes what is protected or kept by the policy, judged by the files; nothing is removed "
        "when a save could not be made durable, and such a save is never called a success.",
        trials=histories,
        unit="histories",
        violations=len(problems),
        detail=f"{removals} removals, {failures} saves that failed",
    )
    assert problems == []
    assert removals > histories
    assert failures > 0
