"""How a file comes to be: whole or not at all, and what is refused before anything is written."""

from __future__ import annotations

import errno
import os
import stat
import subprocess

import numpy as np
import pytest
import torch

from model_checkpoint import _native
from model_checkpoint.errors import (
    CheckpointError,
    ConfigurationError,
    DiskFullError,
    FormatError,
    StorageError,
    UnsupportedStateError,
)
from model_checkpoint.storage.safetensors import batches, writer
from model_checkpoint.storage.safetensors.alias import Alias, View
from model_checkpoint.storage.safetensors.gather import gather
from model_checkpoint.storage.safetensors.layout import TensorSpec
from model_checkpoint.storage.safetensors.reader import load_file, open_file
from model_checkpoint.storage.safetensors.writer import prepare, save_file, write_file

is_root = os.geteuid() == 0
OLD = {"old": np.arange(4)}


def is_old(path):
    """Whether the file is the one saved first, and nothing else is in its directory."""
    return list(load_file(path, framework="numpy")) == ["old"] and [*path.parent.iterdir()] == [path]


def test_the_receipt_says_what_was_written(path):
    """Path, size, digest and duration are those of the file."""
    receipt = save_file(OLD, path)
    with open_file(path, framework="numpy") as file:
        assert file.keys() == ["old"]
    assert (receipt.path, receipt.nbytes) == (str(path), path.stat().st_size)
    assert receipt.digest == path.read_bytes()[41:105].decode()
    assert receipt.seconds > 0


def test_a_file_is_replaced_as_a_whole(path):
    """Whoever has the old file open keeps it; its permissions pass to the new one."""
    save_file(OLD, path)
    path.chmod(0o600)
    with path.open("rb") as old:
        save_file({"new": np.zeros(3)}, path)
        assert b'"old"' in old.read()
    assert list(load_file(path, framework="numpy")) == ["new"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [*path.parent.iterdir()] == [path]


def test_a_link_is_followed(path, tmp_path):
    """Saving to a symbolic link replaces what it points to, in the directory where that lies."""
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "elsewhere" / "real"
    path.symlink_to(real)
    save_file(OLD, path)
    assert path.is_symlink()
    assert [*real.parent.iterdir()] == [real]
    assert load_file(path, framework="numpy")["old"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("durable", [True, False])
def test_a_durable_save_syncs_the_file_before_and_the_directory_after_the_rename(path, monkeypatch, durable):
    """The order of the protocol: file, rename, directory; without durability only the rename."""
    steps = []
    sync_file, sync_directory, replace = _native.sync_file, _native.sync_directory, os.replace
    monkeypatch.setattr(_native, "sync_file", lambda *args: (steps.append("file"), sync_file(*args)))
    monkeypatch.setattr(_native, "sync_directory", lambda *args: (steps.append("directory"), sync_directory(*args)))
    monkeypatch.setattr(os, "replace", lambda *args, **at: (steps.append("rename"), replace(*args, **at)))
    save_file(OLD, path, durable=durable)
    assert steps == (["file", "rename", "directory"] if durable else ["rename"])


def fail(*args, **kwargs):
    raise StorageError("failed", errno=errno.EIO)


@pytest.mark.parametrize("step", ["write_segments", "sync_file"])
def test_a_failure_before_the_rename_leaves_the_old_file(path, monkeypatch, step):
    """An error of any step leaves the old file and no temporary one."""
    save_file(OLD, path)
    monkeypatch.setattr(_native, step, fail)
    with pytest.raises(StorageError):
        save_file({"new": np.zeros(9)}, path)
    monkeypatch.undo()
    assert is_old(path)


def test_an_interrupt_leaves_the_old_file(path, monkeypatch):
    """Ctrl-C in the middle of a save cleans up like an error."""
    save_file(OLD, path)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(_native, "write_segments", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_file({"new": np.zeros(9)}, path)
    monkeypatch.undo()
    assert is_old(path)


def test_a_header_that_a_reader_would_refuse_is_never_committed(path, monkeypatch):
    """The writer reads its own header before the rename: a wrong layout does not become a file."""
    save_file(OLD, path)
    plan = writer.plan

    def wrong(specs):
        layout = plan(specs)
        return type(layout)(layout.order, tuple(offset + 1 for offset in layout.offsets), layout.sizes, layout.nbytes)

    monkeypatch.setattr(writer, "plan", wrong)
    with pytest.raises(FormatError) as caught:
        save_file({"new": np.zeros(9)}, path)
    assert caught.value.rule == "coverage"
    monkeypatch.undo()
    assert is_old(path)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    if not is_root:
        pytest.skip("mounting needs root")
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mount)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no permission to mount")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_full_disk_leaves_the_old_file(small_disk):
    """Too large a save raises DiskFullError, removes its temporary file, and the next one that fits succeeds."""
    path = small_disk / "file"
    save_file(OLD, path)
    for size in (2_000_000, 1_048_000):
        with pytest.raises(DiskFullError) as caught:
            save_file({"new": np.zeros(size, np.uint8)}, path)
        assert caught.value.errno == errno.ENOSPC
        assert is_old(path)
    save_file({"new": np.zeros(900_000, np.uint8)}, path)
    assert load_file(path, framework="numpy")["new"].size == 900_000


def test_a_directory_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    """A read-only or missing directory, or a file in its place, raises StorageError and leaves nothing."""
    file = tmp_path / "plain"
    file.write_bytes(b"")
    wrong = [tmp_path / "missing" / "f", file / "f"]
    if is_root:
        wrong.append("/proc/self/f")  # root may write into read-only directories, but not here
    else:
        (tmp_path / "locked").mkdir(mode=0o500)
        wrong.append(tmp_path / "locked" / "f")
    for path in wrong:
        with pytest.raises(StorageError) as caught:
            save_file(OLD, path)
        assert caught.value.path is not None
        assert isinstance(caught.value, OSError)
    assert file.read_bytes() == b""


def test_what_is_no_regular_file_is_not_replaced(tmp_path):
    """A directory, a FIFO and a device stay what they are."""
    fifo, directory, device = tmp_path / "fifo", tmp_path / "directory", tmp_path / "null"
    os.mkfifo(fifo)
    directory.mkdir()
    kinds = {fifo: stat.S_IFIFO, directory: stat.S_IFDIR}
    if is_root:  # a node of its own: were the test to fail, the system's would be gone
        os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        kinds[device] = stat.S_IFCHR
    for path in (*kinds, ""):
        with pytest.raises(StorageError, match="regular"):
            save_file(OLD, path)
    assert {path: stat.S_IFMT(path.stat().st_mode) for path in tmp_path.iterdir()} == kinds


@pytest.mark.parametrize(
    "metadata",
    [{"mckpt.digest": "0"}, {"mckpt.": ""}, {"a": 1}, {1: "a"}, {"a": None}, {"a": "\ud800"}, {b"a": "b"}],
    ids=str,
)
def test_metadata_that_breaks_the_rules_is_refused(path, metadata):
    """Only text by text, and no key of the format's own."""
    with pytest.raises(ConfigurationError):
        save_file(OLD, path, metadata=metadata)
    assert not path.exists()


@pytest.mark.parametrize(
    "names",
    [
        [""],
        ["a\nb"],
        ["a\0"],
        ["\x7f"],
        ["\ud800"],
        ["__metadata__"],
        ["x" * 513],
        ["ä" * 257],
        ["\u00e9", "e\u0301"],
        [1],
        [None],
    ],
    ids=ascii,
)
def test_names_that_break_the_rules_are_refused(path, names):
    """Empty, long, unprintable, reserved and ambiguous names are refused before anything is written."""
    with pytest.raises(UnsupportedStateError):
        save_file({name: np.zeros(1) for name in names}, path)
    assert [*path.parent.iterdir()] == []


def test_names_are_never_paths(path, tmp_path):
    """Slashes and dots in names are just characters."""
    names = ["../../etc/passwd", "/abs", ".", "..", "a/b", "C:\\x", "x" * 512, "ä" * 256, "日本", '"quoted"', "a\\b"]
    save_file({name: np.full(1, index) for index, name in enumerate(names)}, path)
    assert list(load_file(path, framework="numpy")) == names
    assert [*tmp_path.iterdir()] == [path]


def test_a_header_beyond_the_limit_is_refused(path):
    """More metadata than other readers accept is an error before any byte is written."""
    with pytest.raises(ConfigurationError, match="100000000"):
        save_file({}, path, metadata={"a": "x" * 100_000_000})
    assert not path.exists()


def test_write_file_takes_buffers_and_creates_the_file_in_place(path):
    """The commit's way in: specs, buffers and aliases; the file must not exist."""
    specs = [TensorSpec("b", "U8", (3,)), TensorSpec("a", "F32", (2, 2))]
    data = [b"abc", np.arange(4, dtype=np.float32)]
    info = write_file(path, specs, data, metadata={"k": "v"}, aliases={"row": Alias("a", View((2,), (1,), 2))})
    assert (info.name, info.nbytes, info.kind) == (path.name, path.stat().st_size, "tensors")
    loaded = load_file(path, framework="numpy")
    assert loaded["b"].tobytes() == b"abc"
    assert loaded["row"].tolist() == [2, 3]
    with pytest.raises(StorageError) as caught:
        write_file(path, specs, data)
    assert caught.value.errno == errno.EEXIST


@pytest.mark.parametrize(
    ("specs", "aliases"),
    [
        ([TensorSpec("a", "F7", (1,))], {}),
        ([TensorSpec("a", "F4", (3,))], {}),
        ([TensorSpec("a", "U8", (-1,))], {}),
        ([TensorSpec("a", "U8", (1,) * 65)], {}),
        ([TensorSpec("a", "U8", (1,)), TensorSpec("a", "U8", (2,))], {}),
        ([TensorSpec("a", "U8", (1,))], {"b": Alias("c")}),
        ([TensorSpec("a", "U8", (1,))], {"a": Alias("a")}),
        ([TensorSpec("a", "U8", (1,))], {"b": Alias("a"), "c": Alias("b")}),
        ([TensorSpec("a", "U8", (1,))], {"b": Alias("a", View((2,), (1,), 0))}),
        ([TensorSpec("a", "U8", (1,))], {"b": Alias("a", View((1,), (1,), 1))}),
        ([TensorSpec("a", "F4", (4,))], {"b": Alias("a", View((2,), (1,), 0))}),
    ],
    ids=str,
)
def test_prepare_refuses_what_no_reader_would_accept(specs, aliases):
    """Specs and aliases are checked by the rules of the format."""
    with pytest.raises(UnsupportedStateError, match="rule"):
        prepare(specs, aliases=aliases)


def test_a_source_of_the_wrong_size_is_refused(path):
    """Buffers must be as large as their tensors, or the others would be shifted."""
    specs = [TensorSpec("a", "U8", (3,)), TensorSpec("b", "U8", (3,))]
    with pytest.raises(ConfigurationError, match="'a'"):
        write_file(path, specs, [b"ab", b"abcd"])


def test_a_snapshot_has_the_layout_of_the_file(path, tmp_path):
    """Bytes copied to an arena by their layout are written from it, and make the file that save_file makes."""
    base = torch.arange(64.0).reshape(8, 8)
    tensors = {
        "base": base,
        "tied": base,
        "t": torch.randn(5, 3).t(),
        "n": np.arange(5, dtype=">i4"),
        "reversed": np.arange(4)[::-1],
        "four": torch.zeros(4, 2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2).t(),
        "conj": torch.tensor([1 + 2j]).conj(),
        "empty": torch.empty(0),
        "scalar": torch.tensor(3, dtype=torch.uint16),
    }
    gathered = gather(tensors)
    prepared = prepare(gathered.specs, aliases=gathered.aliases)
    arena = _native.Arena(prepared.layout.nbytes + 4096)
    gathered.copy_to(arena, [4096 + offset for offset in prepared.layout.offsets])
    memory = memoryview(arena)[4096:]
    rows = zip(prepared.layout.offsets, prepared.layout.sizes, strict=True)
    info = prepared.write(path, [memory[offset : offset + size] for offset, size in rows])
    save_file(tensors, tmp_path / "direct")
    assert path.read_bytes() == (tmp_path / "direct").read_bytes()
    assert info.nbytes == prepared.nbytes


def test_copies_made_for_writing_are_held_in_batches(path, monkeypatch):
    """Tensors that must be copied first are copied a few at a time, and the file is the same as ever."""
    tensors = {f"t{index}": torch.randn(50, 7).t() for index in range(10)} | {"plain": torch.randn(3)}
    save_file(tensors, path)
    whole = path.read_bytes()
    monkeypatch.setattr(batches, "_MADE_BYTES", 3000)
    calls = []
    write_segments = _native.write_segments
    monkeypatch.setattr(
        _native, "write_segments", lambda *a, **k: (calls.append(len(a[2])), write_segments(*a, **k))[1]
    )
    save_file(tensors, path)
    assert path.read_bytes() == whole
    assert calls == [2, 2, 2, 2, 3]


def test_every_error_is_one_of_ours(path):
    """Nothing that a user can pass makes another exception than the package's."""
    for call in (
        lambda: save_file({"a": object()}, path),
        lambda: save_file(OLD, path.parent),
        lambda: load_file(path.parent / "missing"),
        lambda: load_file(path.parent),
    ):
        with pytest.raises(CheckpointError):
            call()
