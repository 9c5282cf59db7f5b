"""The reading half of the catalog, whatever connection it reads over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from model_checkpoint.database import queries
from model_checkpoint.database.records import AuditEntry, MetricColumns, SegmentInfo
from model_checkpoint.database.resolving import Resolver, state_parameters
from model_checkpoint.database.rows import Fetch, read_audit, read_checkpoints, read_experiments
from model_checkpoint.errors import CheckpointNotFoundError
from model_checkpoint.types import CheckpointInfo, CheckpointState, ExperimentInfo, Mode

__all__ = ["COMMITTED", "Lookup"]

COMMITTED = (CheckpointState.COMMITTED,)

_FEW = 100
"""So many rows are found one by one sooner than among all of an experiment."""


class Lookup(ABC):
    """Questions to a catalog. Each is answered from one transaction, so from one moment.

    All of them raise `CatalogBusyError`, `CatalogDamagedError`, `StorageError` or `CatalogError` when the database
    fails. Every list is newest first by commit order; ``states`` says which checkpoints count.
    """

    @abstractmethod
    def _snapshot(self) -> AbstractContextManager[Fetch]:
        """A transaction, as the function that runs statements in it."""

    def get(self, checkpoint: str) -> CheckpointInfo:
        """The checkpoint with this id, in whatever state it is.

        Raises:
            CheckpointNotFoundError: There is none.
        """
        with self._snapshot() as fetch:
            return get_checkpoint(fetch, checkpoint)

    def list(
        self,
        experiment: str | None = None,
        *,
        limit: int | None = None,
        states: Sequence[CheckpointState] = COMMITTED,
    ) -> tuple[CheckpointInfo, ...]:
        """Checkpoints of an experiment, or of all; at most ``limit``."""
        with self._snapshot() as fetch:
            return Resolver(fetch, tuple(states)).newest(experiment, queries.NO_LIMIT if limit is None else limit)

    def latest(self, experiment: str | None = None) -> CheckpointInfo | None:
        """The newest committed checkpoint of an experiment, or of all; None if there is none."""
        with self._snapshot() as fetch:
            return next(iter(Resolver(fetch, COMMITTED).newest(experiment, limit=1)), None)

    def best(self, experiment: str, metric: str, mode: Mode) -> CheckpointInfo | None:
        """The committed checkpoint with the best number for a metric, the later one of equals; None if none has one.

        NaN and missing values never win.
        """
        with self._snapshot() as fetch:
            return next(iter(Resolver(fetch, COMMITTED).best(experiment, metric, mode)), None)

    def columns(
        self, experiment: str, metrics: Sequence[str], *, states: Sequence[CheckpointState] = COMMITTED
    ) -> MetricColumns:
        """The values of metrics of all checkpoints of an experiment.

        A twentieth of the time of `list`, where only these are needed.
        """
        scope = {"experiment": experiment}
        with self._snapshot() as fetch:
            seqs = [seq for (seq,) in fetch(queries.order(states=len(states)), scope | state_parameters(states))]
            rows: dict[str, Any] = {name: fetch(queries.VALUES, scope | {"metric": name}) for name in metrics}
            known: dict[str, dict[int, float]] = {name: dict(found) for name, found in rows.items()}
        return MetricColumns(seqs, {name: list(map(known[name].get, seqs)) for name in metrics})

    def identities(self, experiment: str, seqs: Sequence[int]) -> dict[int, tuple[str, int]]:
        """Ids and training steps of checkpoints of an experiment, by their places in the commit order.

        Those that the catalog does not have any more are not among them.
        """
        scope, wanted = {"experiment": experiment}, set(seqs)
        with self._snapshot() as fetch:
            if len(wanted) > _FEW:
                rows = fetch(queries.IDENTITIES, scope)
            else:
                rows = (row for seq in wanted for row in fetch(queries.IDENTITY, scope | {"seq": seq}))
            return {seq: (checkpoint, step) for seq, checkpoint, step in rows if seq in wanted}

    def resolve(
        self,
        ref: str | int,
        experiment: str | None = None,
        *,
        states: Sequence[CheckpointState] = COMMITTED,
    ) -> CheckpointInfo:
        """The checkpoint that a reference names; `model_checkpoint.database.refs` lists the kinds.

        Args:
            ref: The reference. An experiment that it names wins over ``experiment``.
            experiment: Where to look; None for the whole store, where a reference that fits several experiments is
                ambiguous.
            states: What may be found.

        Raises:
            CheckpointNotFoundError: Nothing or more than one thing answers to it; its candidates do.
        """
        with self._snapshot() as fetch:
            return Resolver(fetch, tuple(states)).resolve(ref, experiment)

    def experiments(self) -> tuple[ExperimentInfo, ...]:
        """All experiments, oldest first."""
        with self._snapshot() as fetch:
            return read_experiments(fetch(queries.EXPERIMENTS, {}))

    def get_experiment(self, name: str) -> ExperimentInfo | None:
        """The experiment of this name, or None."""
        with self._snapshot() as fetch:
            return next(iter(read_experiments(fetch(queries.EXPERIMENT, {"experiment": name}))), None)

    def segments(self) -> tuple[SegmentInfo, ...]:
        """The files of logged metrics of all experiments, by path."""
        with self._snapshot() as fetch:
            return tuple(SegmentInfo(*row) for row in fetch(queries.SEGMENTS, {}))

    def history(self, checkpoint: str | None = None, *, limit: int | None = None) -> tuple[AuditEntry, ...]:
        """The audit log, newest first: all of it, or what was done to one checkpoint (also one that is gone)."""
        bound = queries.NO_LIMIT if limit is None else limit
        with self._snapshot() as fetch:
            if checkpoint is None:
                return read_audit(fetch(queries.AUDIT_LOG, {"limit": bound}))
            return read_audit(fetch(queries.AUDIT_LOG_OF_CHECKPOINT, {"id": checkpoint, "limit": bound}))

    def actions(self, action: str) -> tuple[AuditEntry, ...]:
        """What the audit log has of one kind of action, oldest first."""
        with self._snapshot() as fetch:
            return read_audit(fetch(queries.AUDIT_LOG_OF_ACTION, {"action": action}))


def get_checkpoint(fetch: Fetch, checkpoint: str) -> CheckpointInfo:
    """`Lookup.get`, inside a transaction."""
    states = tuple(CheckpointState)
    selection = queries.select(queries.BY_ID, states=len(states))
    parameters = {"id": checkpoint, "limit": 1} | state_parameters(states)
    found = read_checkpoints(fetch, selection, parameters)
    if not found:
        raise CheckpointNotFoundError(f"no checkpoint with id {checkpoint!r}", ref=checkpoint)
    return found[0]
