"""Writing, reading and mapping files."""

from __future__ import annotations

import errno
import os
import random
import subprocess
from pathlib import Path

import numpy as np
import pytest

from model_checkpoint import _native
from model_checkpoint.errors import CorruptionError, DiskFullError, StorageError

IO_MODES = ("auto", "direct", "buffered")


@pytest.mark.parametrize("check", ["sha256", "crc32c", "none"])
@pytest.mark.parametrize("io", IO_MODES)
@pytest.mark.parametrize("is_cached", [True, False])
def test_tensors_come_back_as_they_were(tensor_file, io, check, is_cached):
    """Whatever the way of reading, the bytes are the same."""
    if not is_cached:
        _native.sync_file(tensor_file.fd, tensor_file.path)
        _native.drop_cache(tensor_file.fd, tensor_file.path)
    assert list(tensor_file.tensors) == tensor_file.read(io=io, check=check)


@pytest.mark.parametrize("io", IO_MODES)
def test_segments_are_written_back_to_back(tmp_path, tensor_file, io):
    """Whatever the way of writing, the file and its table are the same."""
    path = tmp_path / "other"
    with path.open("wb") as file:
        result = _native.write_segments(
            file.fileno(), str(path), tensor_file.tensors, tensor_file.names, data_offset=4096, io=io
        )
    assert b"".join(tensor_file.tensors) == path.read_bytes()[4096:]
    assert tensor_file.table == result.table
    assert sum(tensor_file.lengths) == result.nbytes
    assert (io == "direct") <= result.direct <= (io != "buffered")


def test_bytes_are_counted_by_the_way_they_came(tensor_file):
    """Bytes are counted as direct or buffered, each once."""
    arguments = (tensor_file.fd, tensor_file.path, tensor_file.offsets, tensor_file.lengths, None, tensor_file.names)
    options = {"table": tensor_file.table, "first_chunks": tensor_file.first_chunks}
    direct = _native.read_spans(*arguments, io="direct", **options)
    buffered = _native.read_spans(*arguments, io="buffered", **options)
    total = sum(tensor_file.lengths)
    assert (total, 0) == (direct.direct_bytes, direct.buffered_bytes)
    assert (0, total) == (buffered.direct_bytes, buffered.buffered_bytes)


def test_the_environment_says_how_to_read_and_write(tmp_path, tensor_file, monkeypatch):
    """MCKPT_IO stands in for auto, and for nothing else."""
    arguments = (tensor_file.fd, tensor_file.path, tensor_file.offsets, tensor_file.lengths, None, tensor_file.names)
    monkeypatch.setenv("MCKPT_IO", "direct")
    assert _native.read_spans(*arguments, check="none").buffered_bytes == 0
    assert _native.read_spans(*arguments, check="none", io="buffered").direct_bytes == 0
    monkeypatch.setenv("MCKPT_IO", "buffered")
    with (tmp_path / "other").open("wb") as file:
        written = _native.write_segments(
            file.fileno(), "other", tensor_file.tensors, tensor_file.names, data_offset=4096
        )
    assert not written.direct


def test_an_unknown_way_in_the_environment_is_refused(tensor_file, monkeypatch):
    """The message names the variable and its values."""
    monkeypatch.setenv("MCKPT_IO", "fast")
    with pytest.raises(ValueError, match="MCKPT_IO must be 'auto', 'direct' or 'buffered', not 'fast'"):
        tensor_file.read(check="none")


def test_a_hundred_thousand_tensors_are_no_trouble(tmp_path):
    """Very many very small tensors are written and read in one call each."""
    count = 100_000
    values = np.arange(count, dtype=np.uint64)
    buffers = [memoryview(values.view(np.uint8)).cast("B")[i * 8 : i * 8 + 8] for i in range(count)]
    names = [str(i) for i in range(count)]
    path = tmp_path / "many"
    with path.open("w+b") as file:
        written = _native.write_segments(file.fileno(), str(path), buffers, names, data_offset=4096)
        read = np.zeros_like(values)
        view = memoryview(read.view(np.uint8)).cast("B")
        _native.read_spans(
            file.fileno(),
            str(path),
            range(4096, 4096 + count * 8, 8),
            [8] * count,
            [view[i * 8 : i * 8 + 8] for i in range(count)],
            names,
            table=written.table,
            first_chunks=range(count),
        )
    assert (values == read).all()


@pytest.mark.parametrize("check", ["sha256", "crc32c"])
def test_a_changed_byte_is_reported_with_its_place(tensor_file, check):
    """A wrong chunk names file, tensor, offset and rule."""
    tensor_file.flip(tensor_file.offsets[0] + 2**20 + 5)
    with pytest.raises(CorruptionError) as caught:
        tensor_file.read(check=check)
    error = caught.value
    expected = (tensor_file.path, "tensor.0", tensor_file.offsets[0] + 2**20, "digest")
    assert expected == (error.path, error.tensor, error.offset, error.rule)
    tensor_file.read(check="none")


def test_a_file_that_ends_early_is_reported_with_its_end(tensor_file):
    """A missing byte names file, tensor, offset and rule."""
    os.ftruncate(tensor_file.fd, tensor_file.size - 1)
    with pytest.raises(CorruptionError) as caught:
        tensor_file.read()
    error = caught.value
    expected = (tensor_file.path, tensor_file.names[-1], tensor_file.size - 1, "length")
    assert expected == (error.path, error.tensor, error.offset, error.rule)
    with pytest.raises(CorruptionError, match="length"):
        _native.map_file(tensor_file.fd, tensor_file.path, tensor_file.size)


def test_a_failed_system_call_is_a_storage_error(tensor_file):
    """The system's error number, the file, the tensor and the offset are attributes."""
    fd = os.open(tensor_file.path, os.O_WRONLY)
    try:
        with pytest.raises(StorageError) as caught:
            _native.read_spans(fd, tensor_file.path, [8192], [10], [bytearray(10)], ["w"], check="none", io="buffered")
    finally:
        os.close(fd)
    error = caught.value
    assert (errno.EBADF, tensor_file.path, "w", 8192) == (error.errno, error.path, error.tensor, error.offset)


def test_a_full_disk_is_found_before_any_byte_is_written(tmp_path):
    """No space is a DiskFullError, and the file stays as it was."""
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True, check=False
    )
    if mount.returncode != 0:
        pytest.skip("a file system can only be mounted by root")
    try:
        path = tmp_path / "file"
        with path.open("wb") as file, pytest.raises(DiskFullError) as caught:
            _native.write_segments(file.fileno(), str(path), [bytes(2**21)], ["w"], data_offset=4096)
        assert (errno.ENOSPC, str(path)) == (caught.value.errno, caught.value.path)
        assert path.read_bytes() == b""
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_arguments_that_do_not_fit_are_refused(tensor_file):
    """Sequences of unequal length, short destinations and tables, unknown modes: ValueError, before any work."""
    fd, path = tensor_file.fd, tensor_file.path
    read = [
        {"lengths": [1, 2]},
        {"names": []},
        {"dests": []},
        {"dests": [bytearray(2)]},
        {"first_chunks": [0, 1]},
        {"first_chunks": [10**6]},
        {"table": None},
        {"check": "md5"},
        {"io": "magic"},
        {"offsets": [2**63]},
    ]
    fitting = {"offsets": [4096], "lengths": [1], "dests": None, "names": ["w"], "check": "sha256", "io": "auto"}
    fitting |= {"table": tensor_file.table, "first_chunks": [0]}
    for wrong in read:
        with pytest.raises(ValueError, match=r"."):
            _native.read_spans(fd, path, **fitting | wrong)
    with pytest.raises(ValueError, match="names"):
        _native.write_segments(fd, path, [b"1"], [], data_offset=4096)
    with pytest.raises(ValueError, match="page"):
        _native.write_segments(fd, path, [b"1"], ["w"], data_offset=1, io="direct")
    with pytest.raises(TypeError):
        _native.read_spans(fd, path, **fitting | {"offsets": [0.5]})
    with pytest.raises(OverflowError):
        _native.read_spans(fd, path, **fitting | {"offsets": [-1]})
    with pytest.raises((BufferError, TypeError)):
        _native.read_spans(fd, path, **fitting | {"dests": [b"1"]})


def test_a_mapping_is_verified_in_place(tensor_file):
    """An intact mapping passes, a changed one does not."""
    mapping = _native.map_file(tensor_file.fd, tensor_file.path, tensor_file.size)
    tensor_file.verify(mapping)
    tensor_file.verify(mapping, check="crc32c")
    memoryview(mapping)[tensor_file.offsets[4]] ^= 1
    with pytest.raises(CorruptionError) as caught:
        tensor_file.verify(mapping)
    assert ("tensor.4", tensor_file.offsets[4]) == (caught.value.tensor, caught.value.offset)


def test_a_mappings_view_outlives_everything_else(tensor_file):
    """A view keeps the mapping when its object, its descriptor and its file's name are gone."""
    fd = os.open(tensor_file.path, os.O_RDONLY)
    mapping = _native.map_file(fd, tensor_file.path, tensor_file.size)
    os.close(fd)
    os.unlink(tensor_file.path)
    view = np.frombuffer(mapping, np.uint8)[tensor_file.offsets[0] :][: tensor_file.lengths[0]]
    del mapping
    assert tensor_file.tensors[0] == view.tobytes()


def test_writes_to_a_mapping_stay_private(tensor_file):
    """What is written through a view never reaches the file."""
    mapping = _native.map_file(tensor_file.fd, tensor_file.path, tensor_file.size)
    assert tensor_file.size == len(mapping)
    np.frombuffer(mapping, np.uint8)[:] = 0
    assert list(tensor_file.tensors) == tensor_file.read()


def test_an_empty_mapping_has_an_empty_view(tensor_file):
    """A mapping of no bytes is no special case."""
    mapping = _native.map_file(tensor_file.fd, tensor_file.path, 0)
    assert bytes(mapping) == b""


def test_an_existing_target_is_never_replaced(tmp_path):
    """A rename onto an existing name raises FileExistsError and changes nothing."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"new")
    target.write_bytes(b"old")
    with pytest.raises(FileExistsError) as caught:
        _native.rename_noreplace(str(source), str(target))
    assert (errno.EEXIST, str(target)) == (caught.value.errno, caught.value.filename)
    assert (source.read_bytes(), target.read_bytes()) == (b"new", b"old")
    target.unlink()
    assert _native.rename_noreplace(str(source), str(target)) in (True, False)
    assert target.read_bytes() == b"new"
    _native.sync_directory(str(tmp_path))


def test_a_missing_source_is_a_storage_error(tmp_path):
    """A rename of nothing names the source, and a sync of nothing the directory."""
    missing = str(tmp_path / "missing")
    with pytest.raises(StorageError) as caught:
        _native.rename_noreplace(missing, str(tmp_path / "target"))
    assert (errno.ENOENT, missing) == (caught.value.errno, caught.value.path)
    with pytest.raises(StorageError) as caught:
        _native.sync_directory(missing)
    assert (errno.ENOENT, missing) == (caught.value.errno, caught.value.path)


def test_paths_may_hold_bytes_that_are_no_text(tmp_path):
    """A path with undecodable bytes works, and comes back in errors as Python spells it."""
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    Path(path).mkdir()
    _native.sync_directory(path)
    with pytest.raises(StorageError) as caught:
        _native.sync_directory(path + "/missing")
    assert path + "/missing" == caught.value.path


def test_results_come_from_the_core_only():
    """Python cannot make up a result or a mapping."""
    for cls in (_native.Mapping, _native.ReadResult, _native.WriteResult):
        with pytest.raises(TypeError):
            cls()


def test_spans_may_come_in_any_order_and_overlap(tensor_file):
    """Shuffled and repeated spans read as sorted ones do."""
    order = list(range(len(tensor_file.lengths))) * 2
    random.Random(0).shuffle(order)
    dests = [bytearray(tensor_file.lengths[i]) for i in order]
    _native.read_spans(
        tensor_file.fd,
        tensor_file.path,
        [tensor_file.offsets[i] for i in order],
        [tensor_file.lengths[i] for i in order],
        dests,
        [tensor_file.names[i] for i in order],
        table=tensor_file.table,
        first_chunks=[tensor_file.first_chunks[i] for i in order],
    )
    assert [tensor_file.tensors[i] for i in order] == dests
