"""Many processes on one catalog, some of them killed in the middle of a transaction."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model_checkpoint.database import Catalog, Listing
from tests.unit.database.samples import make_info

pytestmark = pytest.mark.concurrency

REPOSITORY = Path(__file__).parents[2]
PROCESSES = 8
ADDS = 50

# Children start their work together, when the file `go` appears.
BARRIER = """
import os, sys, time
from model_checkpoint.database import Catalog, Listing
from tests.unit.database.samples import make_info
root = sys.argv[1]
print("ready", flush=True)
while not os.path.exists(os.path.join(root, "go")):
    time.sleep(0.001)
"""

OPEN_NEW = BARRIER + "Catalog.open(root).close()"

ADD = f"""{BARRIER}
with Catalog.open(root) as catalog:
    for _ in range({ADDS}):
        seq = catalog.next_seq()
        with catalog.write():
            catalog.add(make_info(seq, metrics={{"loss": float(seq)}}, tags={{"pid": str(os.getpid())}}))
            catalog.audit("save", checkpoint=make_info(seq).id)
        print(seq, flush=True)
"""

READ = f"""{BARRIER}
highest = 0
while highest < {PROCESSES * ADDS}:
    with Listing.open(root, busy_timeout=60) as listing:
        infos = listing.list()
    seqs = [info.seq for info in infos]
    assert seqs == sorted(seqs, reverse=True)
    assert all(info.metrics == {{"loss": float(info.seq)}} and info.tags for info in infos), "half a checkpoint"
    assert len(infos) >= highest, "a committed checkpoint vanished"
    highest = len(infos)
    time.sleep(0.05)
"""

ADD_FOREVER = f"""{BARRIER}
with Catalog.open(root) as catalog:
    while True:
        seq = catalog.next_seq()
        catalog.add(make_info(seq, tags={{"long": "x" * 20_000}}))
        print(seq, flush=True)
"""


def start(program, root):
    return subprocess.Popen(
        [sys.executable, "-c", program, root], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def go(root, children):
    for child in children:
        assert child.stdout.readline() == "ready\n"
    (root / "go").touch()


def finish(children):
    """The lines that each child printed; every one must have succeeded."""
    outputs = []
    for child in children:
        output, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors
        outputs.append(output.splitlines())
    return outputs


def test_processes_create_one_catalog_at_once(tmp_path):
    """Processes that open a brand-new catalog at the same moment all succeed, and make one schema."""
    children = [start(OPEN_NEW, tmp_path) for _ in range(4)]
    go(tmp_path, children)
    finish(children)
    with Catalog.open(tmp_path) as catalog:
        catalog.check()
        catalog.add(make_info(1))


def test_processes_add_at_once(tmp_path):
    """Every checkpoint of every process arrives, with a seq of its own that grows within each process."""
    Catalog.open(tmp_path).close()
    writers = [start(ADD, tmp_path) for _ in range(PROCESSES)]
    reader = start(READ, tmp_path)
    go(tmp_path, [*writers, reader])
    seqs = [[int(line) for line in lines] for lines in finish(writers)]
    finish([reader])
    assert all(own == sorted(own) for own in seqs)
    assert sorted(seq for own in seqs for seq in own) == list(range(1, PROCESSES * ADDS + 1))
    with Catalog.open(tmp_path) as catalog:
        catalog.check()
        assert [info.seq for info in catalog.list()] == list(range(PROCESSES * ADDS, 0, -1))
        assert len(catalog.history()) == PROCESSES * ADDS


def test_killed_writers_leave_a_sound_catalog(tmp_path):
    """After any number of SIGKILLs every acknowledged checkpoint is there, whole, and the next writer goes on."""
    Catalog.open(tmp_path).close()
    chance = random.Random(1)
    acknowledged = 0
    for _ in range(5):
        children = [start(ADD_FOREVER, tmp_path) for _ in range(2)]
        go(tmp_path, children)
        time.sleep(chance.uniform(0.05, 0.3))
        for child in children:
            child.send_signal(signal.SIGKILL)
        acknowledged += sum(len(child.communicate()[0].splitlines()) for child in children)
        (tmp_path / "go").unlink()
        with Listing.open(tmp_path) as listing:  # before anybody else could have cleaned up
            found = listing.list()
        assert len(found) >= acknowledged
        assert all(len(info.tags["long"]) == 20_000 for info in found)
    with Catalog.open(tmp_path) as catalog:
        catalog.check()
        assert catalog.list() == found
        catalog.add(make_info(catalog.next_seq()))
    assert acknowledged > 0


HALF_WRITTEN = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(os.path.join(sys.argv[1], "catalog.db"), isolation_level=None)
connection.execute("PRAGMA cache_size = 5")  # so that changed pages reach the file before the commit
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE checkpoints SET digest = 'half', path = path || 'half'")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("first", [Listing, Catalog])
def test_a_transaction_that_was_half_written_is_undone(tmp_path, first):
    """Whoever opens the catalog first after a writer died in the middle undoes what it had written."""
    infos = [make_info(seq) for seq in range(1, 1001)]
    with Catalog.open(tmp_path) as catalog:
        catalog.rebuild(infos, [])
    before = (tmp_path / "catalog.db").read_bytes()
    child = subprocess.run([sys.executable, "-c", HALF_WRITTEN, tmp_path], check=False)
    assert child.returncode == -signal.SIGKILL
    assert (tmp_path / "catalog.db-journal").stat().st_size > 0
    assert (tmp_path / "catalog.db").read_bytes() != before
    with first.open(tmp_path) as lookup:
        assert lookup.list() == tuple(reversed(infos))
    connection = sqlite3.connect(tmp_path / "catalog.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
