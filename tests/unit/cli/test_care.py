"""`mckpt reindex` and `mckpt doctor`."""

import shutil

import pytest

from model_checkpoint.cli.machine_checks import check_machine
from model_checkpoint.database import Catalog


def levels(done):
    """What doctor found, as check -> level."""
    return {finding["check"]: finding["level"] for finding in done.json["findings"]}


def test_reindex_rebuilds_what_ls_shows(mckpt, root):
    """A lost or damaged catalog is rebuilt, and lists exactly what it did before."""
    before = mckpt("-C", root, "ls", "--json").json
    (root / "catalog.db").unlink()
    done = mckpt("-C", root, "reindex")
    assert (done.code, done.out) == (0, "indexed 7 checkpoints of 2 experiments\n")
    assert mckpt("-C", root, "ls", "--json").json == before
    (root / "catalog.db").write_bytes(b"garbage" * 1000)
    assert mckpt("-C", root, "reindex").code == 0
    assert mckpt("-C", root, "ls", "--json").json == before


def test_reindex_leaves_alone_what_cannot_be_trusted(mckpt, root, directory_of, flip):
    """A damaged manifest is named with its reason, and everything else is indexed."""
    flip(directory_of(20) / "manifest.json", 500)
    done = mckpt("-C", root, "reindex", "--json")
    assert done.code == 0
    assert (done.json["checkpoints"], done.json["in_trash"]) == (6, 0)
    (item,) = done.json["left_alone"]
    assert item["path"].startswith("digits/step-00000020-")
    assert "digest" in item["reason"]


def test_reindex_counts_the_trash(mckpt, root):
    """What is in the trash stays restorable with a new catalog."""
    assert mckpt("-C", root, "prune", "--yes").code == 0
    (root / "catalog.db").unlink()
    assert mckpt("-C", root, "reindex").out == "indexed 5 checkpoints and 2 in the trash of 2 experiments\n"
    assert mckpt("-C", root, "restore", "digits:30").code == 0


def test_doctor_finds_a_sound_store_sound(mckpt, root):
    """A store without trouble has no FAIL, and the report names kernels, file system and journal."""
    done = mckpt("-C", root, "doctor")
    assert done.code == 0
    assert "FAIL" not in done.out
    for shown in ("sha256", "crc32c", "threads", "file system", "O_DIRECT", "journal mode", "7 with a sound manifest"):
        assert shown in done.out
    assert {path.name for path in root.iterdir()} - {"catalog.db-journal", ".timings.jsonl"} == {
        "catalog.db",
        "digits",
        "other",
    }


def test_doctor_without_a_store_warns_and_makes_none(mckpt, tmp_path):
    """Before the first save there is nothing broken, and nothing is created."""
    done = mckpt("-C", tmp_path / "nowhere", "doctor", "--json")
    assert done.code == 0
    assert levels(done)["store"] == "WARN"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_doctor_fails_on_a_bad_catalog(mckpt, root, damage):
    """A catalog that is gone or damaged is a FAIL that names the remedy, and is not touched."""
    path = root / "catalog.db"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"garbage" * 1000)
    done = mckpt("-C", root, "doctor", "--json")
    assert done.code == 1
    assert levels(done)["catalog"] == "FAIL"
    assert any("mckpt reindex" in finding["text"] for finding in done.json["findings"])
    assert path.exists() == (damage == "garbage")


def test_doctor_compares_catalog_and_manifests(mckpt, root, directory_of, flip):
    """Lost, quarantined, unknown and half-written checkpoints are each told apart."""
    shutil.rmtree(directory_of(0))
    flip(directory_of(20) / "manifest.json", 500)
    with Catalog.open(root) as catalog:
        unknown = catalog.resolve("digits:40")
        catalog.remove(unknown.id)
    (root / ".staging" / "0123").mkdir(parents=True)
    done = mckpt("-C", root, "doctor", "--json")
    assert done.code == 1
    found = {finding["check"]: finding for finding in done.json["findings"]}
    assert found["lost"]["level"] == "FAIL"
    assert "digits:0-" in found["lost"]["text"]
    assert found["quarantined"]["level"] == "FAIL"
    assert directory_of(20).name in found["quarantined"]["text"]
    assert found["unknown"]["level"] == "WARN"
    assert unknown.ref in found["unknown"]["text"]
    assert found["staging"]["level"] == "WARN"


def test_doctor_warns_of_a_processor_without_instructions(monkeypatch):
    """A hash kernel that is only portable is a warning, because it costs most of the speed."""
    monkeypatch.setattr(
        "model_checkpoint._native.kernels", lambda: {"sha256": ["portable"], "crc32c": ["sse42", "portable"]}
    )
    found = {finding.check: finding.level.value for finding in check_machine()}
    assert (found["sha256"], found["crc32c"]) == ("WARN", "OK")
