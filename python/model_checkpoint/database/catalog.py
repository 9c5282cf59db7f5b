"""The catalog of a store: what there is, which is best, and what was done."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cache, partial
from types import MappingProxyType
from typing import Any, Self

from sqlalchemy import Connection, TextClause, delete, text, update

from model_checkpoint.database import schema
from model_checkpoint.database.base_connection import BaseDatabaseConnection
from model_checkpoint.database.listing import CATALOG_NAME
from model_checkpoint.database.lookup import Lookup, get_checkpoint
from model_checkpoint.database.opening import bring_up_to_date
from model_checkpoint.database.records import AuditEntry
from model_checkpoint.database.refs import check_alias
from model_checkpoint.database.rows import Fetch, Row, audit_row, experiment_row, metric_row
from model_checkpoint.database.writing import (
    add_checkpoint,
    delete_checkpoints,
    insert_rows,
    replace_all,
    take_seq,
    update_checkpoints,
    upsert,
)
from model_checkpoint.errors import CatalogDamagedError, CatalogError, CheckpointNotFoundError
from model_checkpoint.types import CheckpointInfo, CheckpointState, ExperimentInfo
from model_checkpoint.utils.clock import to_microseconds, utc_now

__all__ = ["Catalog"]


class Catalog(BaseDatabaseConnection, Lookup):
    """An index over the manifests of a store, and the log of what was done to it.

    Every method is one transaction. ``with catalog.write():`` around several makes them one. Methods that take ``ids``
    take one id or several, and change all of them or none. The questions are in `Lookup`.
    """

    @classmethod
    def open(
        cls,
        root: str | os.PathLike[str],
        *,
        busy_timeout: float = 30.0,
        pool_size: int = 5,
        fill: Callable[[Self], None] | None = None,
    ) -> Self:
        """Open the catalog of the store at ``root``, or at the URL of another database; create it if there is none.

        Args:
            root: The store's directory, which exists, or a URL.
            busy_timeout: Seconds to wait for locks of other processes.
            pool_size: Connections to keep open.
            fill: Puts into a new catalog what it must not be without, in the transaction that creates it.

        Raises:
            CatalogBusyError: Another process held it for longer than ``busy_timeout``.
            CatalogDamagedError: It is not readable as a catalog.
            CatalogError: It is of a later version.
            StorageError: The file system refused it.
        """
        given = os.fspath(root)
        database = given if "://" in given else os.path.join(given, CATALOG_NAME)
        catalog = cls(database, busy_timeout=busy_timeout, pool_size=pool_size)
        try:
            bring_up_to_date(catalog, (lambda: None) if fill is None else partial(fill, catalog))
        except BaseException:
            catalog.close()
            raise
        return catalog

    # --- experiments --------------------------------------------------------------------------------------------------

    def add_experiment(self, info: ExperimentInfo) -> ExperimentInfo:
        """Add an experiment unless one of its name exists; return the one that the catalog has."""
        with self.write() as connection:
            known = self.get_experiment(info.name)
            if known is None:
                insert_rows(connection, schema.experiments, [experiment_row(info)])
            return known or info

    def update_experiment(self, info: ExperimentInfo) -> None:
        """Replace an experiment's settings.

        Raises:
            CatalogError: There is no experiment of this name.
        """
        changed = update(schema.experiments).where(schema.experiments.c.name == info.name)
        with self.write() as connection:
            if connection.execute(changed.values(experiment_row(info))).rowcount == 0:
                raise CatalogError(f"there is no experiment {info.name!r}")

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def next_seq(self) -> int:
        """A number of the commit order that nobody else has, higher than all before."""
        with self.write() as connection:
            return take_seq(connection)

    def add(self, *infos: CheckpointInfo) -> None:
        """Add committed checkpoints; one that is known with the same id and digest is left as it is.

        An experiment that the catalog does not know is added without settings.

        Raises:
            CatalogConflictError: An id is known with another digest, or a seq or path belongs to another checkpoint.
        """
        with self.write() as connection:
            for info in infos:
                add_checkpoint(connection, info)

    def set_state(self, ids: str | Iterable[str], state: CheckpointState) -> None:
        """Say where checkpoints are in their life.

        Raises:
            CheckpointNotFoundError: One of them is not known.
        """
        self._update(ids, state=state.value)

    def set_verified(self, ids: str | Iterable[str], at: datetime | None = None) -> None:
        """Say that all bytes of checkpoints were found intact, by default now.

        Raises:
            CheckpointNotFoundError: One of them is not known.
        """
        self._update(ids, verified_at=to_microseconds(at or utc_now()))

    def pin(self, ids: str | Iterable[str]) -> None:
        """Protect checkpoints from every cleanup.

        Raises:
            CheckpointNotFoundError: One of them is not known.
        """
        self._update(ids, pinned=True)

    def unpin(self, ids: str | Iterable[str]) -> None:
        """Undo `pin`.

        Raises:
            CheckpointNotFoundError: One of them is not known.
        """
        self._update(ids, pinned=False)

    def remove(self, ids: str | Iterable[str]) -> None:
        """Forget checkpoints that are gone for good; unknown ones are forgotten already. The audit log stays."""
        with self.write() as connection:
            delete_checkpoints(connection, _several(ids))

    def rebuild(self, infos: Iterable[CheckpointInfo], experiments: Iterable[ExperimentInfo]) -> None:
        """Replace everything that can be rebuilt, by what a scan of the store has found, in one transaction.

        Logged metrics, the audit log, and experiments with logged metrics stay. Checkpoints with the same seq are put
        in the order of their creation.

        Raises:
            CatalogConflictError: Two checkpoints have the same id or path; nothing was changed.
        """
        with self.write() as connection:
            replace_all(connection, tuple(infos), tuple(experiments))

    # --- what is said of a checkpoint ---------------------------------------------------------------------------------

    def set_alias(self, checkpoint: str, alias: str) -> None:
        """Name a checkpoint; the alias moves if another one of the experiment has it.

        Raises:
            CheckpointNotFoundError: There is no such checkpoint.
            ConfigurationError: The alias could not be told from another kind of reference.
        """
        check_alias(alias)
        with self.write() as connection:
            experiment = get_checkpoint(_fetch_by(connection), checkpoint).experiment
            row = {"alias": alias, "experiment": experiment, "checkpoint": checkpoint}
            upsert(connection, schema.aliases, [row])

    def remove_alias(self, experiment: str, alias: str) -> None:
        """Take a name away.

        Raises:
            CheckpointNotFoundError: Nothing in the experiment has it.
        """
        table = schema.aliases
        statement = delete(table).where(table.c.experiment == experiment, table.c.alias == alias)
        with self.write() as connection:
            if connection.execute(statement).rowcount == 0:
                raise CheckpointNotFoundError(f"experiment {experiment!r} has no alias {alias!r}", ref=alias)

    def set_tag(self, checkpoint: str, key: str, value: str) -> None:
        """Attach a key and value to a checkpoint; a value of the same key is replaced.

        Raises:
            CheckpointNotFoundError: There is no such checkpoint.
        """
        with self.write() as connection:
            get_checkpoint(_fetch_by(connection), checkpoint)
            upsert(connection, schema.tags, [{"checkpoint": checkpoint, "key": key, "value": value}])

    def remove_tag(self, checkpoint: str, key: str) -> None:
        """Detach a key, if it is there."""
        statement = delete(schema.tags).where(schema.tags.c.checkpoint == checkpoint, schema.tags.c.key == key)
        with self.write() as connection:
            connection.execute(statement)

    def attach_metrics(self, checkpoint: str, metrics: Mapping[str, float]) -> None:
        """Give a checkpoint values that were measured after it was saved; values of the same name are replaced.

        Raises:
            CheckpointNotFoundError: There is no such checkpoint.
        """
        with self.write() as connection:
            info = get_checkpoint(_fetch_by(connection), checkpoint)
            upsert(connection, schema.checkpoint_metrics, [metric_row(info, *metric) for metric in metrics.items()])

    # --- log ----------------------------------------------------------------------------------------------------------

    def audit(
        self,
        action: str,
        *,
        checkpoint: str | None = None,
        actor: str | None = None,
        details: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        """Append to the audit log. In one ``with catalog.write():`` with what it tells of, neither is there alone."""
        entry = AuditEntry(utc_now(), action, checkpoint, actor, details)
        with self.write() as connection:
            insert_rows(connection, schema.audit_log, [audit_row(entry)])

    # --- care ---------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Read all of a SQLite catalog and see whether it is sound. Takes as long as the catalog is large.

        Raises:
            CatalogDamagedError: It is not; the first findings are in the message.
        """
        with self.read() as connection:
            findings = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check(5)"))]
            orphans = connection.execute(text("PRAGMA foreign_key_check"))
            findings += [f"a row of {table} lacks its {parent}" for table, _, parent, _ in orphans]
        if findings != ["ok"]:
            problems = "; ".join(findings[:5])
            raise CatalogDamagedError(f"{self.location} is damaged ({problems}); `mckpt reindex` rebuilds it")

    @contextmanager
    def _snapshot(self) -> Iterator[Fetch]:
        with self.read() as connection:
            yield _fetch_by(connection)

    def _update(self, ids: str | Iterable[str], **values: object) -> None:
        with self.write() as connection:
            update_checkpoints(connection, _several(ids), **values)


def _several(ids: str | Iterable[str]) -> Iterable[str]:
    return (ids,) if isinstance(ids, str) else ids


def _fetch_by(connection: Connection) -> Fetch:
    def fetch(statement: str, parameters: Mapping[str, object]) -> Iterable[Row]:
        rows: Any = connection.execute(_prepared(statement), dict(parameters)).cursor  # without a Row for each
        return rows  # type: ignore[no-any-return]

    return fetch


@cache
def _prepared(statement: str) -> TextClause:
    """`text` parses its argument each time; there are only as many statements as `queries` has."""
    return text(statement)
