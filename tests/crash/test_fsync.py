"""fsync that fails: once is for ever, whatever it says the next time.

After a failed fsync the kernel forgets the pages that it could not write, so that the next fsync of the file succeeds,
and reading it through the page cache shows what was written, not what the disk has.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import errno
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import model_checkpoint as mc
from tests.harness import faults, loop_image
from tests.harness.loop_image import EXT4
from tests.harness.nursery import Nursery

pytestmark = pytest.mark.crash

REPOSITORY = Path(__file__).parents[2]
CORE = REPOSITORY / "cpp" / "src"
PACKAGE = REPOSITORY / "python" / "model_checkpoint"


# --- injected ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(faults.unavailable() is not None, reason=str(faults.unavailable()))
def test_a_sync_that_fails_once_is_never_repeated_and_never_acknowledged(memory_path, trials, evidence):
    """Every fsync of every way to save, with every errno that it has: the save fails, and that file stays unsynced."""
    base, stride = str(memory_path), trials(ci=7, proof=1, full=1)
    with Nursery(LD_PRELOAD=faults.library()) as nursery:
        found = nursery.ask("tests.harness.faults_trial", "sweep_syncs", base=base, stride=stride, timeout_s=3600)
    evidence(
        threat="an fsync that fails with EIO, ENOSPC, EDQUOT or EINTR, at every fsync of a save",
        promise="The save is not acknowledged, and the file is not synced again, for that would succeed.",
        trials=found["trials"],
        unit="failed syncs",
        violations=len(found["problems"]),
    )
    assert found["problems"] == []
    assert found["raised"] == found["trials"] >= 20


# --- real -------------------------------------------------------------------------------------------------------------

MIB = 1024 * 1024
IMAGE_BYTES, DISK_BYTES = 128 * MIB, 24 * MIB  # what the file system believes to have, and what there is


@pytest.fixture
def workshop() -> Iterator[Path]:
    """Where images can be made and mounted."""
    reason = loop_image.unavailable(EXT4)
    if reason is not None:
        pytest.skip(reason)
    with loop_image.workshop() as directory:
        yield directory


@contextlib.contextmanager
def overcommitted(directory: Path) -> Iterator[Path]:
    """An ext4 file system that promises more than the disk below it has: writes succeed, and fsync fails."""
    disk = directory / "disk"
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", disk], check=True)
    try:
        image = loop_image.make(disk / "image", dataclasses.replace(EXT4, nbytes=IMAGE_BYTES))
        with loop_image.mounted(image, directory / "mnt") as point:
            yield point
    finally:
        subprocess.run(["umount", disk], check=True)


def state(seed: int, mebibytes: int) -> dict[str, np.ndarray]:
    return {"weight": np.random.default_rng(seed % 2**32).integers(0, 256, mebibytes * MIB, np.uint8)}


def drop_caches() -> None:
    """Forget all clean pages, so that what is read next comes from the disk."""
    Path("/proc/sys/vm/drop_caches").write_text("3")


def survives(directory: Path, expected: dict[str, np.ndarray]) -> bool:
    drop_caches()
    try:
        return np.array_equal(mc.load(directory)["weight"], expected["weight"])
    except mc.CheckpointError:
        return False


@pytest.mark.parametrize("way", ["buffered", "direct"])
def test_a_save_on_a_disk_that_cannot_keep_it_is_never_acknowledged(way, workshop, monkeypatch, trials, evidence):
    """What is acknowledged is on the disk, bit for bit; what does not fit is refused; what was there stays readable."""
    monkeypatch.setenv("MCKPT_IO", way)
    rounds = trials(ci=2, proof=10, full=100)
    told: list[int | None] = []
    acknowledged = violations = 0
    for number in range(rounds):
        mebibytes = 2 + number % 18 if number % 2 else 21 + number % 8  # what fits is about 19
        old, new = state(number, 4), state(~number, mebibytes)
        with overcommitted(workshop) as point:
            mc.save(old, point / "old")
            try:
                mc.save(new, point / "new")
            except mc.StorageError as error:
                told.append(error.errno)
                violations += (point / "new").exists() and not survives(point / "new", new)  # half of one is in sight
            else:
                acknowledged += 1
                violations += not survives(point / "new", new)
            violations += not survives(point / "old", old)
    evidence(
        threat=f"a disk that accepts writes and cannot keep them (a sparse ext4 image on a full tmpfs, {way} writes)",
        promise="No save is acknowledged unless its bytes come back from the disk, and older checkpoints are readable.",
        trials=rounds,
        unit="saves",
        violations=violations,
        detail=f"{len(told)} refused, {acknowledged} acknowledged and read back from the disk",
    )
    assert violations == 0
    assert len(told) > 0
    assert acknowledged > 0
    assert set(told) <= {errno.EIO, errno.ENOSPC, errno.EROFS}


# --- read in the source -----------------------------------------------------------------------------------------------


def calls_in_loops(tree: ast.AST, names: frozenset[str]) -> Iterator[int]:
    """Lines of calls of these names that are inside of a loop or of an exception's handler."""
    for outer in ast.walk(tree):
        if isinstance(outer, ast.While | ast.For | ast.ExceptHandler):
            for inner in ast.walk(outer):
                if isinstance(inner, ast.Call) and getattr(inner.func, "attr", getattr(inner.func, "id", "")) in names:
                    yield inner.lineno


SYNCS = frozenset({"fsync", "fdatasync", "sync_file", "sync", "syncfs", "sync_file_range"})


def test_no_file_is_synced_in_a_loop():
    """Neither in a loop nor where an error is handled: there is no way to sync the same file again."""
    found = {
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in PACKAGE.rglob("*.py")
        for line in calls_in_loops(ast.parse(path.read_text(encoding="utf-8")), SYNCS)
    }
    assert found == set()


def test_the_core_syncs_in_two_places_and_in_no_loop():
    """`sync_file` and `sync_directory` call fsync once, and nothing else in the core does."""
    places = {
        f"{path.relative_to(CORE)}: {line.strip()}"
        for path in CORE.rglob("*.cpp")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"\b(f|fdata)?sync(fs)?\(", line.partition("//")[0])
    }
    assert places == {
        "io/directory.cpp: const int error = fsync(fd) == 0 ? 0 : errno;",
        'io/file.cpp: if (fsync(file.fd) != 0) throw_system_error("cannot sync the file", file.path, errno);',
    }


def test_a_loop_around_a_sync_would_be_found():
    """The reader of the source finds what it looks for."""
    source = "while True:\n    try:\n        os.fsync(fd)\n    except OSError:\n        _native.sync_file(fd, path)\n"
    assert sorted(calls_in_loops(ast.parse(source), SYNCS)) == [3, 5, 5]
