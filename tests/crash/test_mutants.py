"""Faults put into a copy of the package, one at a time: the suite has to notice each of them."""

from __future__ import annotations

import numpy as np
import pytest

from model_checkpoint.errors import CheckpointExistsError
from model_checkpoint.storage import commit as commits
from model_checkpoint.storage.checkpoint_dir import save
from tests.harness.mutants.catalog import MUTANTS
from tests.harness.mutants.package_copy import PackageCopy
from tests.harness.mutants.runner import kill
from tests.harness.mutants.table import aligned, table
from tests.harness.simulator.recording import unavailable

pytestmark = pytest.mark.crash

SAMPLE = (
    "the directory out of which a checkpoint is renamed is not synced",
    "a checkpoint appears before its manifest",
    "a failed sync of a directory is ignored",
    "the manifest is not checked by its digest",
    "a cleanup may remove what is pinned",
    "recovery removes the staging directories of live writers",
)
"""Those that are tried all the time: of each kind at least one, and none that takes long."""


def test_the_suite_notices_every_mutant(scale, memory_path, evidence):
    """Each fault is noticed by a test or by the simulator that names it."""
    if reason := unavailable():
        pytest.skip(reason)
    chosen = [mutant for mutant in MUTANTS if scale != "ci" or mutant.name in SAMPLE]
    package = PackageCopy(memory_path / "package")
    verdicts = [kill(package, mutant) for mutant in chosen]
    survivors = [verdict for verdict in verdicts if verdict.killer is None]
    evidence(
        threat="a fault in our own protocol: a sync left out, a step in the wrong order, a check that is missing",
        promise="The tests notice it.",
        trials=len(verdicts),
        unit="mutants",
        violations=len(survivors),
        detail=f"{len(verdicts) - len(survivors)} of {len(verdicts)} noticed; there are {len(MUTANTS)}",
    )
    assert not survivors, aligned(survivors)
    assert len(verdicts) == (len(SAMPLE) if scale == "ci" else len(MUTANTS))


def test_every_mutant_fits_the_package():
    """Each changes a text that occurs exactly once, and all have names of their own."""
    assert all(mutant.applied() for mutant in MUTANTS)
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert {mutant.name for mutant in MUTANTS}.issuperset(SAMPLE)


def test_the_table_lists_all_mutants():
    """What is published says for each mutant what it breaks and who notices it."""
    rows = table().splitlines()[2:]
    assert len(rows) == len(MUTANTS)
    assert all(row.count("|") == 4 for row in rows)


def test_a_commit_does_not_replace_what_has_just_appeared(tmp_path, monkeypatch):
    """A directory that another writer creates just before the rename stays, and the commit says so."""
    target = tmp_path / "checkpoint"
    monkeypatch.setattr(commits, "_open_up", lambda *_: target.mkdir())
    with pytest.raises(CheckpointExistsError):
        save({"a": np.ones(3)}, target)
    assert list(target.iterdir()) == []
