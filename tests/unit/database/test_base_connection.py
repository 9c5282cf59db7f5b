"""Transactions: across threads, nested, in forked children, and when something fails."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
import traceback

import pytest
from sqlalchemy import text

from model_checkpoint.database import BaseDatabaseConnection, Catalog, Listing
from model_checkpoint.errors import CatalogBusyError, CatalogError, ConfigurationError, DiskFullError, StorageError
from tests.unit.database.samples import make_info


@pytest.fixture
def locked(catalog, tmp_path):
    """The catalog, with a lock on it that lets nobody read."""
    holder = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    yield holder
    holder.close()


@pytest.mark.parametrize(
    "use",
    [
        lambda root: Catalog.open(root, busy_timeout=0.3),
        lambda root: Listing.open(root, busy_timeout=0.3),
        lambda root: Catalog(root / "catalog.db", busy_timeout=0.3).next_seq(),
    ],
)
def test_a_locked_catalog_is_given_up_in_time(locked, tmp_path, use):
    """A lock that stays raises CatalogBusyError, naming the file, soon after the time-out."""
    begin = time.monotonic()
    with pytest.raises(CatalogBusyError, match=r"catalog\.db was locked by another process for 0\.3 s"):
        use(tmp_path)
    assert 0.3 <= time.monotonic() - begin < 3


def test_a_lock_that_goes_away_is_waited_for(locked, tmp_path):
    """A lock that is released within the time-out delays, and does not fail, a transaction."""
    holder_done = threading.Event()

    def write():
        with Catalog.open(tmp_path, busy_timeout=20) as catalog:
            catalog.add(make_info(1))
        holder_done.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert not holder_done.wait(0.3)
    locked.execute("COMMIT")
    writer.join(20)
    assert holder_done.is_set()


def test_a_commit_waits_for_readers(tmp_path):
    """A reader in the middle of its transaction delays a rollback-journal commit; it keeps its own moment."""
    with Catalog.open(tmp_path) as catalog:
        reader = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM checkpoints").fetchone() == (0,)
        writer = threading.Thread(target=catalog.add, args=(make_info(1),))
        writer.start()
        writer.join(0.3)
        assert reader.execute("SELECT count(*) FROM checkpoints").fetchone() == (0,)
        reader.execute("COMMIT")
        writer.join(20)
        assert catalog.latest() == make_info(1)
        reader.close()


def test_a_read_sees_one_moment(catalog):
    """What is committed after a read transaction has begun is seen by the next one only."""
    with catalog.read():
        failed = []

        def add():
            with Catalog(catalog.location, busy_timeout=0.2) as other:
                try:
                    other.add(make_info(1))
                except CatalogBusyError as error:  # rollback journal: the commit has to wait for this read
                    failed.append(error)

        thread = threading.Thread(target=add)
        thread.start()
        thread.join(20)
        assert catalog.list() == ()
    assert len(failed) + len(catalog.list()) == 1


def test_a_write_inside_a_read_is_refused(catalog):
    """A write that would wait for its own thread's read is refused at once."""
    with catalog.read(), pytest.raises(CatalogError, match="would wait for itself"):
        catalog.add(make_info(1))


def test_threads_share_a_catalog(catalog):
    """Many threads add through one catalog; every checkpoint arrives, each with its own seq."""

    def add(worker):
        for number in range(5):
            seq = catalog.next_seq()
            catalog.add(make_info(seq, step=worker * 100 + number))

    threads = [threading.Thread(target=add, args=(worker,)) for worker in range(12)]  # more than pooled connections
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [info.seq for info in catalog.list()] == list(range(60, 0, -1))


def test_a_forked_child_gets_connections_of_its_own(catalog):
    """A child that was forked uses the catalog without touching the parent's connections."""
    catalog.add(make_info(1))
    engine = catalog.engine
    with catalog.write():  # the parent is in the middle of a transaction while it forks
        catalog.add(make_info(2))
        child = os.fork()
        if child == 0:
            found = catalog.list()
            catalog.close()
            os._exit(0 if found == (make_info(1),) and catalog.engine is not engine else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    child = os.fork()
    if child == 0:
        catalog.add(make_info(3))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [info.seq for info in catalog.list()] == [3, 2, 1]


def test_an_exception_undoes_the_transaction(catalog):
    """An exception that leaves a write, also Ctrl-C, undoes it and leaves no lock behind."""

    def interrupted():
        with catalog.write():
            catalog.add(make_info(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with Catalog(catalog.location, busy_timeout=0.1) as other:
        assert other.latest() is None
        other.add(make_info(1))


def test_errors_of_the_database_are_chained(catalog):
    """An error of SQL becomes a CatalogError that names the file and keeps its cause."""
    with (
        pytest.raises(CatalogError, match=r"catalog\.db: no such table: absent") as caught,
        catalog.read() as connection,
    ):
        connection.execute(text("SELECT * FROM absent"))
    assert caught.value.__cause__ is not None


def test_foreign_keys_hold(catalog):
    """A row that refers to nothing is refused."""
    with pytest.raises(CatalogError, match="FOREIGN KEY"), catalog.write() as connection:
        connection.execute(text("INSERT INTO tags VALUES ('nothing', 'a', 'b')"))


def test_a_missing_directory_is_a_storage_error(tmp_path):
    """A store that does not exist is not created by opening its catalog."""
    with pytest.raises(StorageError, match=r"missing/catalog\.db"):
        Catalog.open(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


def fill_disk(connection):
    """Let the next page that is needed be one too many."""
    pages = connection.execute(text("PRAGMA page_count")).scalar()
    connection.execute(text(f"PRAGMA max_page_count = {pages}"))


LARGE = [make_info(seq, tags={"long": "x" * 5000}) for seq in range(1, 20)]


def test_a_full_disk_is_named(catalog):
    """No room for another page raises DiskFullError, and nothing of the transaction stays."""
    with catalog.engine.connect() as connection:
        fill_disk(connection)
    with pytest.raises(DiskFullError, match=r"catalog\.db"):
        catalog.add(*LARGE)
    with pytest.raises(DiskFullError, match=r"catalog\.db"), catalog.write():
        catalog.add(*LARGE)
    catalog.close()
    assert catalog.list() == ()


def test_a_transaction_that_was_undone_cannot_go_on(catalog):
    """When SQLite undoes a whole transaction, swallowing the error does not make the rest of it happen alone."""

    def swallow():
        with catalog.write() as connection:
            fill_disk(connection)
            with pytest.raises(DiskFullError):
                catalog.add(*LARGE)
            with pytest.raises(CatalogError, match="undone by an earlier error"):
                catalog.audit("save")

    with pytest.raises(CatalogError, match="undone by an earlier error"):
        swallow()
    catalog.close()
    assert (catalog.list(), catalog.history()) == ((), ())


def use_read_only(root):
    """What a process without the right to write may and may not do; the exit status of a child."""
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    with Listing.open(root) as listing:
        assert listing.latest() == make_info(1)
    with Catalog.open(root) as catalog:
        assert catalog.latest() == make_info(1)
        with pytest.raises(StorageError) as caught:
            catalog.add(make_info(2))
        assert caught.value.path == str(root / "catalog.db")


@pytest.mark.parametrize("what", ["file", "directory"])
def test_a_read_only_catalog_is_read_and_not_written(catalog, tmp_path, what):
    """Without the right to write, questions are answered and changes raise StorageError with the path."""
    catalog.add(make_info(1))
    catalog.close()
    (tmp_path / "catalog.db-journal").unlink(missing_ok=True)
    for directory in list(tmp_path.parents)[:2]:  # those that pytest made
        directory.chmod(directory.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    (tmp_path / "catalog.db").chmod(0o444 if what == "file" else 0o666)
    tmp_path.chmod(0o777 if what == "file" else 0o555)
    child = os.fork()
    if child == 0:
        try:
            use_read_only(tmp_path)
        except BaseException:  # noqa: BLE001 - the end of a child
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    tmp_path.chmod(0o755)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_url_of_a_file_is_the_file(tmp_path):
    """A SQLite URL opens the same catalog, with the same settings, as its path."""
    with Catalog.open(f"sqlite:///{tmp_path}/catalog.db") as by_url, Catalog.open(tmp_path) as by_path:
        assert by_url.location == by_path.location == str(tmp_path / "catalog.db")
        by_url.add(make_info(1))
        assert by_path.latest() == make_info(1)


@pytest.mark.parametrize(
    "url", ["nosuchdialect://user:secret@host/x", "sqlite://", "sqlite:///:memory:", "://", "postgresql+no://h/x"]
)
def test_urls_that_cannot_work_are_refused(url):
    """A URL without a database, dialect or driver raises ConfigurationError, which shows no password."""
    with pytest.raises(ConfigurationError) as caught:
        BaseDatabaseConnection(url)
    assert "secret" not in str(caught.value)


def test_a_subclass_needs_no_connection_code(tmp_path):
    """A database of one's own is a subclass with its statements and nothing else."""

    class Notes(BaseDatabaseConnection):
        def create(self):
            with self.write() as connection:
                connection.execute(text("CREATE TABLE notes (text TEXT)"))

        def add(self, note):
            with self.write() as connection:
                connection.execute(text("INSERT INTO notes VALUES (:note)"), {"note": note})

        def all(self):
            with self.read() as connection:
                return list(connection.execute(text("SELECT text FROM notes")).scalars())

    with Notes(tmp_path / "notes.db") as notes:
        notes.create()
        notes.add("first")
        assert notes.all() == ["first"]
