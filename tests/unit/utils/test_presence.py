"""Looking at what is at a path."""

from __future__ import annotations

import errno
import os

import pytest

from model_checkpoint.errors import StorageError
from model_checkpoint.utils.presence import is_directory, is_present


def test_what_is_there_is_told_from_what_is_not(tmp_path):
    """A link is there wherever it leads, and counts as a directory only where links are followed."""
    link, dangling = tmp_path / "link", tmp_path / "dangling"
    link.symlink_to(tmp_path)
    dangling.symlink_to("nowhere")
    assert is_present(str(dangling))
    assert is_directory(link)
    assert not is_directory(link, follow=False)
    assert not is_directory(dangling)
    assert not is_present(str(tmp_path / "nothing" / "below"))
    assert not is_present("a\0b")


def test_a_disk_that_fails_is_not_an_absence(tmp_path, monkeypatch):
    """Where the system cannot tell, neither can we: to take it for an absence would lose what is there."""

    def fail(path, **_):
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(os, "stat", fail)
    for question in (is_present, is_directory):
        with pytest.raises(StorageError, match="cannot look at") as caught:
            question(str(tmp_path))
        assert (caught.value.errno, caught.value.path) == (errno.EIO, str(tmp_path))
