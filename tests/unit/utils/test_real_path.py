"""Calls on paths of which no part is a link."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_checkpoint.errors import StorageError
from model_checkpoint.utils import real_path
from tests.harness import strace

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path):
    """A directory with a file, a link to it, and an empty one."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "empty").mkdir()
    return tmp_path


CALLS = {
    "open": lambda path: os.close(real_path.open_file(path, os.O_RDONLY)),
    "create": lambda path: os.close(real_path.open_file(path + "2", os.O_WRONLY | os.O_CREAT)),
    "lstat": real_path.lstat,
    "chmod": lambda path: real_path.chmod(path, 0o600),
    "mkdir": lambda path: real_path.mkdir(path + "3"),
    "unlink": real_path.unlink,
    "rename from": lambda path: real_path.rename(path, str(Path(path).parents[1] / "empty" / "file")),
    "rename to": lambda path: real_path.rename(str(Path(path).parents[1] / "real" / "file"), path + "4"),
    "names": lambda path: real_path.names(os.path.dirname(path)),
    "entries": lambda path: real_path.entries(os.path.dirname(path)),
    "remove": real_path.remove_tree,
    "pin": lambda path: real_path.pinned(path).__enter__(),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_link_in_the_way_is_refused_by_name(place, call):
    """Whatever is asked for, nothing happens behind a link, and the error names it."""
    with pytest.raises(StorageError, match="link") as caught:
        CALLS[call](str(place / "link" / "file"))
    assert caught.value.errno == errno.ELOOP
    assert str(place / "link") in str(caught.value)
    assert os.listdir(place / "real") == ["file"]


@pytest.mark.parametrize("call", CALLS)
def test_without_a_link_every_call_does_its_work(place, call):
    """The same calls succeed where the same path has no link."""
    CALLS[call](str(place / "real" / "file"))


def test_the_object_itself_is_not_followed(place):
    """A final link is opened by nobody; it is looked at, renamed and removed as what it is."""
    with pytest.raises(OSError, match="symbolic links") as caught:
        real_path.open_file(str(place / "link"), os.O_RDONLY)
    assert caught.value.errno == errno.ELOOP
    real_path.rename(str(place / "link"), str(place / "moved"))
    assert (place / "moved").is_symlink()
    real_path.remove_tree(str(place / "moved"))
    assert (place / "real" / "file").exists()


def test_a_mode_is_never_set_on_what_has_another_name(place):
    """A hard link in our directory may be a file of anybody's elsewhere."""
    os.link(place / "real" / "file", place / "empty" / "twin")
    before = (place / "real" / "file").stat().st_mode
    with pytest.raises(OSError, match="another name"):
        real_path.chmod(str(place / "empty" / "twin"), 0o444)
    assert (place / "real" / "file").stat().st_mode == before


def test_no_tree_is_too_deep_to_be_removed(place):
    """Neither the stack nor the descriptors of the process run out, however deep somebody has nested directories."""
    fd = os.open(place / "empty", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.symlink(place / "real", "out", dir_fd=fd)
    os.close(fd)
    real_path.remove_tree(str(place / "empty"))
    assert not (place / "empty").exists()
    assert (place / "real" / "file").exists()


def test_what_is_gone_is_as_good_as_removed(place):
    """Removing nothing is no error; a file is removed like a directory."""
    real_path.remove_tree(str(place / "nothing"))
    real_path.remove_tree(str(place / "nothing" / "below"))
    real_path.remove_tree(str(place / "real" / "file"))
    assert not (place / "real" / "file").exists()


def test_only_the_directory_of_a_given_path_is_resolved(place):
    """A path given by a user may lead through links; its last part is kept as it is."""
    assert real_path.of(place / "link" / "file") == str(place / "real" / "file")
    assert real_path.of(place / "link") == str(place / "link")


OLD_KERNEL = """
import errno, sys
from tests.harness import strace
from tests.harness.strace import Fail, Injection
from tests.unit.utils.test_real_path import walk_through
lacking = Injection(Fail(getattr(errno, sys.argv[2])), 1, strace.named("openat2"), lasting=True)
trace = strace.follow(lambda: lambda: walk_through(sys.argv[1]), lacking)
assert trace.injected == "openat2", trace
sys.exit(trace.status)
"""


def walk_through(base: str) -> None:
    """What shall be the same without the system's own way of refusing links."""
    assert real_path.names(os.path.join(base, "real")) == ["file"]
    assert real_path.lstat(os.path.join(base, "real//./file")).st_size == 1
    for path, code in (("link/file", errno.ELOOP), ("real/file/x", errno.ENOTDIR), ("nothing/x", errno.ENOENT)):
        with pytest.raises(OSError, match=os.path.join(base, os.path.dirname(path))) as caught:
            real_path.lstat(os.path.join(base, path))
        assert caught.value.errno == code


def test_a_pinned_directory_is_not_looked_for_where_it_was(place, monkeypatch):
    """It is exchanged for a link while its path is found out: a backend's file was written where the link leads."""
    target, readlink = str(place / "real" / "file2"), os.readlink

    def exchanged(path, **options):
        found = readlink(path, **options)
        monkeypatch.undo()
        (place / "real").rename(place / "moved")
        (place / "real").symlink_to(place / "empty")
        return found

    with real_path.pinned(target) as pinned:
        monkeypatch.setattr(os, "readlink", exchanged)
        found = real_path.of(pinned)
    assert found == target
    with pytest.raises(StorageError) as caught:
        real_path.open_file(found, os.O_WRONLY | os.O_CREAT)
    assert caught.value.errno == errno.ELOOP
    assert os.listdir(place / "empty") == []


@pytest.mark.parametrize("code", ["ENOSYS", "EPERM"])
def test_an_older_kernel_or_sandbox_is_walked_through_step_by_step(place, code):
    """Where there is no openat2, or a sandbox refuses it, links are refused just the same."""
    if reason := strace.unavailable():
        pytest.skip(reason)
    walk_through(str(place))
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", OLD_KERNEL, str(place), code]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
