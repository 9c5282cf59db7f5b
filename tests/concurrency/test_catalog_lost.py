"""A catalog that is lost, old, another's, edited or damaged: no cleanup believes it, and it becomes what files say."""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from model_checkpoint.checkpoint.keep import Keep
from model_checkpoint.checkpoint.manager import CheckpointManager
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.storage.store import Store
from model_checkpoint.types import CheckpointState
from tests.harness.retention_past import Rules

pytestmark = pytest.mark.concurrency

KEEP = Keep.last(1) | Keep.best(2)
RULES = Rules(last=1, best=2, mode="min")
EDITS = {
    "the best is said to be the worst": "UPDATE checkpoint_metrics SET value = 1 - value",
    "all are said to be the best": "UPDATE checkpoint_metrics SET value = 0",
    "no metrics": "DELETE FROM checkpoint_metrics",
    "nothing is said to be pinned": "UPDATE checkpoints SET pinned = 0",
    "no names": "DELETE FROM aliases",
    "nothing is said to be verified": "UPDATE checkpoints SET verified_at = NULL",
    "the order is turned round": "UPDATE checkpoints SET seq = 1000 - seq",
    "all are said to be lost": "UPDATE checkpoints SET state = 'lost'",
    "all are said to be quarantined": "UPDATE checkpoints SET state = 'quarantined'",
    "all are said to be in the trash": "UPDATE checkpoints SET state = 'trashed'",
    "the paths lead elsewhere": "UPDATE checkpoints SET path = path || 'f'",
    "the newest is missing": "DELETE FROM checkpoints WHERE seq = (SELECT max(seq) FROM checkpoints)",
    "all are missing": "DELETE FROM checkpoints",
}
"""What somebody did to rows by hand."""


def _save(root: Path, steps: range) -> None:
    """Checkpoints of which the third is the best, the second pinned, the fourth named and the fifth verified."""
    with CheckpointManager(root, experiment="e", monitor="loss") as ckpts:
        ckpts.track(w=np.zeros(32))
        ids = [ckpts.save(step, metrics={"loss": abs(step - 2) / 10}, block=True).result().id for step in steps]
        if steps[0] == 0:
            ckpts.pin(ids[1])
            ckpts.alias(ids[3], "prod")
            ckpts.verify(ids[4])


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A store, an older copy of its catalog, and another store."""
    place = tmp_path_factory.mktemp("stores")
    _save(place / "runs", range(5))
    shutil.copy(place / "runs" / "catalog.db", place / "older.db")
    _save(place / "runs", range(5, 8))
    _save(place / "other", range(5))
    return place


def _delete(catalog: Path, _stores: Path) -> None:
    catalog.unlink()


def _roll_back(catalog: Path, stores: Path) -> None:
    shutil.copy(stores / "older.db", catalog)


def _swap(catalog: Path, stores: Path) -> None:
    shutil.copy(stores / "other" / "catalog.db", catalog)


def _zero_pages(catalog: Path, _stores: Path) -> None:
    size = catalog.stat().st_size
    with catalog.open("r+b") as file:
        for page in range(1, size // 4096):
            file.seek(page * 4096)
            file.write(bytes(4096) if page % 2 else b"")


def _truncate(catalog: Path, _stores: Path) -> None:
    os.truncate(catalog, catalog.stat().st_size // 2)


HARMS = {
    "deleted": _delete, "an older copy": _roll_back, "another store's": _swap, "every other page zeroed": _zero_pages,
    "truncated": _truncate,
}  # fmt: skip


def _problems(root: Path, harm) -> list[str]:
    """What is wrong after a harm, an opening and a forced cleanup."""
    there = [one for one in Store(root).scan().checkpoints if one.state is CheckpointState.COMMITTED]
    for leftover in root.glob("catalog.db-*"):
        leftover.unlink()
    harm(root / "catalog.db")
    with CheckpointManager(root, experiment="e", monitor="loss") as ckpts:
        ckpts.prune(dry_run=False, keep=KEEP, force=True)
    after = {one.id for one in Store(root).scan().checkpoints}
    problems = list(RULES.broken_by([one for one in there if one.id not in after], there))
    if len(after) == len(there):
        problems.append("the cleanup removed nothing")
    with Workspace.open(root) as workspace:
        listed = _rows(workspace)
        workspace.rebuild()
        if _rows(workspace) != listed:
            problems.append("the rows are not those of a rebuild")
        if len(listed) != len(after):
            problems.append(f"{len(listed)} rows for {len(after)} checkpoints")
    return problems


def _rows(workspace: Workspace):
    """All rows in commit order; the numbers themselves may differ by those given out meanwhile."""
    return [dataclasses.replace(one, seq=0) for one in workspace.catalog.list("e", states=tuple(CheckpointState))]


def _edit(catalog: Path, statement: str) -> None:
    connection = sqlite3.connect(catalog)
    with connection:
        connection.execute(statement)
    connection.close()


def test_no_cleanup_believes_a_catalog_that_is_wrong(stores, tmp_path, evidence):
    """After each harm and a forced cleanup all that the files protect is there, and the catalog says the same."""
    cases = {name: (lambda catalog, harm=harm: harm(catalog, stores)) for name, harm in HARMS.items()}
    cases |= {name: (lambda catalog, edit=edit: _edit(catalog, edit)) for name, edit in EDITS.items()}
    problems = []
    for number, (name, harm) in enumerate(cases.items()):
        root = tmp_path / str(number)
        shutil.copytree(stores / "runs", root, symlinks=True)
        problems += [f"{name}: {problem}" for problem in _problems(root, harm)]
    evidence(
        threat="a catalog that is deleted, truncated, an older copy, another store's, has pages of zeros, or whose "
        "rows somebody has edited, followed by a forced cleanup that has something to remove",
        promise="Nothing is removed that is protected or kept by the policy as the files say it; every row of the "
        "catalog says then what a rebuild from the manifests says.",
        trials=len(cases),
        unit="harms",
        violations=len(problems),
        exhaustive=True,
    )
    assert problems == []


def test_a_catalog_that_protects_too_much_costs_nothing(stores, tmp_path):
    """Where it says that all are pinned, the cleanup removes nothing; a rebuild says what the files say."""
    root = tmp_path / "runs"
    shutil.copytree(stores / "runs", root, symlinks=True)
    with Workspace.open(root) as workspace:
        right = _rows(workspace)
    _edit(root / "catalog.db", "UPDATE checkpoints SET pinned = 1")
    with CheckpointManager(root, experiment="e", monitor="loss") as ckpts:
        assert ckpts.prune(dry_run=False, keep=KEEP, force=True).removed == ()
    with Workspace.open(root) as workspace:
        workspace.rebuild()
        assert _rows(workspace) == right


def test_lost_metric_points_are_told(tmp_path, caplog):
    """Whoever opens a store whose catalog is gone hears that points that were only in it may be missing."""
    _save(tmp_path / "runs", range(1, 3))
    (tmp_path / "runs" / "catalog.db").unlink()
    with caplog.at_level(logging.WARNING, "model_checkpoint"), Workspace.open(tmp_path / "runs"):
        pass
    assert "metrics that were logged and had not moved to Parquet files yet may be missing" in caplog.text
