import errno
import os

import pytest

from model_checkpoint import _native
from model_checkpoint.errors import CorruptionError, StorageError
from model_checkpoint.utils.regular_file import open_regular
from model_checkpoint.utils.uncached import blocks_around_cache, is_unreadable, read_around_cache, way_around_cache


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 40_000)  # more than two blocks, and no whole number of pages
    return open_regular(path)


@pytest.mark.parametrize("way", ["direct", "auto"])
def test_any_range_is_read_exactly(file, way):
    """Wherever it begins and ends, aligned or not."""
    data = bytes(range(256)) * 40_000
    for begin, end in ((0, 8), (1, 2), (4095, 4097), (4096, 8192), (len(data) - 3, len(data)), (0, len(data)), (7, 7)):
        assert read_around_cache(file, end - begin, begin, way) == data[begin:end]
    assert b"".join(blocks_around_cache(file, way)) == data


def test_a_file_that_ends_early_is_damaged(file):
    """The reader is told, and gets nothing."""
    os.truncate(file.path, 5000)
    with pytest.raises(CorruptionError) as caught:
        read_around_cache(file, 6000, 0, "direct")
    assert (caught.value.path, caught.value.rule, caught.value.tensor) == (file.path, "length", None)


def test_where_direct_reads_are_refused_the_cache_is_dropped(file, monkeypatch):
    """A file system without O_DIRECT is read as it can be; the pages it has cached go first."""
    read_spans, dropped = _native.read_spans, []

    def refuse(*args, io, **kwargs):
        if io == "direct":
            raise StorageError("refused", errno=errno.EINVAL)
        return read_spans(*args, io=io, **kwargs)

    monkeypatch.setattr(_native, "read_spans", refuse)
    monkeypatch.setattr(_native, "drop_cache", lambda fd, path: dropped.append(path))
    assert way_around_cache(file) == "auto"
    assert dropped == [file.path]


def test_an_unreadable_beginning_does_not_hide_behind_the_cache(file, monkeypatch):
    """A device error is no refusal of O_DIRECT: the reader must meet it."""

    def fail(*args, **kwargs):
        raise StorageError("gone", errno=errno.EIO)

    monkeypatch.setattr(_native, "read_spans", fail)
    assert way_around_cache(file) == "direct"


@pytest.mark.parametrize(
    ("number", "unreadable"), [(errno.EIO, True), (errno.EUCLEAN, True), (errno.EACCES, False), (errno.ENOSPC, False)]
)
def test_damage_is_told_from_other_failures(number, unreadable):
    """What a device gave up is damage; a missing permission is not."""
    assert is_unreadable(StorageError("x", errno=number)) is unreadable
