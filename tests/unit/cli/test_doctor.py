"""What `mckpt doctor` says of a store whose catalog and files differ, and of what was left behind."""

import os
import shutil
import sqlite3
from datetime import timedelta

import pytest

from model_checkpoint.checkpoint.disagreements import Matter
from model_checkpoint.checkpoint.remarks import Remarks
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.cli import agreement_checks
from model_checkpoint.database import Catalog
from model_checkpoint.storage.store import Store


@pytest.fixture
def doctor(mckpt, root):
    """Everything that is not OK, as check -> (level, items, text), and the exit code."""

    def ask():
        done = mckpt("-C", root, "doctor", "--json")
        found = {f["check"]: (f["level"], f["items"], f["text"]) for f in done.json["findings"] if f["level"] != "OK"}
        return {check: finding for check, finding in found.items() if check not in MACHINE}, done.code

    return ask


MACHINE = {"file system", "O_DIRECT", "rename", "directory sync", "sha256", "crc32c", "space"}


@pytest.fixture
def ref(root):
    """The reference of a checkpoint of "digits"."""
    with Catalog.open(root) as catalog:
        infos = {info.step: info for info in catalog.list("digits")}
    return lambda step: infos[step].ref


def edit(root, statement):
    connection = sqlite3.connect(root / "catalog.db")
    connection.execute("PRAGMA foreign_keys = ON")
    with connection:
        assert connection.execute(statement).rowcount > 0
    connection.close()


EDITS = {  # what somebody did to the catalog: the check that tells of it, its level, and the words for it
    "UPDATE checkpoints SET pinned = 1 WHERE step = 20": ("protection", "WARN", "pinned in the catalog alone"),
    "UPDATE aliases SET checkpoint = (SELECT id FROM checkpoints WHERE step = 40) WHERE alias = 'kept'": (
        "protection", "WARN", "no name by the annotations, @kept by the catalog"),
    "DELETE FROM aliases": ("protection", "WARN", "@kept by the annotations, no name by the catalog"),
    "UPDATE checkpoints SET pinned = 0 WHERE step = 10": ("protection", "WARN", "pinned by its annotation alone"),
    "UPDATE checkpoints SET nbytes = 7 WHERE step = 20": ("manifest", "FAIL", "bytes, not 7"),
    f"UPDATE checkpoints SET digest = '{0:064}', content = '{0:064}' WHERE step = 20": (
        "manifest", "FAIL", "digest, content"),
    "UPDATE checkpoint_metrics SET value = 7 WHERE name = 'val_loss'": ("remarks", "WARN", "metrics"),
    "UPDATE tags SET value = 'other'": ("remarks", "WARN", "tags"),
    "UPDATE checkpoints SET verified_at = 1": ("remarks", "WARN", "verified_at"),
    "UPDATE checkpoints SET state = 'lost' WHERE step = 20": ("place", "WARN", "committed, not lost"),
    "UPDATE checkpoints SET state = 'trashed' WHERE step = 20": ("place", "WARN", "committed, not in the trash"),
    "UPDATE checkpoints SET seq = seq + 100 WHERE step = 20": ("order", "WARN", "digits"),
    "UPDATE experiments SET monitor = 'other', mode = 'max' WHERE name = 'digits'": (
        "settings", "WARN", "monitor, mode"),
    "DELETE FROM checkpoints WHERE step = 20": ("unknown", "WARN", ""),
}  # fmt: skip


@pytest.fixture
def remarked(mckpt, root):
    """Something of everything is said of the checkpoints."""
    for words in (["pin", "digits:10"], ["alias", "digits:30", "kept"]):
        assert mckpt("-C", root, *words).code == 0
    with Workspace.open(root) as workspace:
        Remarks(workspace).tag(workspace.catalog.resolve("digits:50"), {"team": "blue"})


@pytest.mark.usefixtures("remarked")
@pytest.mark.parametrize("statement", EDITS)
def test_a_catalog_that_differs_from_the_files_is_named_and_reindex_corrects_it(mckpt, root, doctor, statement):
    """Each kind of difference has a line that says which checkpoints, how they differ, and what to run."""
    assert doctor() == ({}, 0)
    edit(root, statement)
    check, level, words = EDITS[statement]
    found, code = doctor()
    assert code == (1 if level == "FAIL" else 0)
    assert found[check][0] == level
    assert words in " ".join(found[check][1])
    assert "mckpt reindex" in found[check][2]
    assert mckpt("-C", root, "reindex").code == 0
    assert doctor() == ({}, 0)


def test_a_lost_directory_is_named_until_reindex_forgets_it(mckpt, root, directory_of, doctor, ref):
    """Also when another command has marked the row as lost meanwhile."""
    lost = [ref(0), ref(20)]
    for step in (0, 20):
        shutil.rmtree(directory_of(step))
    for _ in range(2):
        found, code = doctor()
        assert (sorted(found["lost"][1]), found["lost"][0], code) == (lost, "FAIL", 1)
        assert mckpt("-C", root, "prune", "digits").code in {0, 5}
    assert mckpt("-C", root, "reindex").code == 0
    assert doctor() == ({}, 0)


def test_what_went_to_the_trash_without_the_catalog_is_named(root, doctor, ref):
    """A process was killed in the middle of a removal, or the catalog is an older copy."""
    with Workspace.open(root) as workspace:
        workspace.store.delete(workspace.catalog.resolve("digits:20"), keep=timedelta(days=1))
    found, code = doctor()
    assert code == 0
    assert found["place"][1][0].startswith(f"{ref(20)} (in the trash, not committed")


def test_all_are_in_json_and_the_first_few_in_the_line(mckpt, root, doctor):
    """A line stays readable; a script gets everything."""
    edit(root, "UPDATE checkpoints SET pinned = 1")
    found, _ = doctor()
    _, items, text = found["protection"]
    assert len(items) == 7
    assert sum(item in text for item in items) == 3
    assert "and 4 more" in text
    assert "and 4 more" in " ".join(mckpt("-C", root, "doctor").out.split())


def test_a_difference_that_is_gone_at_a_second_look_is_none(root, doctor, ref, monkeypatch):
    """Somebody was between the annotation and the catalog; a trainer at work makes no warnings."""
    compare, looks = agreement_checks._compare, []

    def while_somebody_pins(store, found):
        edit(root, f"UPDATE checkpoints SET pinned = {1 - len(looks)} WHERE step = 20")
        edit(root, "UPDATE checkpoints SET pinned = 1 WHERE step = 40")
        looks.append(compare(store, found))
        return looks[-1]

    monkeypatch.setattr(agreement_checks, "_compare", while_somebody_pins)
    found, _ = doctor()
    assert [[one.what for one in look if one.matter is Matter.PROTECTION] for look in looks] == [
        [ref(40), ref(20)],
        [ref(40)],
    ]
    assert found["protection"][1] == [f"{ref(40)} (pinned in the catalog alone)"]


def test_a_damaged_annotation_contradicts_nobody(root, doctor):
    """It is named as what it is; what it may have said is not guessed."""
    with Catalog.open(root) as catalog:
        info = catalog.resolve("digits:20")
    edit(root, "UPDATE checkpoints SET pinned = 1 WHERE step = 20")
    annotations = root / "digits" / ".annotations"
    annotations.mkdir(exist_ok=True)
    (annotations / f"{info.id}.json").write_text("{")
    found, code = doctor()
    assert (set(found), code) == ({"quarantined"}, 1)


def test_a_damaged_manifest_is_not_called_lost(root, doctor, directory_of, flip):
    """Its directory is there, and names what is wrong with it."""
    flip(directory_of(20) / "manifest.json", 500)
    found, code = doctor()
    assert (set(found), code) == ({"quarantined"}, 1)


def test_what_the_catalog_does_not_know_of_something_in_the_trash_is_no_difference(root, doctor):
    """Whoever restores it reads what was said of it."""
    with Workspace.open(root) as workspace:
        info = workspace.catalog.resolve("digits:20")
        Remarks(workspace).tag(info, {"team": "blue"})
        workspace.store.delete(info, keep=timedelta(days=1))
        workspace.reconcile("digits")
    edit(root, "DELETE FROM tags")
    assert doctor() == ({}, 0)


# --- what was left behind ---------------------------------------------------------------------------------------------


def test_staging_tells_the_dead_from_the_living(root, doctor, mckpt):
    """Who writes is left alone; what a killed process has left is named with its size and age."""
    store = Store(root)
    alive = store.staging.create()
    dead = root / ".staging" / ("d" * 32)
    dead.mkdir()
    dead.with_name(dead.name + ".owner").write_text('{"pid": 1, "started": "1", "boot": "another"}')
    (dead / "model.safetensors").write_bytes(b"x" * 5_000_000)
    os.utime(dead, (1e9, 1e9))
    found, code = doctor()
    level, items, text = found["staging"]
    assert (level, code) == ("WARN", 0)
    assert len(items) == 1
    assert items[0].startswith(f".staging/{'d' * 32} (")
    assert items[0].endswith("d ago)")
    assert "5.0 MB" in text
    assert "1 checkpoint being written" in mckpt("-C", root, "doctor").out
    assert mckpt("-C", root, "reindex").code == 0
    assert not dead.exists()
    assert os.path.isdir(alive.path)
    alive.abandon()
    assert doctor() == ({}, 0)


def test_the_trash_is_described_with_what_cannot_be_restored(root, doctor, mckpt):
    """What waits, since when, and what is expired; interrupted deletions, empty entries and records that are gone."""
    with Workspace.open(root) as workspace:
        for step, keep in ((20, timedelta(0)), (40, timedelta(days=1))):
            workspace.store.delete(workspace.catalog.resolve(f"digits:{step}"), keep=keep)
        workspace.reconcile("digits")
    trash = root / ".trash"
    for name in ("a" * 32 + ".deleting", "b" * 32, "c" * 32 + "/step-00000001-cccccccc"):
        (trash / name).mkdir(parents=True)
    os.utime(trash / ("b" * 32), (1e9, 1e9))
    findings = mckpt("-C", root, "doctor", "--json").json["findings"]
    texts = [finding["text"] for finding in findings if finding["check"] == "trash"]
    assert texts[0].startswith("2 checkpoints to restore, ")
    assert "the time of 1 is up" in texts[0]
    for name, words in (
        ("a" * 32 + ".deleting", "mckpt reindex finishes it"),
        ("b" * 32, "mckpt reindex removes them"),
        ("c" * 32, "remove it by hand"),
    ):
        assert any(f".trash/{name}" in text and words in text for text in texts)
    assert mckpt("-C", root, "reindex").code == 0
    assert sorted(path.name for path in trash.iterdir() if len(set(path.name)) == 1) == ["c" * 32]
    (found, _) = doctor()
    assert found["trash"][1][0].startswith(f".trash/{'c' * 32} (")


def test_catalogs_that_were_put_aside_are_mentioned(root, mckpt):
    """They are not wrong, and nobody else deletes them."""
    (root / "catalog.db").write_bytes(b"garbage" * 1000)
    assert mckpt("-C", root, "reindex").code == 0
    done = mckpt("-C", root, "doctor", "--json")
    (found,) = [finding for finding in done.json["findings"] if finding["check"] == "put aside"]
    assert (found["level"], done.code) == ("OK", 0)
    assert "catalog.db.damaged-" in found["text"]
