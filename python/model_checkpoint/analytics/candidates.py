"""Checkpoints as columns, for criteria to choose from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from model_checkpoint.analytics.curve import Floats
from model_checkpoint.database.records import MetricColumns
from model_checkpoint.errors import MetricNotFoundError
from model_checkpoint.types import CheckpointInfo

if TYPE_CHECKING:
    from typing import Any

__all__ = ["Candidates", "Indices"]

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Checkpoints in commit order, the same place in every column being the same checkpoint.

    Attributes:
        ids: Their ids.
        steps: Their training steps.
        seqs: Their places in the commit order.
        values: By name of a metric, the value of each; NaN where one has none.
    """

    ids: Sequence[str]
    steps: Indices
    seqs: Indices
    values: Mapping[str, Floats]

    @classmethod
    def of(cls, checkpoints: Iterable[CheckpointInfo], names: Iterable[str]) -> Self:
        """Columns of checkpoints."""
        ordered = sorted(checkpoints, key=lambda checkpoint: checkpoint.seq)
        columns = {name: [c.metrics.get(name) for c in ordered] for name in names}
        places = [c.id for c in ordered], [c.step for c in ordered], [c.seq for c in ordered]
        return cls.of_columns(MetricColumns(*places, columns))

    @classmethod
    def of_columns(cls, columns: MetricColumns) -> Self:
        """What the catalog has: `Lookup.columns`."""
        return cls(
            columns.ids,
            np.array(columns.steps, dtype=np.int64),
            np.array(columns.seqs, dtype=np.int64),
            {name: np.array(values, dtype=np.float64) for name, values in columns.values.items()},
        )

    @classmethod
    def of_rows(cls, rows: Sequence[Sequence[Any]], names: Sequence[str]) -> Self:
        """Rows of id, step, seq, and the values of the names; None is NaN."""
        ids, steps, seqs, *values = zip(*rows, strict=True) if rows else ((),) * (3 + len(names))
        return cls(
            ids,
            np.array(steps, dtype=np.int64),
            np.array(seqs, dtype=np.int64),
            {name: np.array(column, dtype=np.float64) for name, column in zip(names, values, strict=True)},
        )

    def __len__(self) -> int:
        return len(self.ids)

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
        return Candidates(self.ids[::-1], self.steps[::-1], self.seqs, values)

    def until(self, count: int) -> Candidates:
        """The first ``count`` of them."""
        values = {name: column[:count] for name, column in self.values.items()}
        return Candidates(self.ids[:count], self.steps[:count], self.seqs[:count], values)
