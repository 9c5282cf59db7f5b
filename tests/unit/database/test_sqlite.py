"""How a catalog file is opened."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy import text

from model_checkpoint.database import Catalog, sqlite
from model_checkpoint.database.sqlite import ROLLBACK, WAL, journal_policy
from model_checkpoint.errors import DurabilityWarning
from model_checkpoint.utils.filesystem import FileSystem
from tests.unit.database.samples import make_info

SAFE, UNSAFE = (3, 51, 3), (3, 40, 1)


def pragmas(catalog):
    names = ("foreign_keys", "journal_mode", "synchronous", "busy_timeout", "trusted_schema", "cell_size_check")
    with catalog.read() as connection:
        return {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in names}


def stored_mode(root):
    connection = sqlite3.connect(root / "catalog.db")
    try:
        return connection.execute("PRAGMA journal_mode").fetchone()[0]
    finally:
        connection.close()


@pytest.fixture
def wal_safe(monkeypatch):
    """Whatever SQLite there is counts as safe; one process at a time is, with any version."""
    monkeypatch.setattr(sqlite, "is_wal_safe", lambda version: True)


@pytest.fixture
def wal_unsafe(monkeypatch):
    monkeypatch.setattr(sqlite, "is_wal_safe", lambda version: False)


def test_an_unsafe_sqlite_uses_a_rollback_journal(wal_unsafe, tmp_path):
    """Where WAL could damage the catalog, a rollback journal with EXTRA synchronisation is used."""
    with Catalog.open(tmp_path) as catalog:
        assert pragmas(catalog) == {
            "foreign_keys": 1,
            "journal_mode": "truncate",
            "synchronous": 3,  # EXTRA
            "busy_timeout": 10,  # milliseconds; the rest of the waiting is done by `busy`
            "trusted_schema": 0,
            "cell_size_check": 1,
        }


def test_a_safe_sqlite_uses_wal(wal_safe, tmp_path):
    """Where WAL is safe it is used, with FULL synchronisation, and stays after the last connection."""
    with Catalog.open(tmp_path) as catalog:
        found = pragmas(catalog)
    assert (found["journal_mode"], found["synchronous"]) == ("wal", 2)
    assert stored_mode(tmp_path) == "wal"


def test_every_pooled_connection_is_configured(catalog):
    """Connections beyond the first have the same settings as the first."""
    with catalog.engine.connect() as first, catalog.engine.connect() as second:
        assert first.connection.driver_connection is not second.connection.driver_connection
        for connection in (first, second):
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() in {2, 3}


def test_a_wal_catalog_is_switched_back_under_an_unsafe_version(tmp_path, monkeypatch):
    """A catalog in WAL mode loses it, and nothing else, when it is opened by a SQLite that is not safe for it."""
    monkeypatch.setattr(sqlite, "is_wal_safe", lambda version: True)
    with Catalog.open(tmp_path) as catalog:
        catalog.add(make_info(1))
    monkeypatch.setattr(sqlite, "is_wal_safe", lambda version: False)
    with Catalog.open(tmp_path) as catalog:
        assert catalog.latest() == make_info(1)
        assert pragmas(catalog)["journal_mode"] == "truncate"
    assert stored_mode(tmp_path) == "delete"


def test_a_wal_catalog_in_use_stays_and_warns(tmp_path, monkeypatch):
    """A catalog that others use in WAL mode cannot be switched; this is said, and it works all the same."""
    monkeypatch.setattr(sqlite, "is_wal_safe", lambda version: True)
    with Catalog.open(tmp_path) as first:
        monkeypatch.setattr(sqlite, "is_wal_safe", lambda version: False)
        first.add(make_info(1))
        with pytest.warns(DurabilityWarning, match="is in WAL mode and in use"):
            second = Catalog.open(tmp_path)
        with second:
            assert second.latest() == make_info(1)
            found = pragmas(second)
            assert (found["journal_mode"], found["synchronous"]) == ("wal", 2)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "lustre", "fuse.sshfs", "9p"])
def test_a_network_file_system_never_gets_wal(tmp_path, monkeypatch, kind):
    """On a network file system the policy is a rollback journal, whatever the version, and it is said once."""
    monkeypatch.setattr(sqlite, "file_system_of", lambda path: FileSystem(kind, "/", is_network=True))
    path = str(tmp_path / "catalog.db")
    with pytest.warns(DurabilityWarning, match=kind):
        assert journal_policy(path, SAFE) == ROLLBACK
    assert journal_policy(path, SAFE) == ROLLBACK  # a second warning would be an error


def test_a_local_file_system_goes_by_the_version(tmp_path, monkeypatch):
    """On a local file system only the version decides."""
    monkeypatch.setattr(sqlite, "file_system_of", lambda path: FileSystem("ext4", "/", is_network=False))
    assert [journal_policy(str(tmp_path), version) for version in (SAFE, UNSAFE)] == [WAL, ROLLBACK]
