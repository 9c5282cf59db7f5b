"""What fails at every step of a commit. Kills are in `test_system_calls`."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from model_checkpoint import _native
from model_checkpoint.errors import CheckpointError, DiskFullError, StorageError
from model_checkpoint.storage import commit as commits
from model_checkpoint.storage.checkpoint_dir import load, save, verify
from model_checkpoint.storage.commit import Draft
from model_checkpoint.storage.staged_files import blob_files, component_files
from model_checkpoint.storage.state_tree import flatten
from model_checkpoint.storage.store import Store

pytestmark = pytest.mark.crash

NATIVE = ("write_segments", "sync_file", "sync_directory", "rename_noreplace")


class FileLog:
    """A catalog that is a file: durable, as a real one is."""

    def __init__(self, path: str) -> None:
        self.path = path

    def known(self) -> list[str]:
        return Path(self.path).read_text().split() if os.path.exists(self.path) else []

    def next_seq(self) -> int:
        return len(self.known()) + 1

    def add(self, *infos) -> None:
        with open(self.path, "a") as file:
            file.writelines(f"{info.id}\n" for info in infos)
            file.flush()
            os.fsync(file.fileno())


def draft(step: int) -> Draft:
    flat = flatten({"model": {"w": np.full(1000, step), "b": np.zeros(3)}, "opt": [np.ones(5)], "step": step})
    return Draft("e", step, flat.tree, [*component_files(flat), *blob_files({"config.json": b"{}"})])


@contextmanager
def interrupted(at: Callable[[str], None]) -> Iterator[None]:
    """Call ``at`` before and after each change of the file system by the core."""
    originals = {name: getattr(_native, name) for name in NATIVE}

    def wrapped(name: str) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            at(f"before {name}")
            result = originals[name](*args, **kwargs)
            at(f"after {name}")
            return result

        return call

    for name in NATIVE:
        setattr(_native, name, wrapped(name))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(_native, name, original)


# --- failing ----------------------------------------------------------------------------------------------------------


class Failing:
    """Fails one call of the core, and remembers what was synced."""

    def __init__(self, point: int, code: int) -> None:
        self.point = point
        self.code = code
        self.passed = 0
        self.failed = ""
        self.after: list[str] = []

    def __call__(self, event: str) -> None:
        if self.failed:
            self.after.append(event)
        if not event.startswith("before"):
            return
        if self.passed == self.point and not self.failed:
            self.failed = event.removeprefix("before ")
            kind = DiskFullError if self.code in (errno.ENOSPC, errno.EDQUOT) else StorageError
            raise kind(f"injected into {self.failed}", errno=self.code, path="x")
        self.passed += 1


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_a_failure_at_any_step_is_reported_and_harms_nothing(memory_path, code):
    """No failed call is retried, none is swallowed; before the rename nothing is visible, after it nothing is half."""
    store = Store(memory_path / "runs")
    first = store.commit(draft(0))
    failures = []
    for point in range(100):
        failing = Failing(point, code)
        try:
            with interrupted(failing):
                store.commit(draft(point + 1))
        except StorageError as error:
            failures.append((failing.failed, error.errno, isinstance(error, DiskFullError)))
        assert not any("sync" in event for event in failing.after), "went on after a failure"
        assert os.listdir(store.staging.directory) == []
        scan = store.scan()
        assert scan.quarantined == ()
        visible = [info for info in scan.checkpoints if info.id != first.id]
        if failing.failed != "sync_directory":  # only that of the parents comes after the rename
            assert len(visible) == (failing.failed == "")
        for info in visible:
            verify(store.directory(info))
            store.delete(info, keep=timedelta(0))
        store.purge_expired()
        if not failing.failed:
            break
    assert {(name, code, code != errno.EIO) for name in NATIVE} == set(failures)
    assert load(store.directory(first))["step"] == 0


def test_a_rename_that_reports_an_error_but_took_place_is_a_success(tmp_path, monkeypatch):
    """A network file system may lose the answer; the manifest at the target decides."""
    store = Store(tmp_path / "runs")
    rename = _native.rename_noreplace

    def lossy(source, target):
        rename(source, target)
        if "/e/" in target:
            raise OSError(errno.EIO, "answer lost", target)
        return True

    monkeypatch.setattr(_native, "rename_noreplace", lossy)
    info = store.commit(draft(1))
    assert load(store.directory(info))["step"] == 1


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "manifest.json"])
def test_bytes_that_the_device_did_not_keep_are_found_before_the_commit(tmp_path, monkeypatch, name):
    """A strict save reads from the device, and nothing appears if what it finds is something else."""
    store = Store(tmp_path / "runs")
    sync_directory = _native.sync_directory

    def rot(directory):
        """What the device makes of a staged file once all is synced."""
        path = os.path.join(directory, name)
        if os.path.exists(path):
            os.chmod(path, 0o600)
            with open(path, "r+b") as file:
                file.seek(-1, os.SEEK_END)
                file.write(b"\xff")
        sync_directory(directory)

    monkeypatch.setattr(_native, "sync_directory", rot)
    with pytest.raises(CheckpointError, match=re.escape(name)):
        store.commit(draft(1), strict=True)
    assert store.scan().checkpoints == ()
    assert os.listdir(store.staging.directory) == []


def test_a_log_that_fails_leaves_a_checkpoint_that_is_found_again(tmp_path):
    """The manifest is the truth: the caller gets the error, and a scan has the checkpoint."""

    class Broken(FileLog):
        def add(self, *infos):
            raise CheckpointError("no catalog")

    store = Store(tmp_path / "runs")
    with pytest.raises(CheckpointError, match="no catalog"):
        store.commit(draft(1), log=Broken(str(tmp_path / "log")))
    (info,) = store.scan().checkpoints
    assert verify(store.directory(info)).files == 3
    assert os.listdir(store.staging.directory) == []


# --- full disks -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB; needs root."""
    point = tmp_path / "small"
    point.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", point], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting a small file system needs root")
    yield point
    subprocess.run(["umount", point], check=True)


@pytest.mark.parametrize("ask_first", [True, False])
def test_a_full_disk_is_reported_and_harms_nothing(small_disk, monkeypatch, ask_first):
    """At every level of filling: an error of its own, nothing visible, nothing left, the old checkpoint as it was."""
    if not ask_first:
        monkeypatch.setattr(commits, "free_bytes", lambda _: 1 << 60)
    state = {"model": [np.arange(64 * 1024)], "opt": [np.ones(1000)], "n": 1}  # 512 KiB and a little
    save(state, small_disk / "first")
    ballast = small_disk / "ballast"
    full: list[int | None] = []
    for filled in range(0, 4 * 1024 * 1024, 96 * 1024):
        with open(ballast, "ab") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, filled or 1)
            except OSError:
                break
        try:
            save(state, small_disk / "next")
        except DiskFullError as error:
            full.append(error.errno)
            assert sorted(os.listdir(small_disk)) == ["ballast", "first"]
        else:
            assert verify(small_disk / "next").files == 2
            for path in (small_disk / "next").iterdir():
                path.unlink()
            (small_disk / "next").rmdir()
    assert len(full) >= 5
    assert set(full) == {errno.ENOSPC}
    assert load(small_disk / "first")["n"] == 1
    assert json.loads((small_disk / "first" / "manifest.json").read_text())["files"][0]["kind"] == "tensors"
