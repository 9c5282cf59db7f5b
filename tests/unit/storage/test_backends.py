from __future__ import annotations

import errno
import os
import resource
from collections import OrderedDict

import numpy as np
import pytest
import torch

from model_checkpoint.errors import (
    ConfigurationError,
    CorruptionError,
    FormatError,
    StateError,
    StorageError,
    UnsupportedStateError,
)
from model_checkpoint.storage import base_backend
from model_checkpoint.storage.backends import get_backend
from model_checkpoint.storage.base_backend import register_backend
from model_checkpoint.storage.checkpoint_dir import load, verify
from model_checkpoint.storage.commit import Draft
from model_checkpoint.storage.staged_files import BackendFile
from model_checkpoint.storage.store import Store


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    monkeypatch.setattr(base_backend, "_registry", dict(base_backend._registry))


def test_the_documented_example_works_verbatim(tmp_path):
    """A subclass with nothing but save() can be made and called; what it cannot do it says."""
    from model_checkpoint.storage.base_backend import BaseStorageBackend

    class CustomBackend(BaseStorageBackend):
        def save(self, data, path):
            # Custom serialization
            pass

    backend = CustomBackend()
    assert backend.save({"a": 1}, str(tmp_path / "x")) is None
    with pytest.raises(StateError, match="CustomBackend has no load"):
        backend.load(str(tmp_path / "x"))


def test_a_class_without_save_is_no_backend():
    """Saving is what a backend is for."""
    with pytest.raises(TypeError):
        base_backend.BaseStorageBackend()


class Repr(base_backend.BaseStorageBackend):
    extension = ".txt"

    def save(self, data, path):
        with open(path, "w", encoding="utf-8") as file:
            file.write(repr(data))

    def load(self, path):
        with open(path, encoding="utf-8") as file:
            return file.read()


def commit(store, backend, name, data):
    file = BackendFile(backend, data)
    return store.commit(Draft(experiment="e", step=1, tree=None, files=[file], backend=name))


def test_a_registered_backend_writes_a_checkpoint(tmp_path):
    """Its file is digested like any other, checked before it reads it, and found by the name in the manifest."""
    register_backend("repr")(Repr)
    store = Store(tmp_path)
    info = commit(store, get_backend("repr"), "repr", {"a": 1})
    directory = store.directory(info)
    assert sorted(os.listdir(directory)) == ["manifest.json", "state.txt"]
    assert load(directory) == "{'a': 1}"
    assert verify(directory).files == 1
    os.chmod(f"{directory}/state.txt", 0o600)
    with open(f"{directory}/state.txt", "a", encoding="utf-8") as file:
        file.write(" ")
    with pytest.raises(CorruptionError):
        load(directory)


def test_a_backend_that_writes_nothing_commits_nothing(tmp_path):
    """A checkpoint without its state must not appear."""

    class Empty(base_backend.BaseStorageBackend):
        def save(self, data, path):
            pass

    store = Store(tmp_path)
    with pytest.raises(StateError, match="Empty has not written"):
        commit(store, Empty(), "empty", {})
    assert store.scan().checkpoints == ()
    assert os.listdir(tmp_path / ".staging") == []


@pytest.mark.parametrize("name", ["Upper", "", "a/b", "../x", "a b", 5, "x" * 65])
def test_bad_names_are_refused(name):
    """The name goes into manifests."""
    with pytest.raises(ConfigurationError):
        register_backend(name)


def test_a_name_is_taken_once():
    """Two classes under one name would make manifests ambiguous; the same class again is harmless."""
    register_backend("repr")(Repr)
    register_backend("repr")(Repr)
    with pytest.raises(ConfigurationError, match="already"):
        register_backend("pytorch")(Repr)
    with pytest.raises(ConfigurationError, match="subclass"):
        register_backend("other")(dict)
    with pytest.raises(ConfigurationError, match="extension"):
        register_backend("third")(type("Bad", (Repr,), {"extension": "../x"}))


def test_an_unknown_backend_imports_nothing():
    """A name from a manifest is looked up and never imported."""
    with pytest.raises(ConfigurationError, match=r"there is .*pytorch, safetensors"):
        get_backend("os.path")


STATE = {"model": torch.nn.Linear(2, 2), "opt": {"lr": 0.1, "betas": (0.9, 0.99)}, "n": [1, None, "x"]}


@pytest.mark.parametrize("name", ["pytorch", "safetensors"])
def test_built_in_backends_write_any_state_to_one_file(tmp_path, name):
    """Objects become state dicts, sharing stays, values come back."""
    backend = get_backend(name)
    path = str(tmp_path / f"x{backend.extension}")
    w = torch.arange(4.0)
    backend.save(STATE | {"shared": [w, w[1:]]}, path)
    back = backend.load(path)
    assert type(back["model"]) is OrderedDict
    assert torch.equal(back["model"]["weight"], STATE["model"].weight)
    assert (back["opt"], back["n"]) == (STATE["opt"], STATE["n"])
    back["shared"][0][1] = 7
    assert back["shared"][1][0] == 7


def test_the_safetensors_backend_takes_arrays_and_states_without_tensors(tmp_path):
    """The tree goes into the file's metadata."""
    backend = get_backend("safetensors")
    backend.save({"a": np.arange(3), "b": b"x" * 5000}, str(tmp_path / "a"))
    assert backend.load(str(tmp_path / "a"))["b"] == b"x" * 5000
    backend.save([1, (2,)], str(tmp_path / "b"))
    assert backend.load(str(tmp_path / "b")) == [1, (2,)]


@pytest.mark.parametrize("value", [np.arange(3), torch.nn.Linear, lambda: 0])
def test_the_pytorch_backend_refuses_what_it_could_not_load_safely(tmp_path, value):
    """The error comes when saving, not when the file is needed."""
    with pytest.raises(UnsupportedStateError):
        get_backend("pytorch").save({"x": value}, str(tmp_path / "x.pt"))


@pytest.mark.hostile
def test_the_pytorch_backend_runs_no_code_from_a_file(tmp_path):
    """A pickle that would call something is refused, and the call does not happen."""

    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "pwned"),))

    torch.save({"x": Evil()}, tmp_path / "x.pt")
    with pytest.raises(FormatError, match="torch refuses"):
        get_backend("pytorch").load(str(tmp_path / "x.pt"))
    (tmp_path / "y.pt").write_bytes(b"not a file of torch's")
    with pytest.raises(FormatError):
        get_backend("pytorch").load(str(tmp_path / "y.pt"))
    assert not (tmp_path / "pwned").exists()


def test_a_file_system_that_refuses_torchs_bytes_is_told_as_that(tmp_path):
    """What torch makes of a failed write is a RuntimeError about positions; the system's own reason is raised."""
    store = Store(tmp_path / "runs")
    draft = Draft("e", 1, None, [BackendFile(get_backend("pytorch"), {"w": torch.zeros(100_000)})], backend="pytorch")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, before[1]))
    try:
        with pytest.raises(StorageError) as caught:
            store.commit(draft)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert os.listdir(store.staging.directory) == []


def test_a_file_that_cannot_be_read_is_told_as_that(tmp_path, monkeypatch):
    """The errors of a backend's own reads are of this package, too."""
    store = Store(tmp_path / "runs")
    files = [BackendFile(get_backend("pytorch"), {"w": torch.zeros(10)})]
    directory = store.directory(store.commit(Draft("e", 1, None, files, backend="pytorch")))

    def fail(*_args, **_kwargs):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(StorageError, match="cannot read the file") as caught:
        load(directory)
    assert caught.value.errno == errno.EIO
