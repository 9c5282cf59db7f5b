"""The schema, its migrations, and catalogs of other versions."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from model_checkpoint.database import Catalog, Listing, schema
from model_checkpoint.database.migrations import configuration
from model_checkpoint.database.revision import REVISION
from model_checkpoint.errors import CatalogDamagedError, CatalogError
from model_checkpoint.types import CheckpointState
from tests.unit.database.samples import make_earlier_catalog


def test_migrations_lead_to_the_schema(catalog):
    """A migrated catalog has exactly the tables, columns, indexes and constraints of `schema`."""
    with catalog.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_migrated_and_created_tables_are_the_same_sql(catalog, tmp_path):
    """Foreign keys, cascades and rowid-less tables too: the SQL of both ways differs only in the order of clauses."""

    def clauses(path):
        connection = sqlite3.connect(path)
        sql = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        connection.close()
        return {
            name: sorted(line.strip(" \t,)") for line in re.split(r"\n|, (?=\w+ [A-Z])", text) if line.strip(" \t,)"))
            for name, text in sql
            if name != "alembic_version"
        }

    other = Catalog(tmp_path / "other.db")
    with other, other.write() as connection:
        schema.metadata.create_all(connection)
    assert clauses(tmp_path / "other.db") == clauses(tmp_path / "catalog.db")


def test_the_newest_migration_is_the_one_that_opening_expects():
    """The revision that opening looks for is the head of the migrations, and there is one head."""
    assert ScriptDirectory.from_config(configuration()).get_heads() == [REVISION]


def test_an_up_to_date_catalog_opens_without_alembic(catalog, tmp_path):
    """Only a catalog that needs an upgrade pays for importing Alembic."""
    program = (
        "import sys; from model_checkpoint.database import Catalog; Catalog.open(sys.argv[1]).close(); "
        "sys.exit('alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True)


def set_revision(root, revision):
    connection = sqlite3.connect(root / "catalog.db")
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.close()


@pytest.mark.parametrize("opener", [Catalog, Listing])
def test_a_later_revision_is_refused(catalog, tmp_path, opener):
    """A catalog of a later version is refused by name, and left alone."""
    set_revision(tmp_path, "9999")
    before = (tmp_path / "catalog.db").read_bytes()
    with pytest.raises(CatalogError, match=r"catalog\.db was written by a later version .*9999"):
        opener.open(tmp_path)
    assert (tmp_path / "catalog.db").read_bytes() == before


@pytest.mark.parametrize("opener", [Catalog, Listing])
def test_a_database_of_another_program_is_refused(catalog, tmp_path, opener):
    """Alembic's table with a revision that is none of ours means that the file is not a catalog."""
    set_revision(tmp_path, "1f3a9c2e")
    with pytest.raises(CatalogDamagedError, match="is not a catalog"):
        opener.open(tmp_path)


@pytest.mark.parametrize("opener", [Catalog, Listing])
def test_a_database_with_other_tables_is_refused(tmp_path, opener):
    """A database that has tables, but none of ours, is refused and gets none."""
    connection = sqlite3.connect(tmp_path / "catalog.db")
    connection.execute("CREATE TABLE notes (text)")
    connection.close()
    with pytest.raises(CatalogDamagedError, match="not a catalog"):
        opener.open(tmp_path)


def test_stored_words_are_frozen():
    """The states' words are in every catalog, so they never change."""
    assert [state.value for state in CheckpointState] == ["committed", "trashed", "lost", "quarantined"]


EARLIER_CHECKPOINTS = """
INSERT INTO experiments (name, created_at, config) VALUES ('gpt2', 0, '{}');
INSERT INTO checkpoints (id, experiment, seq, step, created_at, path, nbytes, digest, content, state, backend, pinned)
VALUES ('a1', 'gpt2', 3, 100, 0, 'gpt2/a', 1, 'd', 'c', 'committed', 'safetensors', 0),
       ('b2', 'gpt2', 7, 200, 0, 'gpt2/b', 1, 'd', 'c', 'committed', 'safetensors', 0);
INSERT INTO checkpoint_metrics (checkpoint, experiment, name, value) VALUES
    ('a1', 'gpt2', 'loss', 0.25), ('b2', 'gpt2', 'loss', NULL), ('b2', 'gpt2', 'acc', 0.5)
"""


def test_an_upgrade_keeps_the_metrics_of_checkpoints(tmp_path):
    """From the revision before the one that repeats a checkpoint's place beside each of its metrics."""
    make_earlier_catalog(tmp_path, "0003", EARLIER_CHECKPOINTS)
    with Catalog.open(tmp_path) as catalog:
        found = catalog.columns("gpt2", ["loss", "acc"])
        assert catalog.identities("gpt2", found.seqs) == {3: ("a1", 100), 7: ("b2", 200)}
        assert found.values == {"loss": [0.25, None], "acc": [None, 0.5]}
        assert catalog.best("gpt2", "acc", "max").id == "b2"
