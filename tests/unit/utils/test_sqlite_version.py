"""Which SQLite may use WAL with several writers, and which module is taken."""

from __future__ import annotations

import importlib
import sqlite3
from types import SimpleNamespace

import pytest

from model_checkpoint.utils import sqlite_version
from model_checkpoint.utils.sqlite_version import is_wal_safe, sqlite_driver


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 49, 9), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 0), False),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_safe_versions_are_those_with_the_remedy(version, safe):
    """3.51.3 and later are safe, and the two series that got the remedy as a backport."""
    assert is_wal_safe(version) is safe


@pytest.mark.parametrize(
    ("standard", "other", "expected"),
    [
        ((3, 51, 3), (3, 52, 0), "standard"),
        ((3, 40, 1), (3, 51, 3), "other"),
        ((3, 40, 1), (3, 51, 1), "standard"),  # newer, but no safer
        ((3, 40, 1), None, "standard"),
    ],
)
def test_another_module_is_taken_only_if_it_is_the_safe_one(monkeypatch, standard, other, expected):
    """pysqlite3 replaces an unsafe standard module if it is there and safe."""

    def import_module(name):
        if other is None:
            raise ImportError(name)
        return modules["other"]

    modules = {"standard": sqlite3, "other": SimpleNamespace(sqlite_version_info=other)}
    monkeypatch.setattr(sqlite3, "sqlite_version_info", standard)
    monkeypatch.setattr(sqlite_version, "importlib", SimpleNamespace(import_module=import_module))
    assert sqlite_driver.__wrapped__() is modules[expected]


def test_the_driver_of_this_machine_is_a_module():
    """Whatever is chosen here is a DB-API module that can be imported by name."""
    assert importlib.import_module(sqlite_driver().__name__) is sqlite_driver()
