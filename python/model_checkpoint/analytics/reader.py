"""Logged metrics, read back: as series, as totals, and by SQL."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from model_checkpoint.analytics.arrow_columns import numbers
from model_checkpoint.analytics.curve import last_of_each_step, places_of, split_by_number
from model_checkpoint.analytics.engine import Damaged, Engine
from model_checkpoint.analytics.statement import Limits
from model_checkpoint.analytics.views import checkpoints_table, experiments_table, wanted_table
from model_checkpoint.database.catalog import Catalog
from model_checkpoint.database.metric_table import MetricTable, SeriesKey, tags_text
from model_checkpoint.errors import ConfigurationError, MetricNotFoundError
from model_checkpoint.types import CheckpointState

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Metrics", "MetricsReader"]

_ALL_STEPS = (0, 2**63 - 1)
_LAST = "QUALIFY row_number() OVER (PARTITION BY name, split, tags, step ORDER BY id DESC) = 1"

_CURVE = "SELECT step, value, id FROM points WHERE name = ? AND split = ? AND tags = ?"

_COUNTS = "SELECT name, split, tags, count(*) AS points FROM points GROUP BY ALL ORDER BY ALL"
_CURVES = "SELECT number, step, value, id FROM points JOIN wanted USING (name, split, tags)"
_AT_ONCE = 16_000_000
"""Points that `MetricsReader.curves` has in memory at a time, at 32 bytes each, unless one series has more."""

_METRICS = "CREATE TEMP VIEW metrics AS SELECT experiment, name, step, value, time, epoch, split, tags FROM points"


@dataclass(frozen=True, slots=True)
class Metrics:
    """Points of one experiment, by series and step.

    Attributes:
        table: The points as an Arrow table: ``name``, ``split``, ``tags``, ``step``, ``value``, ``time``, ``epoch``.
    """

    table: pa.Table

    def to_arrow(self) -> pa.Table:
        return self.table

    def to_pandas(self) -> Any:
        """As a `pandas.DataFrame`.

        Raises:
            ImportError: pandas is not installed.
        """
        return self.table.to_pandas()

    def to_numpy(self) -> dict[str, NDArray[Any]]:
        """As one array for each column; times are ``datetime64[us]``, in UTC."""
        return {name: self.table[name].to_numpy() for name in self.table.column_names}

    def __len__(self) -> int:
        return int(self.table.num_rows)


class MetricsReader:
    """Reads the metrics of a store. What another process logs is seen as soon as it has written it.

    Args:
        root: The store.
        catalog: Its catalog.
        damaged: What to do about segments that are damaged or gone: ``"raise"``, or ``"skip"``: leave their points out,
            with a `DamageWarning` that names each. Every segment is compared with its SHA-256 before it is read.

    Raises:
        ConfigurationError: ``damaged`` is neither.
    """

    def __init__(self, root: str | os.PathLike[str], catalog: Catalog, *, damaged: Damaged = "raise") -> None:
        self._catalog = catalog
        self._table = MetricTable(catalog)
        self._engine = Engine(os.path.realpath(root), catalog, damaged=damaged)

    @classmethod
    def open(cls, root: str | os.PathLike[str], *, damaged: Damaged = "raise") -> Self:
        """A reader with a catalog of its own; `close` it, or use it in a ``with`` block.

        Raises:
            ConfigurationError: ``damaged`` is neither ``"raise"`` nor ``"skip"``.
            CatalogError: The catalog is busy, damaged, or of a later version.
        """
        return cls(root, Catalog.open(root), damaged=damaged)

    def close(self) -> None:
        self._catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def series(self, experiment: str) -> tuple[SeriesKey, ...]:
        """What was logged for an experiment, by name, split and tags."""
        return tuple(sorted(self._table.series(experiment).values()))

    def metrics(
        self,
        experiment: str,
        *names: str,
        split: str | None = None,
        tags: Mapping[str, str] | None = None,
        first_step: int = _ALL_STEPS[0],
        last_step: int = _ALL_STEPS[1],
        duplicates: Literal["last", "all"] = "last",
    ) -> Metrics:
        """Points of an experiment, by series and step.

        Args:
            experiment: Its name.
            names: Of which metrics; of all, if there is none.
            split: Of which split; None for all.
            tags: With which tags, exactly; None for all.
            first_step: From which step on.
            last_step: To which step.
            duplicates: Of several values for a step: ``"last"`` is the one that was logged last, as after a run was
                resumed and did some steps again; ``"all"`` are all, in the order of logging.

        Raises:
            MetricNotFoundError: Nothing was logged under one of the names.
            CorruptionError: A segment is damaged.
        """
        self.check_known(experiment, names)
        if duplicates not in {"last", "all"}:
            raise ConfigurationError(f"duplicates is {duplicates!r}; it must be 'last' or 'all'")
        conditions: dict[str, object] = {"step BETWEEN ? AND ?": (first_step, last_step)}
        if names:
            conditions[f"name IN ({', '.join('?' * len(names))})"] = names
        if split is not None:
            conditions["split = ?"] = (split,)
        if tags is not None:
            conditions["tags = ?"] = (tags_text(tags),)
        sql = f"""
            SELECT name, split, tags, step, value, time, epoch FROM points WHERE {" AND ".join(conditions)}
            {_LAST if duplicates == "last" else ""} ORDER BY name, split, tags, step, id
        """  # noqa: S608 - question marks only
        values = [value for some in conditions.values() for value in _several(some)]
        return Metrics(self._engine.run(sql, values, experiments=[experiment], steps=(first_step, last_step)))

    def curve(
        self, experiment: str, name: str, *, split: str = "", tags: Mapping[str, str] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Steps and values of one series, one value a step.

        Raises:
            MetricNotFoundError: There is no such series.
        """
        found = self._engine.run(_CURVE, [name, split, tags_text(tags)], experiments=[experiment])
        if not found.num_rows:
            self.check_known(experiment, [name])
            raise MetricNotFoundError(name, self._names(experiment))
        return last_of_each_step(*(numbers(found[column]) for column in ("step", "value", "id")))

    def course(
        self, experiment: str, name: str, *, by: str, split: str = "", tags: Mapping[str, str] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Places and values of one series, in the order of its steps, on another axis than that of steps.

        Args:
            experiment: Its name.
            name: Of which metric.
            by: ``"step"``; ``"time"``, in seconds since the first value of the series was logged; or another metric
                whose values are the places, as ``"tokens"``, interpolated between the steps that have one. That of the
                same split and tags, else the one without.
            split: Of which split.
            tags: With which tags.

        Returns:
            Both; a place is NaN where ``by`` does not tell it.

        Raises:
            MetricNotFoundError: There is no such series, or nothing was logged as ``by``.
        """
        import numpy as np

        if by == "time":
            points = self.metrics(experiment, name, split=split, tags=tags or {}).to_numpy()
            if not points["time"].size:
                raise MetricNotFoundError(name, self._names(experiment))
            return (points["time"] - points["time"].min()) / np.timedelta64(1, "s"), points["value"]
        steps, values = self.curve(experiment, name, split=split, tags=tags)
        if by == "step":
            return steps.astype(np.float64), values
        keys = [SeriesKey(by, split, tags_text(tags)), SeriesKey(by)]
        axis = next((key for key in keys if key in self.series(experiment)), keys[0])
        return places_of(steps, *self.curve(experiment, by, split=axis.split, tags=json.loads(axis.tags))), values

    def _names(self, experiment: str) -> list[str]:
        """What there is, with the splits."""
        return [f"{key.name}[{key.split}]" for key in self.series(experiment)]

    def curves(self, experiment: str) -> Iterator[tuple[SeriesKey, NDArray[np.int64], NDArray[np.float64]]]:
        """Steps and values of every series, one value a step; read together, some millions of points at a time."""
        counts = self._engine.run(_COUNTS, experiments=[experiment])
        for batch in _batches(counts.to_pylist()):
            keys = [SeriesKey(row["name"], row["split"], row["tags"]) for row in batch]
            yield from self._together(experiment, keys)

    def _together(
        self, experiment: str, keys: Sequence[SeriesKey]
    ) -> Iterator[tuple[SeriesKey, NDArray[np.int64], NDArray[np.float64]]]:
        wanted = wanted_table(keys)
        found = self._engine.run(_CURVES, experiments=[experiment], tables={"wanted": wanted})
        columns = [numbers(found[name]) for name in ("number", "step", "value", "id")]
        for number, (steps, values, ids) in split_by_number(*columns):
            yield (keys[number], *last_of_each_step(steps, values, ids))

    def summary(self, experiment: str) -> pa.Table:
        """Totals of each series: count, nonfinite, min, max, mean, std, last, first_step, last_step.

        All but the counts and ``last`` are about finite values; values that were logged again count again.
        """
        return self._engine.totals(experiment)

    def query(self, sql: str, parameters: Sequence[object] = (), *, limits: Limits = Limits()) -> pa.Table:  # noqa: B008 - frozen
        """Run one ``SELECT`` over ``experiments``, ``checkpoints`` and ``metrics``, in DuckDB's SQL.

        ``metrics`` has the columns experiment, name, step, value, time, epoch, split, tags; all points that were
        logged are in it. ``experiments`` and ``checkpoints`` have those of `ExperimentInfo` and `CheckpointInfo`;
        ``checkpoints.metrics['loss']`` is the value that a checkpoint was saved with.

        Args:
            sql: The statement.
            parameters: What its question marks stand for.
            limits: What it may take.

        Raises:
            QueryError: It is malformed, no ``SELECT``, or takes too much.
            CorruptionError: A segment is damaged.
        """
        experiments = self._catalog.experiments()
        tables = {
            "experiments": experiments_table(experiments),
            "checkpoints": checkpoints_table(self._catalog.list(states=tuple(CheckpointState))),
        }
        names = [info.name for info in experiments]
        return self._engine.run(sql, parameters, experiments=names, tables=tables, views=[_METRICS], limits=limits)

    def check_known(self, experiment: str, names: Sequence[str]) -> None:
        """Return if something was logged under each of the names.

        Raises:
            MetricNotFoundError: Nothing was, under one of them.
        """
        known = {key.name for key in self.series(experiment)}
        for name in names:
            if name not in known:
                raise MetricNotFoundError(name, sorted(known))


def _batches(counts: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Series that are read together."""
    batch: list[dict[str, Any]] = []
    for row in counts:
        if batch and sum(one["points"] for one in batch) + row["points"] > _AT_ONCE:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _several(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)
