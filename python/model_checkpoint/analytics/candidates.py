"""Checkpoints as columns, for criteria to choose from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from model_checkpoint.analytics.curve import Floats
from model_checkpoint.database.lookup import COMMITTED, Lookup
from model_checkpoint.errors import MetricNotFoundError
from model_checkpoint.types import CheckpointInfo, CheckpointState

if TYPE_CHECKING:
    from typing import Any

__all__ = ["Candidates", "Indices"]

Indices = NDArray[np.int64]

Identify = Callable[[Sequence[int]], Mapping[int, tuple[str, int]]]
"""Id and training step of checkpoints, by their places in the commit order; those that are gone are left out."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Checkpoints in commit order, the same place in every column being the same checkpoint.

    Attributes:
        seqs: Their places in the commit order of the store, which tell them apart.
        values: By name of a metric, the value of each; NaN where one has none.
        identify: Who they are. A catalog is asked for no more than was chosen, which is much less work.
    """

    seqs: Indices
    values: Mapping[str, Floats]
    identify: Identify

    @classmethod
    def of(cls, checkpoints: Iterable[CheckpointInfo], names: Iterable[str]) -> Self:
        """Columns of checkpoints."""
        ordered = sorted(checkpoints, key=lambda checkpoint: checkpoint.seq)
        wanted = tuple(names)
        return cls.of_rows([(c.id, c.step, c.seq, *map(c.metrics.get, wanted)) for c in ordered], wanted)

    @classmethod
    def of_catalog(
        cls,
        catalog: Lookup,
        experiment: str,
        names: Sequence[str],
        *,
        states: Sequence[CheckpointState] = COMMITTED,
    ) -> Self:
        """The checkpoints of an experiment, as of now."""
        columns = catalog.columns(experiment, names, states=states)
        return cls._of(columns.seqs, columns.values, partial(catalog.identities, experiment))

    @classmethod
    def of_rows(cls, rows: Sequence[Sequence[Any]], names: Sequence[str]) -> Self:
        """Rows of id, step, seq, and the values of the names; None is NaN."""
        ids, steps, seqs, *columns = zip(*rows, strict=True) if rows else ((),) * (3 + len(names))
        known = dict(zip(seqs, zip(ids, steps, strict=True), strict=True))
        return cls._of(seqs, dict(zip(names, columns, strict=True)), lambda wanted: {seq: known[seq] for seq in wanted})

    @classmethod
    def _of(cls, seqs: Sequence[int], values: Mapping[str, Sequence[float | None]], identify: Identify) -> Self:
        columns = {name: np.array(column, dtype=np.float64) for name, column in values.items()}
        return cls(np.array(seqs, dtype=np.int64), columns, identify)

    def __len__(self) -> int:
        return len(self.seqs)

    def column(self, name: str) -> Floats:
        """The values of a metric.

        Raises:
            MetricNotFoundError: There is no such column.
        """
        if name not in self.values:
            raise MetricNotFoundError(name, sorted(self.values))
        return self.values[name]

    def check_known(self, names: Iterable[str]) -> None:
        """Return if each metric has a value that is not NaN, of some candidate.

        Raises:
            MetricNotFoundError: One has none.
        """
        known = {name for name, values in self.values.items() if not np.isnan(values).all()}
        for name in names:
            if len(self) and name not in known:
                raise MetricNotFoundError(name, sorted(known))

    def backwards(self) -> Candidates:
        """The last one first, and commits in that order, too."""
        values = {name: column[::-1] for name, column in self.values.items()}
        return Candidates(self.seqs, values, self.identify)

    def until(self, count: int) -> Candidates:
        """The first ``count`` of them."""
        values = {name: column[:count] for name, column in self.values.items()}
        return Candidates(self.seqs[:count], values, self.identify)
