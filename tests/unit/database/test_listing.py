"""The standard-library reader answers as the catalog does, and never changes it."""

from __future__ import annotations

import dataclasses
import math
import sqlite3
import subprocess
import sys

import pytest

from model_checkpoint.database import Catalog, Listing, sqlite
from model_checkpoint.errors import CatalogBusyError, CatalogError
from model_checkpoint.types import CheckpointState
from tests.unit.database.samples import START, make_info


@pytest.fixture
def filled(catalog):
    catalog.add(
        make_info(1, metrics={"loss": 0.5, "f1": math.inf}, aliases=("v1",), tags={"k": "v"}, verified_at=START),
        make_info(2, metrics={"loss": 0.4}, pinned=True, parent="f" * 32),
        make_info(3, state=CheckpointState.TRASHED),
        make_info(4, experiment="bert"),
    )
    catalog.audit("save", checkpoint=make_info(1).id)
    return catalog


@pytest.mark.parametrize(
    "question",
    [
        lambda lookup: lookup.list(),
        lambda lookup: lookup.list("gpt2", limit=1, states=tuple(CheckpointState)),
        lambda lookup: lookup.get(make_info(3).id),
        lambda lookup: lookup.latest("gpt2"),
        lambda lookup: lookup.best("gpt2", "loss", "min"),
        lambda lookup: lookup.resolve("gpt2:v1"),
        lambda lookup: lookup.experiments(),
        lambda lookup: lookup.get_experiment("gpt2"),
        lambda lookup: lookup.history(),
    ],
)
def test_both_readers_give_the_same_answers(filled, tmp_path, question):
    """Every question gets an equal, and not an empty, answer over both connections."""
    with Listing.open(tmp_path) as listing:
        answer = question(listing)
        assert answer
        assert question(filled) == answer


def test_listing_imports_nothing_heavy():
    """What the command line lists with needs neither SQLAlchemy, Alembic, numpy nor torch."""
    program = (
        "import sys; import model_checkpoint.database.listing; "
        "heavy = {'sqlalchemy', 'alembic', 'numpy', 'torch'} & {name.partition('.')[0] for name in sys.modules}; "
        "sys.exit(' '.join(heavy) or 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_listing_does_not_change_the_file(filled, tmp_path):
    """A listing cannot write, and leaves the catalog's bytes alone."""
    filled.close()
    before = (tmp_path / "catalog.db").read_bytes()
    with Listing.open(tmp_path) as listing:
        listing.list()
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            listing._connection.execute("DELETE FROM checkpoints")
    assert (tmp_path / "catalog.db").read_bytes() == before


@pytest.mark.parametrize("what", ["nothing", "empty file", "no directory"])
def test_an_absent_catalog_is_not_created(tmp_path, what):
    """Where there is no catalog, the error says how to build one, and nothing appears."""
    root = tmp_path / "store"
    if what != "no directory":
        root.mkdir()
    if what == "empty file":
        (root / "catalog.db").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CatalogError, match=r"no catalog at .*store/catalog\.db; `mckpt reindex` builds it"):
        Listing.open(root)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_catalog_in_wal_mode_is_read(tmp_path, monkeypatch):
    """A catalog in WAL mode is read with its newest commits, while it is in use and afterwards."""
    monkeypatch.setattr(sqlite, "is_wal_safe", lambda version: True)
    with Catalog.open(tmp_path) as catalog:
        catalog.add(make_info(1))
        assert (tmp_path / "catalog.db-wal").stat().st_size > 0
        with Listing.open(tmp_path) as listing:
            assert listing.latest() == make_info(1)
            catalog.add(make_info(2))
            assert listing.latest() == make_info(2)
    with Listing.open(tmp_path) as listing:
        assert listing.latest() == make_info(2)


def test_a_lock_in_the_middle_is_waited_for_and_given_up(filled, tmp_path):
    """A listing that is already open reports a lock that stays as CatalogBusyError, and works after it is gone."""
    with Listing.open(tmp_path, busy_timeout=0.2) as listing:
        holder = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CatalogBusyError):
            listing.latest()
        holder.close()
        assert listing.latest() == make_info(4, experiment="bert")


@pytest.mark.parametrize("number", range(1, 4))
def test_a_commit_between_two_questions_of_the_opening_is_waited_for(filled, tmp_path, monkeypatch, number):
    """A writer that commits just then made the opening fail at once, under load every few thousand times."""
    writer = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    refusals, asked, execute = [], [], Listing._execute

    def execute_beside_a_writer(self, statement, parameters=None):
        if not statement.startswith("PRAGMA"):
            asked.append(statement)
            if refusals:
                writer.rollback()
            elif len(asked) == number:
                writer.execute("BEGIN EXCLUSIVE")
        try:
            return execute(self, statement, parameters)
        except sqlite3.OperationalError as error:
            refusals.append(error)
            raise

    monkeypatch.setattr(Listing, "_execute", execute_beside_a_writer)
    with Listing.open(tmp_path, busy_timeout=60):
        pass
    writer.close()
    assert len(refusals) == 1


@pytest.mark.parametrize("name", ["a b", "a?mode=memory", "a%41#x", "ünï"])
def test_any_directory_name_will_do(tmp_path, name):
    """Characters that mean something in a URI are part of the path."""
    (tmp_path / name).mkdir()
    with Catalog.open(tmp_path / name) as catalog:
        catalog.add(make_info(1))
    with Listing.open(tmp_path / name) as listing:
        assert listing.latest() == make_info(1)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_edited_row_is_reported_as_damage(filled, tmp_path):
    """A value that no catalog holds raises CatalogDamagedError instead of coming back."""
    filled.close()
    connection = sqlite3.connect(tmp_path / "catalog.db")
    with connection:
        connection.execute("UPDATE checkpoints SET verified_at = 'yesterday' WHERE seq = 1")
    connection.close()
    with Listing.open(tmp_path) as listing, pytest.raises(CatalogError, match="impossible value"):
        listing.get(make_info(1).id)
    with Listing.open(tmp_path) as listing:
        assert listing.get(make_info(2).id) == dataclasses.replace(filled.get(make_info(2).id))
