from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from model_checkpoint import _native
from model_checkpoint.errors import (
    CheckpointExistsError,
    CheckpointInUseError,
    CheckpointNotFoundError,
    ConfigurationError,
    CorruptionError,
    FormatError,
    StorageError,
)
from model_checkpoint.storage import trash
from model_checkpoint.storage.annotations import Annotation, update_annotation
from model_checkpoint.storage.checkpoint_dir import load, read_state
from model_checkpoint.storage.commit import Draft
from model_checkpoint.storage.staged_files import component_files
from model_checkpoint.storage.state_tree import flatten
from model_checkpoint.storage.store import Store
from model_checkpoint.types import CheckpointState, ExperimentInfo

WEEK = timedelta(days=7)


class Log:
    """A catalog as far as a commit needs one."""

    def __init__(self):
        self.seq = 0
        self.infos = []

    def next_seq(self):
        self.seq += 1
        return self.seq

    def add(self, *infos):
        self.infos += infos


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


@pytest.fixture
def log():
    return Log()


def add(store, log, step=1, experiment="gpt2", **fields):
    flat = flatten({"model": [torch.full((3,), float(step))], "step": step})
    return store.commit(Draft(experiment, step, flat.tree, component_files(flat), **fields), log=log)


def tree(root):
    return sorted(os.path.relpath(os.path.join(path, name), root) for path, _, names in os.walk(root) for name in names)


def test_a_commit_is_found_by_its_path_and_recorded(store, log):
    """The info that is returned is the one that the catalog got."""
    info = add(store, log, step=500, metrics={"loss": 0.5}, parent="1" * 32)
    assert info.path == f"gpt2/step-00000500-{info.id[:8]}"
    assert log.infos == [info]
    assert (info.seq, info.parent, dict(info.metrics)) == (1, "1" * 32, {"loss": 0.5})
    assert load(store.directory(info))["step"] == 500
    assert store.scan().checkpoints == (info,)


def test_a_store_is_not_created_by_looking(tmp_path):
    """Reading commands leave no traces."""
    with pytest.raises(CheckpointNotFoundError):
        Store(tmp_path / "none", create=False)
    assert os.listdir(tmp_path) == []
    Store(tmp_path, create=False)
    assert os.listdir(tmp_path) == []


def test_parts_on_another_file_system_or_behind_links_are_refused(tmp_path, log):
    """Renames must be atomic, and nothing may lead out of the store."""
    (tmp_path / "elsewhere").mkdir()
    os.symlink("/dev/shm", tmp_path / ".trash")
    with pytest.raises(StorageError, match="link"):
        Store(tmp_path)
    os.unlink(tmp_path / ".trash")
    store = Store(tmp_path)
    os.symlink(tmp_path / "elsewhere", tmp_path / "gpt2")
    with pytest.raises(StorageError, match="link"):
        add(store, log)
    with pytest.raises(StorageError, match="link"):
        store.read_experiment("gpt2")
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["..", "a/b", "/tmp", ".staging", "catalog.db", "a\0b"])
def test_hostile_experiments_are_refused_at_every_entry(store, log, name):
    """No name reaches the file system unchecked."""
    info = dataclasses.replace(add(store, log), experiment=name, path=f"{name}/step-00000001-12345678")
    before = tree(store.root)
    for attempt in (
        lambda: add(store, log, experiment=name),
        lambda: store.read_experiment(name),
        lambda: store.write_experiment(ExperimentInfo(name, datetime.now(UTC))),
        lambda: store.annotation(info),
        lambda: store.annotate(info, lambda old: old),
        lambda: store.directory(info),
        lambda: store.open(info),
        lambda: store.delete(info),
    ):
        with pytest.raises(ConfigurationError):
            attempt()
    assert tree(store.root) == before


def test_a_checkpoint_in_the_wrong_place_is_refused(store, log):
    """Two valid checkpoints cannot be exchanged for each other."""
    a, b = add(store, log, step=1), add(store, log, step=2)
    one, two = store.directory(a), store.directory(b)
    os.rename(one, one + ".x")
    os.rename(two, one)
    with pytest.raises(FormatError) as error:
        store.open(a)
    assert error.value.rule == "id"
    assert [q.path for q in store.scan().quarantined] == [a.path]
    os.mkdir(os.path.join(store.root, "other"))
    shutil.move(one + ".x", os.path.join(store.root, "other", os.path.basename(one)))
    moved = dataclasses.replace(a, path=f"other/{os.path.basename(one)}")
    with pytest.raises(FormatError, match="committed as step 1 of gpt2"):
        store.open(moved)


def test_a_deleted_checkpoint_can_be_restored(store, log):
    """Deleting is one rename, and so is restoring; what was said of it is kept."""
    info = add(store, log)
    store.annotate(info, lambda old: dataclasses.replace(old, pinned=True))
    entry = store.delete(info, reasons=["last(1)"], keep=WEEK)
    assert (entry.reasons, entry.expires_at - entry.trashed_at) == (("last(1)",), WEEK)
    with pytest.raises(CheckpointNotFoundError):
        store.directory(info)
    (trashed,) = store.scan().checkpoints
    assert trashed.state is CheckpointState.TRASHED
    assert trashed.path.startswith(".trash/")
    assert read_state(store.open(trashed))["step"] == 1
    assert store.restore(info.id) == info
    (back,) = store.scan().checkpoints
    assert back.state is CheckpointState.COMMITTED
    assert back.pinned
    assert os.listdir(os.path.join(store.root, ".trash")) == []


def test_deletions_and_restorations_survive_a_power_cut(store, log, monkeypatch):
    """The record and the new names are synced before the rename, both directories that it changes after it."""
    info = add(store, log)
    events = []
    for name, place in (("sync_file", 1), ("sync_directory", 0), ("rename_noreplace", 1)):
        original = getattr(_native, name)

        def call(*args, original=original, name=name, place=place):
            path = os.path.relpath(args[place], store.root)
            events.append(f"{name} {re.sub('[0-9a-f]{32}', 'ID', path)}")
            return original(*args)

        monkeypatch.setattr(_native, name, call)
    name = os.path.basename(info.path)
    store.delete(info)
    assert events == [
        "sync_directory .",
        "sync_directory .trash",
        "sync_file .trash/ID/trash.json",
        "sync_directory .trash/ID",
        f"rename_noreplace .trash/ID/{name}",
        "sync_directory .trash/ID",
        "sync_directory gpt2",
    ]
    events.clear()
    store.restore(info.id)
    assert events == [f"rename_noreplace {info.path}", "sync_directory gpt2", "sync_directory .trash/ID"]


def test_a_restore_never_replaces(store, log):
    """A place that was taken meanwhile stays taken."""
    info = add(store, log)
    store.delete(info)
    os.mkdir(os.path.join(store.root, info.path))
    with pytest.raises(CheckpointExistsError):
        store.restore(info.id)
    os.rmdir(os.path.join(store.root, info.path))
    assert store.restore(info.id) == info
    with pytest.raises(CheckpointNotFoundError):
        store.restore(info.id)


def test_a_restore_whose_rename_reports_an_error_but_took_place_is_a_success(store, log, monkeypatch):
    """A network file system may lose the answer: it was taken for somebody else's checkpoint at the same place."""
    info = add(store, log)
    store.delete(info)
    rename = _native.rename_noreplace

    def lossy(source, target):
        rename(source, target)
        raise OSError(errno.EIO, "answer lost", target)

    monkeypatch.setattr(_native, "rename_noreplace", lossy)
    assert store.restore(info.id) == info
    assert read_state(store.open(info))["step"] == 1
    assert os.listdir(os.path.join(store.root, ".trash")) == []


@pytest.mark.parametrize("moment", ["owned_alone", "make_directories"])
def test_a_checkpoint_that_another_process_deletes_at_the_same_time_is_not_found(store, log, monkeypatch, moment):
    """It vanished between the look and the lock, or the lock and the rename: an ENOENT reached the user."""
    info = add(store, log)
    original = getattr(trash, moment)

    def overtaken(*arguments):
        monkeypatch.undo()
        Store(store.root).delete(info)
        return original(*arguments)

    if moment == "make_directories":  # its lock is that of a manifest that has been moved away
        monkeypatch.setattr(trash, "owned_alone", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(trash, moment, overtaken)
    with pytest.raises(CheckpointNotFoundError, match="any more"):
        store.delete(info)
    (entry,) = os.listdir(os.path.join(store.root, ".trash"))
    assert store.restore(info.id) == info, entry


def test_only_what_has_expired_is_purged(store, log):
    """The rest can still be restored."""
    old, young = add(store, log, step=1), add(store, log, step=2)
    store.annotate(old, lambda said: dataclasses.replace(said, tags={"a": "b"}))
    store.delete(old, keep=timedelta(0))
    store.delete(young, keep=WEEK)
    assert [entry.id for entry in store.purge_expired()] == [old.id]
    assert [entry.id for entry in store.trash.entries()] == [young.id]
    assert not any(old.id in name for name in tree(store.root))


@pytest.mark.parametrize("becomes", ["nothing", "link", "pipe"])
def test_a_deleted_checkpoint_without_a_manifest_does_not_keep_the_store_from_being_opened(store, log, becomes):
    """It is deleted when its time has come; what stands in the manifest's place and is no file is left alone."""
    damaged, sound = add(store, log, step=1), add(store, log, step=2)
    for info in (damaged, sound):
        store.delete(info, keep=timedelta(0))
    manifest = Path(store.trash.find(damaged.id).checkpoint, "manifest.json")
    manifest.parent.chmod(0o700)
    manifest.unlink()
    if becomes == "link":
        manifest.symlink_to("/etc/passwd")
    elif becomes == "pipe":
        os.mkfifo(manifest)
    purged = {entry.id for entry in store.purge_expired()}
    assert purged == ({damaged.id, sound.id} if becomes == "nothing" else {sound.id})
    assert manifest.parent.exists() == (becomes != "nothing")


def test_what_is_purged_as_soon_as_it_is_in_the_trash_is_deleted_all_the_same(store, log, monkeypatch):
    """Another process may empty the trash before the deletion has synced what it did."""
    rename = _native.rename_noreplace

    def rename_and_purge(source, target):
        rename(source, target)
        assert len(Store(store.root).purge_expired()) == 1

    info = add(store, log)
    monkeypatch.setattr(_native, "rename_noreplace", rename_and_purge)
    monkeypatch.setattr("model_checkpoint.storage.trash.owned_alone", lambda _: contextlib.nullcontext())
    store.delete(info, keep=timedelta(0))
    assert store.trash.entries() == ()


def test_two_may_purge_at_once(store, log, monkeypatch):
    """What another process has purged between the look at the trash and the deletion is no failure, and not ours."""
    info = add(store, log)
    entry = store.delete(info, keep=timedelta(0))
    monkeypatch.setattr(store.trash, "entries", lambda: (entry,))
    assert store.purge_expired() == (entry,)
    assert store.purge_expired() == ()
    with pytest.raises(CheckpointNotFoundError):
        store.trash.purge(entry)


def test_what_is_being_read_is_not_deleted(store, log):
    """A lease in this process or another one keeps a checkpoint, and ends with its reader."""
    info = add(store, log)
    contents = store.open(info)
    assert store.is_in_use(info)
    with pytest.raises(CheckpointInUseError):
        store.delete(info)
    del contents
    assert not store.is_in_use(info)
    code = (
        "import sys; from model_checkpoint.storage.contents import open_contents as o; "
        "c = o(sys.argv[1]); print('ready', flush=True); input()"
    )
    reader = subprocess.Popen(
        [sys.executable, "-c", code, store.directory(info)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout.readline() == "ready\n"
    with pytest.raises(CheckpointInUseError):
        store.delete(info)
    assert store.scan().checkpoints == (info,)
    reader.kill()
    reader.communicate()
    entry = store.delete(info, keep=timedelta(0))
    contents = store.open(dataclasses.replace(info, path=os.path.relpath(entry.checkpoint, store.root)))
    assert store.purge_expired() == ()
    del contents
    assert len(store.purge_expired()) == 1


def test_annotations_are_read_back_and_win_over_the_manifest(store, log):
    """Pins, aliases, tags, metrics and the time of verification survive without the catalog."""
    info = add(store, log, metrics={"loss": 1.0, "acc": 0.5})
    now = datetime.now(UTC)
    said = Annotation(info.id, True, {"paper": now}, now, {"loss": 0.25, "nan": float("nan")}, {"k": "v"})
    store.annotate(info, lambda _: said)
    assert repr(store.annotation(info)).replace("mappingproxy(", "").replace(")", "") == repr(said).replace(")", "")
    (found,) = store.scan().checkpoints
    assert (found.pinned, found.aliases, found.verified_at, dict(found.tags)) == (True, ("paper",), now, {"k": "v"})
    assert (found.metrics["loss"], found.metrics["acc"]) == (0.25, 0.5)


def test_the_later_claim_to_an_alias_wins(store, log):
    """As docs/format.md says, whatever the order of steps."""
    a, b = add(store, log, step=1), add(store, log, step=2)
    other = add(store, log, step=3, experiment="other")
    now = datetime.now(UTC)
    for info, age in ((a, 0), (b, 5), (other, 9)):
        claim = {"best-so-far": now - timedelta(minutes=age)}
        store.annotate(info, lambda old, claim=claim: dataclasses.replace(old, aliases=claim))
    found = {info.step: info.aliases for info in store.scan().checkpoints}
    assert found == {1: ("best-so-far",), 2: (), 3: ("best-so-far",)}


def test_a_link_in_a_checkpoints_place_does_not_keep_a_store_from_being_recovered(store, log, tmp_path):
    """It is reported, and not followed: whoever exchanged a directory at the right moment had closed the store."""
    info = add(store, log)
    shutil.copytree(os.path.join(store.root, info.path), tmp_path / "elsewhere")
    planted = "gpt2/step-00000007-00000000"
    os.symlink(tmp_path / "elsewhere", os.path.join(store.root, planted))
    assert [q.path for q in store.recover().quarantined] == [planted]
    assert store.scan().checkpoints == (info,)


def test_a_link_marked_for_deletion_does_not_keep_a_store_from_being_recovered(store, log, tmp_path):
    """It goes, and what it leads to stays: one that was exchanged for an entry of the trash had closed the store."""
    info = add(store, log)
    store.delete(info, keep=timedelta(0))
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(os.path.join(store.root, ".trash"), elsewhere)
    before = tree(elsewhere)
    os.symlink(elsewhere, os.path.join(store.root, ".trash", f"{'0' * 32}.deleting"))
    store.recover()
    assert [entry.id for entry in store.trash.entries()] == [info.id]
    assert len(os.listdir(os.path.join(store.root, ".trash"))) == 1
    assert tree(elsewhere) == before


def test_a_staging_directory_that_was_exchanged_for_a_link_is_not_acknowledged(store, log, tmp_path, monkeypatch):
    """The rename moved the link, and the save was said to have gone well."""
    info, rename = add(store, log), _native.rename_noreplace

    def exchanged(source, target):
        os.rename(source, tmp_path / "moved")
        os.symlink(tmp_path / "moved", source)
        rename(source, target)

    monkeypatch.setattr(_native, "rename_noreplace", exchanged)
    with pytest.raises(StorageError, match="exchanged"):
        add(store, log, step=2)
    monkeypatch.undo()
    assert store.scan().checkpoints == (info,)
    assert add(store, log, step=2).step == 2


def test_a_name_is_taken_last_from_the_one_who_has_it(store, log, monkeypatch):
    """It was taken from the owner first; until the others followed, a name came back that had been given on."""
    infos = [add(store, log, step=step) for step in range(4)]
    now = datetime.now(UTC)
    for info, age in zip(infos, (3, 0, 5, 1), strict=True):
        claim = {"prod": now - timedelta(minutes=age)}
        store.annotate(info, lambda old, claim=claim: dataclasses.replace(old, aliases=claim))
    holders = []

    def watched(*arguments):
        said = update_annotation(*arguments)
        holders.append([found.step for found in store.scan().checkpoints if found.aliases])
        return said

    monkeypatch.setattr("model_checkpoint.storage.store.update_annotation", watched)
    store.withdraw_alias("gpt2", "prod")
    assert holders == [[1], [1], [1], []]


def test_a_name_that_is_given_again_while_it_is_taken_away_stays(store, log, monkeypatch):
    """It was taken from its new owner, too, before it was taken from the last one, who had it back for a moment."""
    stale, owner = add(store, log, step=1), add(store, log, step=2)
    now = datetime.now(UTC)
    for info, age in ((stale, 5), (owner, 3)):
        claim = {"prod": now - timedelta(minutes=age)}
        store.annotate(info, lambda old, claim=claim: dataclasses.replace(old, aliases=claim))
    holders = []

    def watched(directory, checkpoint_id, change):
        if not holders:
            update_annotation(directory, stale.id, lambda old: dataclasses.replace(old, aliases={"prod": now}))
        said = update_annotation(directory, checkpoint_id, change)
        holders.append([found.step for found in store.scan().checkpoints if found.aliases])
        return said

    monkeypatch.setattr("model_checkpoint.storage.store.update_annotation", watched)
    store.withdraw_alias("gpt2", "prod")
    assert holders == [[1], [1]]


def test_a_damaged_annotation_hides_no_checkpoint(store, log):
    """It is reported, and the checkpoint is there."""
    info = add(store, log)
    store.annotate(info, lambda old: old)
    path = os.path.join(store.root, "gpt2", ".annotations", f"{info.id}.json")
    Path(path).write_text('{"id": 5}')
    scan = store.scan()
    assert scan.checkpoints == (info,)
    assert [q.path for q in scan.quarantined] == [f"gpt2/.annotations/{info.id}.json"]
    with pytest.raises(FormatError):
        store.annotate(info, lambda old: old)


def test_settings_of_experiments_are_kept(store):
    """What was written is read, and only JSON can be written."""
    info = ExperimentInfo("gpt2", datetime.now(UTC), "loss", "min", "last(3)", {"lr": [1, 2.5]})
    assert store.read_experiment("gpt2") is None
    store.write_experiment(info)
    assert store.read_experiment("gpt2") == info
    assert store.scan().experiments == (info,)
    with pytest.raises(ConfigurationError):
        store.write_experiment(dataclasses.replace(info, config={"x": object()}))
    assert store.read_experiment("gpt2") == info


def test_a_scan_reports_what_it_cannot_trust_and_touches_nothing(store, log):
    """Directories without a manifest, or with a damaged one, are quarantined; others are not looked at."""
    info, bad = add(store, log, step=1), add(store, log, step=2)
    path = os.path.join(store.directory(bad), "manifest.json")
    raw = bytearray(Path(path).read_bytes())
    raw[-5] ^= 1
    os.chmod(path, 0o600)
    Path(path).write_bytes(raw)
    os.mkdir(os.path.join(store.root, "gpt2", "step-00000009-12345678"))
    os.mkdir(os.path.join(store.root, "gpt2", "mine"))
    before = tree(store.root)
    scan = store.scan()
    assert scan.checkpoints == (info,)
    assert sorted(q.path for q in scan.quarantined) == sorted([bad.path, "gpt2/step-00000009-12345678"])
    assert [q.path for q in store.recover().quarantined] == ["gpt2/step-00000009-12345678"]
    assert tree(store.root) == before
    with pytest.raises(CorruptionError):
        store.open(bad)


def test_what_is_being_deleted_for_good_cannot_be_found_any_more(store, log):
    """A reader that came upon a half-deleted entry took its checkpoint for a damaged one."""
    info = add(store, log)
    store.delete(info, keep=WEEK)
    entry = store.trash.find(info.id)
    os.rename(entry.directory, entry.directory + ".deleting")
    assert store.trash.entries() == ()
    with pytest.raises(CheckpointNotFoundError):
        store.trash.find(info.id)


def test_recovery_finishes_what_was_interrupted_and_spares_the_young(store, log):
    """Dead staging, half-deleted entries, entries without a checkpoint, old temporary files."""
    info = add(store, log)
    old = time.time() - 2 * 3600
    root = store.root
    os.mkdir(os.path.join(root, ".staging", "a" * 32))
    os.makedirs(os.path.join(root, ".trash", "b" * 32 + ".deleting", "step-00000001-12345678"))
    for name in ("c", "d"):
        os.makedirs(os.path.join(root, ".trash", name * 32))
        Path(root, ".trash", name * 32, "trash.json").touch()
    os.utime(os.path.join(root, ".trash", "c" * 32), (old, old))
    for name in ("old", "young"):
        Path(root, "gpt2", f".mckpt-{name}.tmp").touch()
    os.utime(os.path.join(root, "gpt2", ".mckpt-old.tmp"), (old, old))
    report = store.recover()
    assert [os.path.basename(path) for path in report.reclaimed] == ["a" * 32]
    assert [os.path.basename(path)[:1] for path in report.finished] == ["b", "c"]
    assert os.listdir(os.path.join(root, ".trash")) == ["d" * 32]
    assert [name for name in os.listdir(os.path.join(root, "gpt2")) if name.endswith(".tmp")] == [".mckpt-young.tmp"]
    assert store.scan().checkpoints == (info,)
    assert store.recover().finished == ()


@pytest.mark.hostile
@pytest.mark.parametrize(
    "record",
    ['{"id":"%s","path":"../../etc","trashed_at":"t","expires_at":"t","reasons":[]}' % ("0" * 32), "{", "[]", ""],
)
def test_a_forged_record_in_the_trash_moves_nothing(store, log, record):
    """The path in a record is checked like any other, and entries that cannot be read are left alone."""
    info = add(store, log)
    entry = store.delete(info)
    Path(entry.directory, "trash.json").write_text(record)
    assert store.trash.entries() == ()
    with pytest.raises(CheckpointNotFoundError):
        store.restore(info.id)
    assert store.purge_expired() == ()
    assert store.recover().finished == ()
    assert os.path.isdir(entry.checkpoint)


def test_commits_are_ordered_by_sequence_and_not_by_step(store, log):
    """A run that starts over has smaller steps and is newer all the same."""
    for step in (700, 100, 500):
        add(store, log, step=step)
    assert [info.step for info in store.scan().checkpoints] == [700, 100, 500]


def test_a_record_that_cannot_be_read_now_is_not_an_empty_trash(store, log, monkeypatch):
    """Who looks for a checkpoint hears of the disk, not that it is gone: its row in the catalog depends on that."""
    info = add(store, log)
    store.delete(info)
    pread = os.pread

    def fail(fd, *args):
        if os.readlink(f"/proc/self/fd/{fd}").endswith("trash.json"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(fd, *args)

    with monkeypatch.context() as broken:
        broken.setattr(os, "pread", fail)
        for look in (lambda: store.trash.find(info.id), store.scan):
            with pytest.raises(StorageError) as caught:
                look()
            assert caught.value.errno == errno.EIO
        assert store.purge_expired() == ()
    assert store.restore(info.id) == info


def test_an_annotation_that_cannot_be_read_now_is_not_an_empty_one(store, log, monkeypatch):
    """A change of a tag must not lose a pin because the disk failed for a moment."""
    info = add(store, log)
    store.annotate(info, lambda said: dataclasses.replace(said, pinned=True))
    stat = os.stat

    def fail(path, *args, **kwargs):
        if str(path).endswith(f"{info.id}.json"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return stat(path, *args, **kwargs)

    with monkeypatch.context() as broken:
        broken.setattr(os, "stat", fail)
        with pytest.raises(StorageError):
            store.annotate(info, lambda said: dataclasses.replace(said, tags={"team": "blue"}))
    assert store.annotation(info).pinned
