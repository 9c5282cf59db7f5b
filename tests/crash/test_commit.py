"""A process that dies, or a system call that fails, at every step of a commit and of a deletion.

Kills happen in children forked from a process that has imported everything and never used the core's threads; this
file, run as a script, is that process.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import traceback
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
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree")


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
    """Call ``at`` before each change of the file system by Python, and before and after each by the core."""
    originals = {name: getattr(_native, name) for name in NATIVE}
    active = [True]

    def wrapped(name: str) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            at(f"before {name}")
            result = originals[name](*args, **kwargs)
            at(f"after {name}")
            return result

        return call

    def audit(event: str, args: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if active[0] and (event in CHANGES or writes):
            at(event)

    for name in NATIVE:
        setattr(_native, name, wrapped(name))
    sys.addaudithook(audit)
    try:
        yield
    finally:
        active[0] = False
        for name, original in originals.items():
            setattr(_native, name, original)


# --- killing ----------------------------------------------------------------------------------------------------------


def kill_at(point: int) -> Callable[[str], None]:
    passed = [0]

    def at(_event: str) -> None:
        if passed[0] == point:
            os.kill(os.getpid(), signal.SIGKILL)
        passed[0] += 1

    return at


def forked(function: Callable[[], None]) -> int:
    """Exit status of a child that runs a function: negative for a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except BaseException:  # noqa: BLE001 - the child of a fork must not go on as its parent
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def commit_one(root: str, step: int) -> None:
    Store(root).commit(draft(step), log=FileLog(root + ".log"), strict=True)


def check_after_commit(root: str, step: int) -> None:
    """Everything acknowledged is there and whole, nothing else is in sight, and work goes on."""
    store, log = Store(root), FileLog(root + ".log")
    store.recover()
    assert os.listdir(store.staging.directory) == [], "leftovers"
    scan = store.scan()
    assert scan.quarantined == (), scan.quarantined
    assert set(log.known()) <= {info.id for info in scan.checkpoints}, "an acknowledged checkpoint is gone"
    for info in scan.checkpoints:
        verify(store.directory(info))
        assert load(store.directory(info))["step"] == info.step
    log.add(*(info for info in scan.checkpoints if info.id not in log.known()))  # what a reindex does
    info = store.commit(draft(step + 1), log=log)
    assert load(store.directory(info))["step"] == step + 1
    store.delete(info, keep=timedelta(0))
    store.purge_expired()
    Path(log.path).write_text("".join(f"{name}\n" for name in log.known() if name != info.id))


def delete_all(root: str) -> None:
    store = Store(root)
    for info in store.scan().checkpoints:
        if not info.path.startswith(".trash"):
            store.delete(info, keep=timedelta(0))


def restore_all(root: str) -> None:
    store = Store(root)
    for info in store.scan().checkpoints:
        if info.path.startswith(".trash"):
            store.restore(info.id)
    delete_all(root)


def purge_all(root: str) -> None:
    delete_all(root)
    Store(root).purge_expired()


def recover_all(root: str) -> None:
    os.makedirs(f"{root}/.staging/{'a' * 32}/x", exist_ok=True)
    os.makedirs(f"{root}/.trash/{'b' * 32}.deleting/x", exist_ok=True)
    Store(root).recover()


def check_after_delete(root: str, *, may_be_gone: bool) -> None:
    """Each checkpoint is in its place or in the trash, whole; only one that was being purged may be gone, whole."""
    store, log = Store(root), FileLog(root + ".log")
    store.recover()
    scan = store.scan()
    assert scan.quarantined == (), scan.quarantined
    assert may_be_gone or set(log.known()) == {info.id for info in scan.checkpoints}
    for info in scan.checkpoints:
        verify(store.directory(info))


def killed_everywhere(action: Callable[[], None], check: Callable[[int], None], before: Callable[[int], None]) -> int:
    """Kill ``action`` at its first change, at its second, and so on; returns how often that was possible."""

    def run(point: int) -> None:
        with interrupted(kill_at(point)):
            action()

    for point in range(1000):
        assert forked(lambda point=point: before(point)) == 0
        status = forked(lambda point=point: run(point))
        assert status in (0, -signal.SIGKILL), f"point {point}: {status}"
        assert forked(lambda point=point: check(point)) == 0, f"after a kill at point {point}"
        if status == 0:
            return point
    raise AssertionError("the action never ends")


def main(phase: str, root: str) -> None:
    def check_delete(_point: int) -> None:
        check_after_delete(root, may_be_gone=phase == "purge")

    def check_commit(point: int) -> None:
        check_after_commit(root, point + 2)

    def commit_before(point: int) -> None:
        if phase == "purge" or point == 0:
            commit_one(root, 0)

    action, check = {
        "commit": (lambda: commit_one(root, 1), check_commit),
        "recover": (lambda: recover_all(root), check_commit),
        "delete": (lambda: delete_all(root), check_delete),
        "restore": (lambda: restore_all(root), check_delete),
        "purge": (lambda: purge_all(root), check_delete),
    }[phase]
    print(killed_everywhere(action, check, commit_before))


if __name__ == "__main__":
    main(*sys.argv[1:])


@pytest.mark.parametrize(
    ("phase", "least"), [("commit", 30), ("delete", 8), ("restore", 10), ("purge", 10), ("recover", 4)]
)
def test_a_kill_at_any_step_loses_nothing(memory_path, phase, least):
    """Whatever was acknowledged is there, nothing half-done is visible, leftovers go, and the next save works."""
    done = subprocess.run(
        [sys.executable, __file__, phase, str(memory_path / "runs")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= least


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
