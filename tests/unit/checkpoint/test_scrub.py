"""Scrubbing real stores whose files were damaged on purpose."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import model_checkpoint as mc
from model_checkpoint import _native
from model_checkpoint.checkpoint import scrub as scrubs
from model_checkpoint.checkpoint.scrub import Scrubber
from model_checkpoint.checkpoint.scrub_due import Due, due
from model_checkpoint.checkpoint.scrub_journal import read_journal
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.errors import CheckpointNotFoundError, ConfigurationError, StorageError
from model_checkpoint.events import CheckpointDamaged, CheckpointVerified
from model_checkpoint.storage import manifest as manifests
from model_checkpoint.storage.annotations import read_annotation
from model_checkpoint.types import CheckpointState
from model_checkpoint.utils.clock import utc_now
from tests.harness.damage import chunks_of, flip, patched

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Three checkpoints of 4.5 MB in two files and a blob: of `frozen`, all have the same bytes, of `model` none."""
    root = tmp_path_factory.mktemp("scrub") / "runs"
    rng = np.random.default_rng(1)
    model = {"w": rng.integers(0, 256, 2 * MIB + 5000, np.uint8), "b": rng.random(100)}
    frozen = {"e": rng.integers(0, 256, 2 * MIB + 100, np.uint8)}
    with mc.CheckpointManager(root, experiment="exp", progress=False) as ckpts:
        ckpts.track(model=model, frozen=frozen)
        for step in range(3):
            model["w"] += 1
            model["b"] += 1
            ckpts.save(step, files={"config.json": b'{"step": %d}' % step}, block=True)
    return root


@pytest.fixture
def root(template, tmp_path):
    return Path(shutil.copytree(template, tmp_path / "runs"))


@pytest.fixture
def backup(template, tmp_path):
    """A sound copy of the whole store."""
    return Path(shutil.copytree(template, tmp_path / "backup"))


def place(root, step):
    (found,) = (root / "exp").glob(f"step-{step:08d}-*")
    return found


def contents(root):
    """The files of all checkpoints."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.glob("exp/step-*/*") if not p.is_symlink()}


def identity(root):
    """What changes when a file is written or replaced."""
    return {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in root.glob("exp/step-*/*")}


def verified(root, step):
    with mc.CheckpointManager(root, experiment="exp", progress=False) as ckpts:
        return ckpts.info(step).verified_at


def size_of(root, step):
    return sum(file.stat().st_size for file in place(root, step).iterdir() if file.name != "manifest.json")


# --- what is sound ----------------------------------------------------------------------------------------------------


def test_all_bytes_are_read_and_the_time_is_kept(root):
    """The report adds up, the time is that of the first byte, and a rebuilt catalog still has it."""
    before = utc_now()
    report = mc.scrub(root)
    assert (report.checked, report.remaining, report.damaged, report.skipped) == (3, 0, (), ())
    assert report.nbytes == sum(size_of(root, step) for step in range(3))
    assert report.seconds > 0
    times = [verified(root, step) for step in range(3)]
    assert before < times[0] < times[1] < times[2] < utc_now()
    mc.reindex(root)
    assert [verified(root, step) for step in range(3)] == times


def test_the_one_longest_not_verified_is_read_first(root):
    """And none that was verified lately enough."""
    with mc.CheckpointManager(root, experiment="exp", progress=False) as ckpts:
        ckpts.verify(1)
        ckpts.verify(0)
        seen = []
        ckpts._emit = lambda event: seen.append(event.checkpoint.step) if isinstance(event, CheckpointVerified) else 0
        ckpts.scrub()
        assert seen == [2, 1, 0]
        assert ckpts.scrub(older_than_s=3600).checked == 0
        assert ckpts.scrub(older_than_s=1e-9).checked == 3


def test_named_ones_are_read_alone(root):
    """By any reference, each once; an unknown one is an error."""
    assert mc.scrub(root, "exp:latest", "exp:2", "exp:0").checked == 2
    assert verified(root, 1) is None
    with pytest.raises(CheckpointNotFoundError):
        mc.scrub(root, "exp:77")


@pytest.mark.parametrize("limit", ["bytes_per_s", "within_s", "older_than_s"])
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_limits_must_make_sense(root, limit, value):
    """Zero, negative and endless limits are mistakes."""
    with pytest.raises(ConfigurationError, match=limit):
        mc.scrub(root, **{limit: value})


def test_a_source_of_copies_must_exist(root):
    """A mistyped directory is no empty one."""
    with pytest.raises(CheckpointNotFoundError, match="nowhere"):
        mc.scrub(root, copies=[root / "nowhere"])


def test_what_is_removed_meanwhile_is_skipped(root):
    """Between listing and reading, or in the middle of it where locks do nothing."""
    with Workspace.open(root) as workspace:
        todo = due(workspace)
        shutil.rmtree(place(root, 0))
        scrubber = Scrubber(workspace, emit=lambda _: None, advance=lambda _: shutil.rmtree(gone, ignore_errors=True))
        gone = place(root, 1)
        report = scrubber.run(todo)
    assert (report.checked, len(report.skipped), report.damaged, report.remaining) == (1, 2, (), 0)


def test_while_it_is_read_nobody_removes_it(root):
    """A scrub holds the lease that every reader holds."""
    refused = []

    def remove(_):
        with pytest.raises(mc.CheckpointInUseError):
            workspace.store.delete(todo.checkpoints[0])
        refused.append(True)

    with Workspace.open(root) as workspace:
        todo = Due(due(workspace).checkpoints[:1])
        assert Scrubber(workspace, emit=lambda _: None, advance=remove).run(todo).checked == 1
    assert refused


# --- interruptions ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(scrubs, "_PIECE_BYTES", MIB)


@pytest.mark.parametrize("pieces", range(1, 9))
def test_after_an_interruption_it_goes_on_where_it_was(root, small_pieces, pieces):
    """What was read is not read again; and the time is that of the first byte."""
    with Workspace.open(root) as workspace:
        calls = itertools.count(1)

        def interrupt(_):
            if next(calls) > pieces + 2:  # two calls say that nothing was left out before
                raise KeyboardInterrupt

        scrubber = Scrubber(workspace, emit=lambda _: None, advance=interrupt)
        with pytest.raises(KeyboardInterrupt):
            scrubber.run(due(workspace))
    first, middle = scrubber.report, utc_now()
    assert first.checked == 0
    second = mc.scrub(root)
    total = sum(size_of(root, step) for step in range(3))
    headers = 2 * 4096
    assert total - first.nbytes <= second.nbytes <= total - first.nbytes + headers + MIB
    assert second.checked == 3
    assert verified(root, 0) < middle < verified(root, 1)


def test_a_killed_scrub_goes_on_where_it_was(root):
    """SIGKILL in the middle of a checkpoint costs a piece."""
    command = [sys.executable, "-m", "model_checkpoint.cli", "-C", str(root), "scrub", "--rate", "2MB/s"]
    journal = root / ".scrub.json"
    with subprocess.Popen(command) as process:
        offset, deadline = 0, time.monotonic() + 60
        while offset < MIB and time.monotonic() < deadline:
            time.sleep(0.01)
            with contextlib.suppress(FileNotFoundError):
                offset = (json.loads(journal.read_text())["position"] or {"offset": 0})["offset"]
        process.kill()
    assert process.returncode == -signal.SIGKILL
    report = mc.scrub(root)
    assert report.checked == 3
    assert report.nbytes <= sum(size_of(root, step) for step in range(3)) - MIB + 4096


def test_what_was_verified_since_is_read_anew(root, small_pieces):
    """A position that a killed scrub has left does not outlive a verification: all is due again then."""
    while not (position := read_journal(str(root)).position) or position.offset < MIB:
        mc.scrub(root, within_s=1e-9)
    left = (root / ".scrub.json").read_bytes()
    mc.scrub(root)
    (root / ".scrub.json").write_bytes(left)
    assert mc.scrub(root).nbytes == sum(size_of(root, step) for step in range(3))


def test_with_little_time_each_scrub_comes_a_little_further(root, small_pieces):
    """However short the time, all is read in the end, and each byte about once."""
    read, runs = 0, 0
    while True:
        report = mc.scrub(root, within_s=1e-9, older_than_s=3600)
        read, runs = read + report.nbytes, runs + 1
        if not report.remaining:
            break
        assert runs < 100
    assert runs > 10
    assert all(verified(root, step) for step in range(3))
    assert read < sum(size_of(root, step) for step in range(3)) + runs * 2 * 4096


def test_a_damaged_checkpoint_does_not_keep_others_from_their_turn(root, small_pieces):
    """With little time, one that cannot be repaired is looked at once in a round like all others."""
    flip(place(root, 0) / "model.safetensors", 9000)
    found = []
    for _ in range(100):
        report = mc.scrub(root, within_s=1e-9, repair=True)
        found.extend(report.damaged)
        if verified(root, 1) and verified(root, 2):
            break
    assert verified(root, 1)
    assert verified(root, 2)
    assert verified(root, 0) is None
    assert [damage.tensor for damage in found if damage.tensor] == ["w"]
    (again,) = mc.scrub(root).left
    assert again.tensor == "w"


def test_a_damaged_file_is_repaired_however_little_time_there_is(root, backup, small_pieces):
    """It is read to its end: what was found only later could keep it from being repaired, each time anew."""
    good, path = contents(root), place(root, 0) / "model.safetensors"
    first, *_, last = chunks_of(path)
    flip(path, first.offset)
    flip(path, last.offset)
    found = []
    while not verified(root, 0):
        report = mc.scrub(root, within_s=1e-9, copies=[backup], repair=True)
        assert report.left == ()
        found.extend(report.repaired)
    assert len(found) == 2
    assert contents(root) == good


def test_damage_that_an_earlier_scrub_found_is_not_forgotten(root, small_pieces):
    """Who reads only the rest of a checkpoint still says that it is not sound."""
    flip(place(root, 0) / "frozen.safetensors", 9000)
    flip(place(root, 1) / "frozen.safetensors", 9000)
    flip(place(root, 2) / "frozen.safetensors", 9000)
    damage = next(found for _ in range(9) for found in mc.scrub(root, within_s=1e-9).left)
    assert damage.file == "frozen.safetensors"
    report = mc.scrub(root)
    mine = [found for found in report.left if found.ref == damage.ref]
    assert [(found.file, found.message) for found in mine] == [
        ("", "an earlier scrub, which did not read all of it, found damage")
    ]
    (named,) = mc.scrub(root, damage.ref).left
    assert (named.file, named.tensor, named.chunk) == ("frozen.safetensors", "e", 0)


# --- damage -----------------------------------------------------------------------------------------------------------


def test_damage_is_named_and_told(root):
    """File, tensor, chunk and bytes; the checkpoint does not count as verified any more, the others do."""
    mc.scrub(root)
    path = place(root, 1) / "model.safetensors"
    chunk = next(c for c in chunks_of(path) if c.tensor == "w" and c.index == 2)
    flip(path, chunk.offset + 7)
    events = []

    class Sink:
        def emit(self, event):
            events.append(event)

    with mc.CheckpointManager(root, experiment="exp", progress=False, sinks=[Sink()]) as ckpts:
        report = ckpts.scrub()
        ref = ckpts.info(1).ref
    (damage,) = report.damaged
    assert (damage.ref, damage.file) == (ref, "model.safetensors")
    assert (damage.tensor, damage.chunk, damage.offset, damage.nbytes) == ("w", 2, chunk.offset, chunk.nbytes)
    assert (damage.copy, damage.repaired) == (None, False)
    assert report.left == (damage,)
    assert report.repaired == ()
    assert report.checked == 3
    assert verified(root, 1) is None
    assert verified(root, 0) is not None
    (event,) = [event for event in events if isinstance(event, CheckpointDamaged)]
    assert event == CheckpointDamaged(ref, str(damage), repaired=False)
    assert f"tensor w, chunk 2, {chunk.nbytes:,} bytes at {chunk.offset}: differs from its digest; no good" in str(
        damage
    )


def test_without_repair_nothing_changes(root, backup):
    """It is said what could be repaired, and from where."""
    flip(place(root, 1) / "model.safetensors", 9000)
    before, files = contents(root), identity(root)
    (damage,) = mc.scrub(root, copies=[backup]).left
    assert damage.copy == str(place(backup, 1) / "model.safetensors")
    assert contents(root) == before
    assert identity(root) == files


def test_only_what_is_damaged_is_replaced(root, backup):
    """Mode, owner and neighbours stay; staging is left empty; the checkpoint is verified; and the log knows."""
    good = contents(root)
    path = place(root, 1) / "model.safetensors"
    before = path.stat()
    flip(path, 9000)
    flip(path, MIB + 9000, 7)
    files = identity(root)
    report = mc.scrub(root, repair=True, copies=[backup])
    assert len(report.repaired) == 2
    assert report.left == ()
    assert contents(root) == good
    changed = {p for p, id_ in identity(root).items() if files[p] != id_}
    assert changed == {path}
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert list((root / ".staging").iterdir()) == []
    assert verified(root, 1) is not None
    with Workspace.open(root) as workspace:
        (entry,) = [entry for entry in workspace.catalog.history() if entry.action == "repair"]
        assert entry.details["file"] == "model.safetensors"


def test_other_checkpoints_of_the_store_have_good_copies_too(root):
    """A chunk that has not changed between two saves is repaired from the other one, without any backup."""
    good = contents(root)
    flip(place(root, 1) / "frozen.safetensors", 9000)
    (damage,) = mc.scrub(root, repair=True).repaired
    assert damage.copy in {str(place(root, step) / "frozen.safetensors") for step in (0, 2)}
    assert contents(root) == good


def header_bit(path):
    flip(path, 200)


def truncate(path):
    with patched(path) as fd:
        os.truncate(fd, MIB + 5000)


def cut_in_the_header(path):
    with patched(path) as fd:
        os.truncate(fd, 100)


def empty(path):
    with patched(path) as fd:
        os.truncate(fd, 0)


def extend(path):
    with patched(path) as fd:
        os.pwrite(fd, b"more", os.fstat(fd).st_size)


def remove(path):
    path.unlink()


def link(path):
    path.rename(path.with_name("aside"))
    path.symlink_to("aside")
    flip(path.with_name("aside"), 5000)


def another_one(path):
    shutil.copyfile(place(path.parents[2], 2) / path.name, path.with_name("x"))
    path.with_name("x").rename(path)


def header_and_data(path):
    flip(path, 200)
    flip(path, 9000)
    flip(path, path.stat().st_size - 1)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("damage", [header_bit, truncate, cut_in_the_header, empty, extend, remove, link, another_one])
def test_whatever_became_of_a_file_it_is_repaired(root, backup, name, damage):
    """Headers, lengths, missing and exchanged files; what lies beside the checkpoint is no part of it."""
    good = contents(root)
    path = place(root, 1) / name
    if name == "config.json":
        damage = {header_bit: lambda p: flip(p, 3), truncate: empty, cut_in_the_header: empty}.get(damage, damage)
        if damage is link:
            damage = lambda p: (p.unlink(), p.symlink_to("nowhere"))  # noqa: E731
    damage(path)
    report = mc.scrub(root, repair=True, copies=[backup])
    assert report.left == ()
    assert {found.file for found in report.repaired} == {name}
    after = contents(root)
    after.pop(str((path.parent / "aside").relative_to(root)), None)
    assert after == good
    assert not path.is_symlink()
    assert mc.scrub(root).damaged == ()


def test_damaged_header_and_data_are_repaired_together(root, backup):
    """The header from a copy tells which chunks are damaged as well."""
    good = contents(root)
    header_and_data(place(root, 1) / "model.safetensors")
    report = mc.scrub(root, repair=True, copies=[backup])
    assert [(d.tensor, d.chunk) for d in report.repaired] == [(None, None), ("b", 0), ("w", 2)] or [
        (d.tensor, d.chunk) for d in report.repaired
    ] == [(None, None), ("w", 0), ("w", 2)]
    assert contents(root) == good


def test_an_exported_file_is_a_good_copy(root, tmp_path):
    """Wherever it lies, and whatever it is called."""
    good = contents(root)
    exported = tmp_path / "some" / "where" / "weights.bin"
    exported.parent.mkdir(parents=True)
    shutil.copyfile(place(root, 1) / "model.safetensors", exported)
    header_and_data(place(root, 1) / "model.safetensors")
    for source in (exported, tmp_path / "some"):
        assert {d.copy for d in mc.scrub(root, copies=[source]).left} == {str(exported)}
    assert mc.scrub(root, copies=[exported], repair=True).left == ()
    assert contents(root) == good


def test_chunks_of_several_sources_make_one_file(root, backup, tmp_path):
    """Two copies that are damaged themselves, each in another place, are good enough together."""
    good = contents(root)
    second = shutil.copytree(backup, tmp_path / "second")
    name = place(root, 1).name
    for where, offsets in ((root, (9000, MIB + 9000)), (backup, (9000,)), (second, (MIB + 9000,))):
        for offset in offsets:
            flip(where / "exp" / name / "model.safetensors", offset)
    report = mc.scrub(root, copies=[backup, second], repair=True)
    assert {damage.copy for damage in report.repaired} == {
        str(base / "exp" / name / "model.safetensors") for base in (backup, second)
    }
    assert contents(root) == good


def test_without_a_good_copy_of_everything_a_file_stays_as_it_is(root, backup):
    """It is named what has one and what has not; other files are repaired all the same."""
    good = contents(root)
    path, copy = place(root, 1) / "model.safetensors", place(backup, 1) / "model.safetensors"
    flip(path, 9000)
    flip(path, MIB + 9000)
    flip(copy, 9000)
    flip(place(root, 1) / "config.json", 3)
    before = path.read_bytes()
    report = mc.scrub(root, copies=[backup], repair=True)
    assert [damage.file for damage in report.repaired] == ["config.json"]
    assert [damage.copy for damage in report.left] == [None, str(copy)]
    assert report.left[1].problem == "another part of the file has no good copy"
    assert path.read_bytes() == before
    assert {name for name, data in contents(root).items() if good[name] != data} == {str(path.relative_to(root))}
    assert copy.read_bytes() != good[str(path.relative_to(root))]  # nothing is repaired but the store


def test_what_the_device_cannot_read_is_damage(root, backup, monkeypatch):
    """A bad sector is an error of the device, and no less repairable than wrong bytes."""
    path = place(root, 1) / "model.safetensors"
    bad_inode, bad = path.stat().st_ino, chunks_of(path)[1]
    read_spans = _native.read_spans

    def read(fd, name, offsets, lengths, *args, **kwargs):
        if os.fstat(fd).st_ino == bad_inode and any(
            offset <= bad.offset + 5 < offset + length for offset, length in zip(offsets, lengths, strict=True)
        ):
            raise StorageError("cannot read", path=name, errno=errno.EIO)
        return read_spans(fd, name, offsets, lengths, *args, **kwargs)

    monkeypatch.setattr(_native, "read_spans", read)
    (damage,) = mc.scrub(root, copies=[backup], repair=True).repaired
    assert (damage.tensor, damage.chunk) == (bad.tensor, bad.index)
    assert path.stat().st_ino != bad_inode


def test_other_failures_of_the_file_system_are_no_damage(root, monkeypatch):
    """They end the scrub: who cannot read must not cry for a repair."""

    def read(*args, **kwargs):
        raise StorageError("stale file handle", errno=errno.ESTALE)

    monkeypatch.setattr(_native, "read_spans", read)
    with pytest.raises(StorageError, match="stale"):
        mc.scrub(root)


def test_a_hard_link_keeps_what_it_has(root, backup, tmp_path):
    """The damaged file is replaced, not written to."""
    path = place(root, 1) / "model.safetensors"
    flip(path, 9000)
    damaged = path.read_bytes()
    os.link(path, tmp_path / "other")
    mc.scrub(root, copies=[backup], repair=True)
    assert (tmp_path / "other").read_bytes() == damaged
    assert path.stat().st_nlink == 1


def test_a_full_disk_leaves_the_damaged_file(root, backup, monkeypatch):
    """The reason is told; nothing is left behind."""
    path = place(root, 1) / "model.safetensors"
    flip(path, 9000)
    before = contents(root)

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    (damage,) = mc.scrub(root, copies=[backup], repair=True).left
    assert "No space left" in damage.problem
    assert "not repaired: " in str(damage)
    assert contents(root) == before
    assert list((root / ".staging").iterdir()) == []


def test_a_repair_that_the_device_does_not_keep_is_none(root, backup, monkeypatch):
    """The new file is read back before it takes the place of the old one."""
    path = place(root, 1) / "model.safetensors"
    flip(path, 9000)
    before = contents(root)
    sync_file = _native.sync_file

    def rot(fd, name):
        sync_file(fd, name)
        if name.endswith("model.safetensors"):
            os.pwrite(fd, b"rot", 12_000)

    monkeypatch.setattr(_native, "sync_file", rot)
    (damage,) = mc.scrub(root, copies=[backup], repair=True).left
    assert "differs from its digest" in damage.problem
    assert contents(root) == before


def test_a_copy_that_rots_meanwhile_is_not_used(root, backup, monkeypatch):
    """What is moved is verified while it is moved."""
    flip(place(root, 1) / "model.safetensors", 9000)
    before = contents(root)
    allocate = os.posix_fallocate

    def rot(*args):
        flip(place(backup, 1) / "model.safetensors", 9001)
        allocate(*args)

    monkeypatch.setattr(os, "posix_fallocate", rot)
    (damage,) = mc.scrub(root, copies=[backup], repair=True).left
    assert damage.problem
    assert contents(root) == before


# --- manifests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [lambda p: flip(p, 500), empty, remove])
def test_a_damaged_manifest_comes_back_from_a_copy(root, backup, damage):
    """It must be the one of the same checkpoint; then all files are read as usual."""
    good = contents(root)
    damage(place(root, 1) / "manifest.json")
    (found,) = mc.scrub(root).left
    assert (found.file, found.copy) == ("manifest.json", None)
    report = mc.scrub(root, copies=[backup], repair=True)
    assert [d.file for d in report.repaired] == ["manifest.json"]
    assert report.left == ()
    assert contents(root) == good
    assert verified(root, 1) is not None


def test_a_checkpoint_that_the_catalog_forgot_for_its_manifest_comes_back(root, backup):
    """A rebuilt catalog cannot know it: its directory is found, repaired, and adopted with all that was said of it."""
    with mc.CheckpointManager(root, experiment="exp", progress=False) as ckpts:
        ckpts.pin(1)
    good = contents(root)
    flip(place(root, 1) / "manifest.json", 500)
    (root / "catalog.db").unlink()
    mc.reindex(root)
    assert mc.scrub(root).checked == 3  # two that are sound, and the stray
    (found,) = mc.scrub(root).left
    assert found.ref == f"exp/{place(root, 1).name}"
    report = mc.scrub(root, copies=[backup], repair=True)
    assert report.left == ()
    assert contents(root) == good
    with mc.CheckpointManager(root, experiment="exp", progress=False) as ckpts:
        assert ckpts.info(1).pinned
        assert ckpts.info(1).verified_at is not None
        assert ckpts.info(1).state is CheckpointState.COMMITTED


def test_the_manifest_of_another_checkpoint_is_no_copy(root, backup):
    """Not even one that somebody has put where the right one should be."""
    path = place(root, 1) / "manifest.json"
    flip(path, 500)
    shutil.copyfile(place(backup, 2) / "manifest.json", backup / "exp" / path.parent.name / "x")
    (backup / "exp" / path.parent.name / "x").rename(backup / "exp" / path.parent.name / "manifest.json")
    (found,) = mc.scrub(root, copies=[backup], repair=True).left
    assert found.copy is None


def test_a_stray_takes_no_manifest_of_another_checkpoint(root, backup):
    """The catalog does not know which it was, but the place does."""
    path = place(root, 1) / "manifest.json"
    flip(path, 500)
    (root / "catalog.db").unlink()
    shutil.rmtree(place(backup, 1))
    report = mc.scrub(root, copies=[backup], repair=True)
    assert [(damage.ref, damage.copy) for damage in report.left] == [(f"exp/{path.parent.name}", None)]


def test_an_exchanged_manifest_is_damage(root, backup):
    """A sound manifest of the same checkpoint, but not the one that was committed, is not what the catalog knows."""
    path = place(root, 1) / "manifest.json"
    raw, _ = manifests.encode(
        dataclasses.replace(manifests.decode(path.read_bytes(), path="m"), metadata={"forged": "yes"})
    )
    with patched(path) as fd:
        os.truncate(fd, 0)
        os.pwrite(fd, raw, 0)
    (found,) = mc.scrub(root).left
    assert found.message == "not the manifest that was committed"
    assert mc.scrub(root, copies=[backup], repair=True).left == ()
    assert path.read_bytes() == (place(backup, 1) / "manifest.json").read_bytes()


def test_verification_times_lie_beside_the_checkpoint(root):
    """In the annotation, which outlives every catalog."""
    mc.scrub(root)
    with mc.CheckpointManager(root, experiment="exp", progress=False) as ckpts:
        info = ckpts.info(1)
    assert read_annotation(str(root / "exp/.annotations"), info.id).verified_at == info.verified_at
    assert utc_now() - info.verified_at < timedelta(minutes=5)
