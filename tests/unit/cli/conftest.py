"""A real store, and the real command, in this process or in one of its own."""

import json
import math
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from model_checkpoint import CheckpointManager, Keep
from model_checkpoint.checkpoint import rng
from model_checkpoint.cli import main

LOSSES = [3.0, 1.0, 2.0, math.nan, 1.5, 2.5]
WEIGHT_BYTES = 1_500_000  # two chunks


class Model:
    """A model of two arrays."""

    def __init__(self):
        self.weight = np.zeros(WEIGHT_BYTES, np.uint8)
        self.bias = np.zeros(3, np.float32)

    def state_dict(self):
        return {"weight": self.weight, "bias": self.bias}

    def load_state_dict(self, state):
        self.weight, self.bias = state["weight"], state["bias"]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out, parse_constant=pytest.fail)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working directory, without settings from outside."""
    for name in ("MCKPT_ROOT", "MCKPT_DEBUG", "NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture
def mckpt(place, capsys):
    """Run `mckpt` in this process, without a terminal: what the launcher calls, and quick."""

    def run(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return run


@pytest.fixture
def mckpt_process(place):
    """Run `mckpt` as a process of its own, without a terminal."""

    def run(*words, **environment):
        done = subprocess.run(
            [sys.executable, "-m", "model_checkpoint.cli", *map(str, words)],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@contextmanager
def only_python_is_random():
    """Save the same random state whatever other tests have imported: that of torch is a tensor."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("numpy", "torch", "cuda"):
            patch.delitem(rng._SOURCES, name)
        yield


@pytest.fixture(autouse=True)
def _only_python_is_random():
    with only_python_is_random():
        yield


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """`digits`: six checkpoints, the fourth with a NaN, the last two of a run resumed from the third; `other`: one."""
    root = tmp_path_factory.mktemp("cli") / "runs"
    with only_python_is_random():
        fill(root)
    return root


def fill(root):
    model, schedule = Model(), {"epoch": 0}
    options = {"experiment": "digits", "monitor": "val_loss", "mode": "min", "progress": False}
    for first, last in ((0, 4), (4, 6)):
        with CheckpointManager(root, **options) as manager:
            manager.track(model=model, schedule=schedule)
            if first:
                manager.resume(20)  # which verifies it
            for index in range(first, last):
                model.bias += 1
                schedule["epoch"] = index
                metrics = {"val_loss": LOSSES[index], "accuracy": index / 10}
                alias = "v1" if index == 2 else None
                manager.save(index * 10, metrics=metrics, alias=alias, files={"config.json": b"{}"}, block=True)
    CheckpointManager(root, keep=Keep.last(2) | Keep.best(1), **options).close()  # says so, and removes nothing
    with CheckpointManager(root, experiment="other", progress=False) as manager:
        manager.track(model=model)
        manager.save(7, metadata={"note": "by hand"}, block=True)


@pytest.fixture
def root(template, tmp_path):
    """A store of one's own."""
    return Path(shutil.copytree(template, tmp_path / "runs"))


@pytest.fixture
def directory_of(root):
    """The directory of a step of `digits`."""
    return lambda step: next((root / "digits").glob(f"step-{step:08d}-*"))


@pytest.fixture
def flip():
    """Change one bit of a file, which the store has made read-only."""

    def change(path, offset):
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        data[offset] ^= 1
        path.write_bytes(data)

    return change
