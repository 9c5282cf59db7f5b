"""Catalogs whose bytes were changed: found out, named, and replaced without losing anything."""

from __future__ import annotations

import os
import random
import sqlite3

import pytest

from model_checkpoint.database import Catalog, Listing, set_aside
from model_checkpoint.errors import CatalogDamagedError, CatalogError
from model_checkpoint.types import CheckpointState
from tests.unit.database.samples import make_info

pytestmark = pytest.mark.corruption

COUNT = 200
INFOS = [make_info(seq, metrics={"loss": 1 / seq}, tags={"k": "v"}) for seq in range(1, COUNT + 1)]


@pytest.fixture
def file(tmp_path):
    """A catalog of many pages, closed."""
    with Catalog.open(tmp_path) as catalog:
        catalog.rebuild(INFOS, [])
    return tmp_path / "catalog.db"


def read_everything(opener, root):
    with opener.open(root) as lookup:
        infos = lookup.list(states=tuple(CheckpointState))
        lookup.experiments()
        lookup.history()
        return infos


def zero_header(file):
    with file.open("r+b") as stream:
        stream.write(bytes(100))


def truncate_in_header(file):
    os.truncate(file, 50)


def truncate_in_half(file):
    os.truncate(file, file.stat().st_size // 2 // 4096 * 4096)


def garbage(file):
    file.write_bytes(random.Random(1).randbytes(20_000))


def text_file(file):
    file.write_text("runs: []\n")


def zero_second_half(file):
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.seek(size // 2)
        stream.write(bytes(size - size // 2))


def directory(file):
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("opener", [Catalog, Listing])
@pytest.mark.parametrize(
    "damage",
    [zero_header, truncate_in_header, truncate_in_half, garbage, text_file, zero_second_half, directory],
)
def test_damage_is_named(file, damage, opener):
    """Each kind of damage raises CatalogDamagedError with the file and the remedy, over both connections."""
    damage(file)
    with pytest.raises(CatalogDamagedError, match=r"catalog\.db.*mckpt reindex"):
        read_everything(opener, file.parent)


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_page_never_raises_anything_else(file, seed):
    """With one page overwritten, questions are answered as before or raise errors of ours; the check finds it."""
    chance = random.Random(seed)
    pages = file.stat().st_size // 4096
    with file.open("r+b") as stream:
        stream.seek(4096 * chance.randrange(1, pages))
        stream.write(chance.randbytes(4096))
    for opener in (Catalog, Listing):
        try:
            found = read_everything(opener, file.parent)
        except CatalogError:
            continue
        assert len(found) <= COUNT
    with pytest.raises(CatalogDamagedError), Catalog.open(file.parent) as catalog:
        catalog.check()


def test_a_damaged_catalog_is_set_aside_and_rebuilt(file):
    """After setting the damaged file aside a new catalog is built, and the old bytes are still there."""
    zero_header(file)
    damaged = file.read_bytes()
    aside = set_aside(file.parent)
    assert aside is not None
    with Catalog.open(file.parent) as catalog:
        catalog.rebuild(INFOS, [])
        catalog.check()
        assert [info.id for info in catalog.list()] == [info.id for info in reversed(INFOS)]
    with open(aside, "rb") as stream:
        assert stream.read() == damaged


def test_the_journal_goes_aside_with_its_catalog(file):
    """A journal that was left behind is never applied to the new catalog."""
    file.with_name("catalog.db-journal").write_bytes(b"journal")
    file.with_name("catalog.db-wal").write_bytes(b"wal")
    aside = set_aside(file.parent)
    names = {path.name for path in file.parent.iterdir()}
    base = os.path.basename(aside or "")
    assert names == {base, f"{base}-journal", f"{base}-wal"}
    assert set_aside(file.parent) is None


def forge(file):
    connection = sqlite3.connect(file)
    connection.execute("CREATE TRIGGER evil AFTER INSERT ON tags BEGIN SELECT load_extension('evil'); END")
    connection.close()


def test_a_forged_catalog_is_refused(file):
    """No catalog has triggers: one that has is damaged, and says that it can be made anew."""
    forge(file)
    with pytest.raises(CatalogDamagedError, match=r"trigger, view or virtual table \('evil'\).*reindex"):
        Catalog.open(file.parent)


def test_a_catalog_that_is_forged_while_it_is_open_runs_nothing(file):
    """A trigger that comes later cannot call functions with side effects."""
    with Catalog.open(file.parent) as catalog:
        forge(file)
        with pytest.raises(CatalogError, match="load_extension"):
            catalog.set_tag(INFOS[0].id, "a", "b")
