"""Locks of open files."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest

from model_checkpoint.utils.file_lock import try_lock


@pytest.fixture
def descriptors(tmp_path):
    """Two of the same directory."""
    opened = [os.open(tmp_path, os.O_RDONLY) for _ in range(2)]
    yield opened
    for fd in opened:
        os.close(fd)


def test_a_lock_has_one_owner(descriptors):
    """The second is told so, until the first lets go."""
    first, second = descriptors
    assert try_lock(first)
    assert not try_lock(second)
    fcntl.flock(first, fcntl.LOCK_UN)
    assert try_lock(second)


def test_where_there_are_no_locks_everybody_goes_on(descriptors, monkeypatch):
    """As on some network file systems."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert all(map(try_lock, descriptors))
