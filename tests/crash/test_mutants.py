"""Faults put into a copy of the package, one at a time: the suite has to notice each of them."""

from __future__ import annotations

import numpy as np
import pytest

from model_checkpoint.checkpoint.retention import RetentionDecision, RetentionPlan, check_plan
from model_checkpoint.errors import CheckpointExistsError, DiskFullError, FormatError, RetentionError
from model_checkpoint.storage import commit as commits
from model_checkpoint.storage.checkpoint_dir import save
from model_checkpoint.storage.contents import check_shards
from tests.harness.mutants.catalog import MUTANTS
from tests.harness.mutants.package_copy import PackageCopy
from tests.harness.mutants.runner import kill
from tests.harness.mutants.table import aligned, table
from tests.harness.simulator.recording import unavailable
from tests.unit.database.samples import make_info

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


# --- what no other test noticed ---------------------------------------------------------------------------------------


def test_a_checkpoint_that_does_not_fit_is_refused_before_the_first_byte(tmp_path, monkeypatch):
    """The free space is asked for before anything is written."""
    written = []
    monkeypatch.setattr(commits, "free_bytes", lambda _: 1000)
    monkeypatch.setattr(commits, "_write_files", lambda *_: written.append(True))
    with pytest.raises(DiskFullError, match="1000 are free"):
        save({"a": np.ones(3)}, tmp_path / "checkpoint")
    assert written == []


def test_a_manifest_that_names_two_of_three_shards_is_refused():
    """Whatever the state refers to: a component has all of its shards."""
    with pytest.raises(FormatError, match="all of its shards"):
        check_shards(["model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"], "checkpoint")


def test_a_plan_that_keeps_nothing_is_not_carried_out():
    """The last line of defence, should the protections ever fail."""
    checkpoint = make_info(1)
    plan = RetentionPlan((RetentionDecision(checkpoint, ()),), "last(0)")
    with pytest.raises(RetentionError, match="every checkpoint"):
        check_plan(plan, now=checkpoint.created_at)


def test_a_commit_does_not_replace_what_has_just_appeared(tmp_path, monkeypatch):
    """A directory that another writer creates just before the rename stays, and the commit says so."""
    target = tmp_path / "checkpoint"
    monkeypatch.setattr(commits, "_open_up", lambda *_: target.mkdir())
    with pytest.raises(CheckpointExistsError):
        save({"a": np.ones(3)}, target)
    assert list(target.iterdir()) == []
