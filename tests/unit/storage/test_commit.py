from __future__ import annotations

import os
import re

import numpy as np
import pytest

from model_checkpoint import _native
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.storage.commit import Draft
from model_checkpoint.storage.staged_files import blob_files, component_files
from model_checkpoint.storage.state_tree import flatten
from model_checkpoint.storage.store import Store


class Log:
    def __init__(self, events):
        self.events = events

    def next_seq(self):
        self.events.append("number")
        return 7

    def add(self, *infos):
        self.events.append("record")


def draft(**fields):
    flat = flatten({"model": [np.ones(3)], "opt": {"m": np.ones(2)}})
    arguments = {"experiment": "e", "step": 1, "tree": flat.tree, "files": component_files(flat)} | fields
    return Draft(**arguments)


def test_everything_is_synced_in_the_order_that_survives_a_power_cut(tmp_path, monkeypatch):
    """Each file, the manifest, their directory, then the rename, then both parents, and only then the record.

    No crash test on an ordinary file system would notice if one of the directory syncs were missing.
    """
    store = Store(tmp_path / "runs")
    store.commit(draft(experiment="other"))  # creates the staging area and tries out the file system
    events = []

    def watched(name, path_at):
        original = getattr(_native, name)

        def call(*args, **kwargs):
            path = os.path.relpath(args[path_at], store.root)
            events.append(f"{name} {re.sub('[0-9a-f]{32}', 'ID', path)}")
            return original(*args, **kwargs)

        monkeypatch.setattr(_native, name, call)

    watched("write_segments", 1)
    watched("sync_file", 1)
    watched("sync_directory", 0)
    watched("rename_noreplace", 1)
    monkeypatch.setattr(os, "rename", lambda *_: pytest.fail("a rename that could replace something"))
    info = store.commit(draft(files=[*draft().files, *blob_files({"config.json": b"{}"})]), log=Log(events))
    assert events == [
        "sync_directory .",  # the experiment is new
        "write_segments .staging/ID/model.safetensors",
        "sync_file .staging/ID/model.safetensors",
        "write_segments .staging/ID/opt.safetensors",
        "sync_file .staging/ID/opt.safetensors",
        "sync_file .staging/ID/config.json",
        "number",
        "sync_file .staging/ID/manifest.json",
        "sync_directory .staging/ID",
        f"rename_noreplace {info.path}",
        "sync_directory e",
        "sync_directory .staging",
        "record",
    ]
    assert info.seq == 7


def test_nobody_can_enter_the_staging_directory(tmp_path, monkeypatch):
    """What is not finished is private; what is finished is as readable as its parent."""
    store = Store(tmp_path / "runs")
    os.chmod(store.root, 0o755)
    os.makedirs(f"{store.root}/e")
    os.chmod(f"{store.root}/e", 0o750)
    modes = []
    write = _native.write_segments

    def look(fd, path, *args, **kwargs):
        modes.append(os.stat(os.path.dirname(path)).st_mode & 0o777)
        return write(fd, path, *args, **kwargs)

    monkeypatch.setattr(_native, "write_segments", look)
    directory = store.directory(store.commit(draft()))
    assert set(modes) == {0o700}
    assert os.stat(directory).st_mode & 0o777 == 0o750
    assert {os.stat(f"{directory}/{name}").st_mode & 0o777 for name in os.listdir(directory)} == {0o440}


@pytest.mark.parametrize(
    "fields",
    [
        {"step": -1},
        {"step": 2**63},
        {"step": True},
        {"step": 1.0},
        {"experiment": ".."},
        {"id": "x"},
        {"metrics": {"a": None}},
    ],
    ids=repr,
)
def test_drafts_that_make_no_sense_are_refused(fields):
    """Before anything touches the disk."""
    with pytest.raises(ConfigurationError):
        draft(**fields)


def test_a_snapshot_is_written_instead_of_what_the_tensors_became(tmp_path):
    """Tensors may change as soon as the snapshot is taken; aliases and views included."""
    from model_checkpoint.storage.checkpoint_dir import load

    w = np.arange(6.0).reshape(2, 3)
    flat = flatten({"model": {"w": w, "t": w.T, "s": np.arange(10)[::2]}, "n": 1})
    (file,) = component_files(flat)
    memory = _native.Arena(max(file.snapshot_bytes, 1))
    taken = file.snapshot(memoryview(memory)[: file.snapshot_bytes])
    w[:] = -1
    store = Store(tmp_path)
    model = load(store.directory(store.commit(draft(tree=flat.tree, files=[taken]))))["model"]
    assert model["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert model["t"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert model["s"].tolist() == [0, 2, 4, 6, 8]
