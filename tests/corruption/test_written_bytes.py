"""What happens to bytes between their hash and the disk, and on the disk before anybody reads them."""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
from pathlib import Path

import numpy as np
import pytest

import model_checkpoint as mc
from model_checkpoint import _native
from tests.harness import flips, loop_image
from tests.harness.extents import device_offset
from tests.harness.loop_image import EXT4

pytestmark = pytest.mark.corruption

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """What changes a bit of a written buffer."""
    built = flips.build(tmp_path_factory.mktemp("flips"))
    if built is None:
        pytest.skip("a C compiler is missing (Debian: gcc)")
    return built


def test_flips_after_hashing_are_caught_before_the_commit(library, trials, evidence):
    """With verify_writes, nothing of such a save is ever visible, and the error names the file."""
    outcomes = flips.flipped_saves(library, trials(ci=5, proof=100, full=1_000), verify_writes=True)
    assert [outcome.place for outcome in outcomes] == list(flips.PLACES)
    for outcome in outcomes:
        assert outcome.flipped == outcome.tried
        assert outcome.caught == outcome.tried, outcome
        evidence(
            threat=f"a bit of the {outcome.place} flipped after it was hashed, on its way to the disk",
            promise="With verify_writes, the save fails before anything of it is visible, and names the file.",
            trials=outcome.tried,
            unit="saves",
            violations=outcome.tried - outcome.caught,
        )


def test_without_reading_back_such_flips_are_caught_by_the_first_reader(library):
    """The checkpoint is there, and does not load: the flips are real, and nothing that is damaged is returned."""
    for outcome in flips.flipped_saves(library, 3, verify_writes=False):
        assert (outcome.flipped, outcome.caught, outcome.loadable) == (3, 0, 0)


# --- a page cache that is right, on a device that is wrong ------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    """An ext4 file system, and the file that is its device."""
    reason = loop_image.unavailable(EXT4)
    if reason is not None:
        pytest.skip(reason)
    with loop_image.workshop() as directory:
        image = loop_image.make(directory / "disk.img", EXT4)
        with loop_image.mounted(image, directory / "mnt") as point:
            yield point, image
            gc.collect()  # files that tracebacks still hold open would keep it from being unmounted


@pytest.fixture
def cached(monkeypatch):
    """Tensors are written and read through the page cache, unless somebody insists on the device."""
    write_segments, read_spans = _native.write_segments, _native.read_spans

    def write(*args, **kwargs):
        return write_segments(*args, io="buffered", **kwargs)

    def read(*args, io="auto", **kwargs):
        return read_spans(*args, io="buffered" if io == "auto" else io, **kwargs)

    monkeypatch.setattr(_native, "write_segments", write)
    monkeypatch.setattr(_native, "read_spans", read)


@pytest.fixture
def spoil(disk):
    """Changes a byte of a file on the device only. A mapping keeps its page in the cache, where it is as it was."""
    image, kept = disk[1], contextlib.ExitStack()

    def change(path, offset):
        with open(path, "rb", buffering=0) as file, open(image, "r+b", buffering=0) as device:
            mapping = kept.enter_context(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
            before, place = mapping[offset], device_offset(file.fileno(), offset)
            assert os.pread(device.fileno(), 1, place) == bytes([before]), "this is not where the byte lies"
            os.pwrite(device.fileno(), bytes([before ^ 1]), place)
            assert os.pread(file.fileno(), 1, offset) == bytes([before])  # the cache is right

    with kept:
        yield change


def state():
    return {"model": {"w": np.arange(MIB // 4, dtype=np.float32), "b": np.ones(3)}}


@pytest.mark.parametrize(
    ("name", "offset"),
    [("model.safetensors", 4096 + 70_000), ("model.safetensors", 300), ("config.json", 3), ("manifest.json", 200)],
)
def test_writes_are_read_back_from_the_device_and_not_from_the_cache(disk, cached, monkeypatch, name, offset, spoil):
    """Even where a mapping keeps the right bytes in the cache, the wrong ones on the device are found."""
    point, _ = disk
    sync_directory, spoilt = _native.sync_directory, []

    def rot(directory):
        sync_directory(directory)
        path = Path(directory) / name
        if path.exists() and not spoilt:
            spoil(path, offset)
            spoilt.append(path)

    monkeypatch.setattr(_native, "sync_directory", rot)
    with pytest.raises(mc.IntegrityError) as caught:
        mc.save(state(), point / "c", files={"config.json": b"{  }"}, strict=True)
    assert caught.value.path.endswith(name)
    assert not (point / "c").exists()
    assert spoilt


def test_a_scrub_reads_the_device_and_not_the_cache(disk, cached, spoil):
    """What a reader of the cache calls sound, and what the next boot would find damaged, a scrub finds today."""
    point, _ = disk
    with mc.CheckpointManager(point / "runs", progress=False) as ckpts:
        ckpts.track(**state())
        info = ckpts.save(1, files={"config.json": b"{  }"}, block=True).result()
        directory = point / "runs" / info.path
        spoil(directory / "model.safetensors", 4096 + 70_000)
        spoil(directory / "config.json", 3)
        mc.verify(directory)  # finds nothing: all of it comes from the cache
        report = ckpts.scrub()
    assert [(damage.file, damage.tensor, damage.chunk) for damage in report.left] == [
        ("config.json", None, None),
        ("model.safetensors", "w", 0),
    ]
