"""Catalogs of somebody who wants more from a reader than an answer: SQLite lets a file carry programs."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

__all__ = ["SCHEMAS", "damaged", "with_schema"]

_EVIL = "load_extension('/tmp/mckpt-canary.so')"
_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

SCHEMAS: dict[str, str] = {
    "a trigger that loads an extension": f"""
        CREATE TRIGGER evil AFTER UPDATE ON checkpoints BEGIN SELECT {_EVIL}; END""",
    "a trigger that deletes what is added": """
        CREATE TRIGGER evil AFTER INSERT ON checkpoints BEGIN DELETE FROM checkpoints; END""",
    "a trigger that never ends": f"""
        CREATE TRIGGER evil BEFORE UPDATE ON checkpoints BEGIN {_ENDLESS}; END""",
    "a trigger that unpins": """
        CREATE TRIGGER evil AFTER UPDATE ON checkpoints BEGIN UPDATE checkpoints SET pinned = 0; END""",
    "a view in the place of a table": """
        ALTER TABLE checkpoints RENAME TO hidden; CREATE VIEW checkpoints AS SELECT * FROM hidden""",
    "a view that loads an extension": f"""
        DROP TABLE aliases; CREATE VIEW aliases AS SELECT 'a' AS experiment, {_EVIL} AS alias, 'b' AS checkpoint""",
    "a view that never ends": f"""
        DROP TABLE aliases;
        CREATE VIEW aliases AS SELECT 'a' AS experiment, ({_ENDLESS}) AS alias, 'b' AS checkpoint, 0 AS updated_at""",
    "a view that fills the memory": """
        DROP TABLE tags;
        CREATE VIEW tags AS SELECT 'a' AS checkpoint, hex(zeroblob(400000000)) AS key, 'v' AS value""",
    "a view of the revision": """
        DROP TABLE alembic_version;
        CREATE VIEW alembic_version AS SELECT '0005' AS version_num""",
    "a view of the file's own pages": """
        CREATE VIEW pages AS SELECT * FROM pragma_database_list""",
    "a virtual table with its shadow tables": """
        CREATE VIRTUAL TABLE evil USING fts5(a); INSERT INTO evil VALUES ('x')""",
    "a virtual table in the place of a table": """
        DROP TABLE tags; CREATE VIRTUAL TABLE tags USING fts4(checkpoint, key, value)""",
    "a virtual table of a module that does not exist": """
        PRAGMA writable_schema = ON;
        INSERT INTO sqlite_master VALUES ('table', 'evil', 'evil', 0, 'CREATE VIRTUAL TABLE evil USING canary(x)')""",
    "a tokenizer by its address": """
        CREATE VIEW evil AS SELECT fts3_tokenizer('simple', x'4141414141414141')""",
    "a column that is computed": f"""
        ALTER TABLE checkpoints ADD COLUMN evil AS ({_EVIL})""",
    "an index of an expression": """
        CREATE INDEX evil ON checkpoints (abs(step) + random())""",
    "a schema that is no SQL": """
        PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'CREATE TABLE (' WHERE name = 'checkpoints'""",
    "a schema that is no text": """
        PRAGMA writable_schema = ON;
        UPDATE sqlite_master SET name = CAST(x'FF80' AS TEXT), sql = 'CREATE TABLE (' WHERE name = 'checkpoints'""",
    "a schema of code": """
        PRAGMA writable_schema = ON;
        UPDATE sqlite_master SET sql = 'import os; os.system("true")' WHERE name = 'checkpoints'""",
    "two tables on one page": """
        PRAGMA writable_schema = ON;
        UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'aliases')
        WHERE name = 'checkpoints'""",
    "a table on the page of the schema": """
        PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = 1 WHERE name = 'checkpoints'""",
    "texts of code": """
        UPDATE checkpoints SET backend = 'mckpt_canary'""",
    "paths that lead away": """
        UPDATE checkpoints SET path = '../../../../etc'""",
    "numbers that are texts": """
        UPDATE checkpoints SET step = 'one', seq = x'00', created_at = 'now'""",
    "numbers that are huge": """
        UPDATE checkpoints SET created_at = 9223372036854775807, nbytes = -1""",
}
"""What was done to a catalog, as statements."""


def with_schema(path: Path, name: str) -> bool:
    """Apply one of `SCHEMAS` to a catalog; whether the SQLite at hand can do it."""
    connection = sqlite3.connect(path)
    try:
        connection.executescript(f"PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON; {SCHEMAS[name]};")
    except sqlite3.DatabaseError:  # an extension is missing, or it knows better by now
        return False
    finally:
        connection.close()
    return True


def damaged(rng: random.Random, raw: bytes) -> bytes:
    """A catalog with some bytes changed: in its header and its schema more often than elsewhere."""
    result = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        result[rng.randrange(min(len(raw), rng.choice((100, 4096, len(raw)))))] = rng.choice(
            (0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256))
        )
    if rng.random() < 0.1:
        return bytes(result[: rng.randrange(len(result))])
    return bytes(result)
