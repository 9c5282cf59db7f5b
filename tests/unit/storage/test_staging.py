from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from model_checkpoint import _native
from model_checkpoint.errors import DurabilityWarning, StorageError
from model_checkpoint.storage import durable, staging
from model_checkpoint.storage.manifest import Durability
from model_checkpoint.storage.staging import StagingArea


@pytest.fixture
def area(tmp_path):
    return StagingArea(str(tmp_path / "store" / ".staging"))


def test_directories_are_private_and_never_shared(area):
    """Each writer has a directory of its own that nobody else enters."""
    one, two = area.create(), area.create()
    assert one.path != two.path
    assert os.stat(one.path).st_mode & 0o777 == 0o700
    for each in (one, two):
        os.rmdir(each.path)
        each.release()
    assert os.listdir(area.directory) == []


def test_the_directory_of_a_live_writer_is_left_alone(area):
    """Not even by another process, or by the same one."""
    mine = area.create()
    assert area.reclaim() == ()
    code = "from model_checkpoint.storage.staging import StagingArea as A; import sys; print(A(sys.argv[1]).reclaim())"
    done = subprocess.run([sys.executable, "-c", code, area.directory], capture_output=True, text=True, check=True)
    assert done.stdout == "()\n"
    assert os.path.isdir(mine.path)
    mine.abandon()
    assert os.listdir(area.directory) == []


@pytest.mark.crash
def test_the_directory_of_a_killed_writer_is_reclaimed(area):
    """The lock dies with the process."""
    code = """
        import os, signal, sys
        from model_checkpoint.storage.staging import StagingArea
        path = StagingArea(sys.argv[1]).create().path
        open(os.path.join(path, "half"), "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), area.directory], check=False)
    (left,) = [name for name in os.listdir(area.directory) if not name.endswith(".owner")]
    assert area.reclaim() == (os.path.join(area.directory, left),)
    assert os.listdir(area.directory) == []


def test_leftovers_without_an_owner_are_reclaimed(area):
    """An owner's file is older and lives longer than its directory: without one, nobody is there."""
    area.create().abandon()
    os.mkdir(os.path.join(area.directory, "a" * 32))
    Path(area.directory, "c" * 32 + ".owner").touch()
    assert area.reclaim() == (os.path.join(area.directory, "a" * 32),)
    assert os.listdir(area.directory) == []


def test_trying_what_the_file_system_grants_is_not_disturbed_by_who_tidies_up(area, monkeypatch):
    """A recovery in another process, between any two steps of it, takes nothing away."""
    rename = _native.rename_noreplace

    def reclaim_and_rename(source, target):
        assert StagingArea(area.directory).reclaim() == ()
        return rename(source, target)

    monkeypatch.setattr(_native, "rename_noreplace", reclaim_and_rename)
    assert area.durability == Durability()
    assert os.listdir(area.directory) == []


def without_locks(monkeypatch):
    monkeypatch.setattr(staging.fcntl, "flock", lambda *_: None)


def test_where_locks_do_nothing_the_process_decides(area, monkeypatch):
    """A running process keeps its directory, one that is gone does not."""
    without_locks(monkeypatch)
    mine = area.create()
    assert area.reclaim() == ()
    described = json.loads(Path(mine.owner).read_text())
    Path(mine.owner).write_text(json.dumps(described | {"started": "0"}))  # another process has our number now
    assert area.reclaim() == (mine.path,)


def test_the_writer_of_another_host_has_a_day(area, monkeypatch):
    """On a network file system neither locks nor process numbers reach; on a local one, it was before a reboot."""
    mine = area.create()
    os.close(mine.owner_fd)
    described = json.loads(Path(mine.owner).read_text())
    Path(mine.owner).write_text(json.dumps(described | {"boot": "elsewhere"}))
    network = staging.file_system_of("/").__class__("nfs4", "/", is_network=True)
    with monkeypatch.context() as patched:
        patched.setattr(staging, "file_system_of", lambda _: network)
        assert area.reclaim() == ()
        old = time.time() - 25 * 3600
        os.utime(mine.owner, (old, old))
        assert area.reclaim() == (mine.path,)


def test_links_in_the_area_are_removed_and_not_followed(area, tmp_path):
    """Cleaning up never leaves the area."""
    area.create().abandon()
    outside = tmp_path / "precious"
    outside.mkdir()
    (outside / "file").write_text("x")
    inside = os.path.join(area.directory, "d" * 32)
    os.mkdir(inside)
    os.symlink(outside, os.path.join(inside, "link"))
    assert area.reclaim() == (inside,)
    assert (outside / "file").read_text() == "x"


def test_what_the_file_system_grants_is_found_out(area, monkeypatch):
    """An ordinary file system grants all; where something is missing there is a warning, once."""
    assert area.durability == Durability(synced=True, noreplace=True)
    assert os.listdir(area.directory) == []

    def refused(path):
        raise StorageError("fsync", path=path, errno=22)

    other = StagingArea(area.directory)
    monkeypatch.setattr(durable._native, "sync_directory", refused)
    rename = _native.rename_noreplace
    monkeypatch.setattr(staging._native, "rename_noreplace", lambda a, b: rename(a, b) and False)
    with pytest.warns(DurabilityWarning, match="manifests will record it"):
        assert other.durability == Durability(synced=False, noreplace=False)
    assert other.durability == Durability(synced=False, noreplace=False)


def test_a_failed_sync_is_an_error_and_not_a_missing_feature(monkeypatch):
    """EIO means that data is lost; EINVAL that the file system cannot do it."""

    def broken(path):
        raise StorageError("fsync", path=path, errno=5)

    monkeypatch.setattr(durable._native, "sync_directory", broken)
    with pytest.raises(StorageError):
        durable.sync_directory("/")


def test_an_owner_that_cannot_be_removed_does_not_fail_what_is_durable(area, monkeypatch):
    """The checkpoint has been renamed away by then; the leftover goes with the next recovery."""
    staged = area.create()
    os.rmdir(staged.path)

    def fail(*_args, **_kwargs):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(os, "unlink", fail)
        staged.release()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(staged.owner_fd)
    area.reclaim()
    assert os.listdir(area.directory) == []
