"""Two processes on one store, as two workspaces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import model_checkpoint as mc
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database import Catalog
from model_checkpoint.storage.store import Store


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A store with the checkpoints 0, 1 and 2 of the experiment "exp", as one process has it open."""
    with mc.CheckpointManager(tmp_path / "runs", experiment="exp", monitor="loss") as ckpts:
        ckpts.track(weight=torch.zeros(10))
        for step in range(3):
            ckpts.save(step, metrics={"loss": 1.0})
    with Workspace.open(tmp_path / "runs") as opened:
        yield opened


@pytest.fixture
def other(workspace: Workspace) -> Iterator[Workspace]:
    """The same store, as another process has it open that waits for hardly any lock."""
    root = workspace.store.root
    with Workspace(Store(root), Catalog.open(root, busy_timeout=0.01)) as opened:
        yield opened
