"""Logged metrics of a whole store."""

from __future__ import annotations

import model_checkpoint as mc
from model_checkpoint.analytics.compaction import Compactor
from model_checkpoint.analytics.engine import Engine
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database import MetricTable


def test_older_metrics_survive_the_loss_of_the_catalog(tmp_path):
    """A catalog that is made anew knows the segments of every experiment."""
    root = tmp_path / "runs"
    for name in ("a", "b"):
        with mc.CheckpointManager(root, experiment=name) as ckpts:
            for step in range(10):
                ckpts.log(step, loss=step / 2)
    with Workspace.open(root) as workspace:
        for name in ("a", "b"):
            assert Compactor(workspace.store.root, MetricTable(workspace.catalog)).compact(name).points == 10
    (root / "catalog.db").unlink()
    with Workspace.open(root) as workspace:
        engine = Engine(workspace.store.root, workspace.catalog)
        sql = "SELECT experiment, count(*) AS n, sum(value) AS total FROM points GROUP BY ALL ORDER BY ALL"
        found = engine.run(sql, experiments=["a", "b"]).to_pylist()
        assert found == [{"experiment": name, "n": 10, "total": 22.5} for name in ("a", "b")]
        assert workspace.rebuild().quarantined == ()
        assert engine.run(sql, experiments=["a", "b"]).to_pylist() == found
