"""DuckDB over the segments of a store and the points that its catalog still has, as of one moment.

DuckDB runs in this process, sees the segments' files and what it is handed, and nothing else: no other file, no
network, no extension.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from model_checkpoint.analytics.segment import COLUMNS, points_table, read_totals
from model_checkpoint.analytics.segment_check import DamagedSegment, find_damaged
from model_checkpoint.analytics.segment_totals import JOINED_TOTALS, totals_table
from model_checkpoint.analytics.statement import FailedError, Limits, answer, translated
from model_checkpoint.database.base_connection import BaseDatabaseConnection
from model_checkpoint.database.metric_table import MetricTable
from model_checkpoint.database.records import SegmentInfo
from model_checkpoint.errors import ConfigurationError, DamageWarning, StorageError
from model_checkpoint.monitoring.span import spanned
from model_checkpoint.utils.optional_import import require

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Damaged", "Engine"]

Damaged = Literal["raise", "skip"]
"""What to do about a damaged segment: raise its error, or leave its points out, with a warning."""

_POINTS = ("experiment", *COLUMNS)
_SETTINGS = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,  # a name that is no table is not looked for among Python's variables
    "temp_directory": "",  # what does not fit into memory is not written into whatever directory this process is in
}
_ATTEMPTS = 10
"""Segments may be merged into others after the catalog was asked which there are."""


@dataclass(frozen=True, slots=True)
class _Sources:
    """Where the points of experiments are, as of one moment: none is in two places, or in none.

    Attributes:
        hot: By experiment, the points that the catalog has.
        segments: The files that have the others, of the steps of interest.
    """

    hot: Mapping[str, pa.Table]
    segments: tuple[SegmentInfo, ...]


class Engine:
    """Answers questions in SQL.

    Args:
        root: The store.
        catalog: Its catalog.
        damaged: What to do about damaged segments.

    Raises:
        ConfigurationError: ``damaged`` is neither ``"raise"`` nor ``"skip"``.
    """

    def __init__(self, root: str, catalog: BaseDatabaseConnection, *, damaged: Damaged = "raise") -> None:
        if damaged not in get_args(Damaged):
            raise ConfigurationError(f"damaged is {damaged!r}; it must be 'raise' or 'skip'")
        self._root = root
        self._catalog = catalog
        self._table = MetricTable(catalog)
        self._damaged = damaged

    @spanned("query")
    def run(
        self,
        sql: str,
        parameters: Sequence[object] = (),
        *,
        experiments: Sequence[str],
        steps: tuple[int, int] | None = None,
        tables: dict[str, pa.Table] | None = None,
        views: Sequence[str] = (),
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> pa.Table:
        """Run one ``SELECT`` over a table ``points`` (experiment and `COLUMNS`), and further tables.

        Args:
            sql: The statement.
            parameters: What its question marks stand for.
            experiments: Whose points there are.
            steps: First and last step of interest: segments without any of them are not opened.
            tables: Further tables by name.
            views: Statements that make views of them.
            limits: What it may take.

        Raises:
            QueryError: It is malformed, no ``SELECT``, or takes too much.
            CorruptionError: A segment is not what was written, or gone; the error names it.
            StorageError: A segment cannot be read.

        Warns:
            DamageWarning: The points of a damaged segment were left out, as was asked for.
        """

        def ask(sources: _Sources) -> pa.Table:
            with translated(limits), self._connected(sources, limits) as connection:
                for name, table in (tables or {}).items():
                    connection.register(name, table)
                for view in views:
                    connection.execute(view)
                return answer(connection, sql, parameters, limits)

        return self._settled(ask, experiments, steps)

    @spanned("query")
    def totals(self, experiment: str) -> pa.Table:
        """Totals of each series of an experiment: those of segments from their footers, without reading the points.

        Raises:
            CorruptionError, StorageError: As `run`.

        Warns:
            DamageWarning: As `run`.
        """

        def ask(sources: _Sources) -> pa.Table:
            known = [(segment, read_totals(self._root, segment.path)) for segment in sources.segments]
            others = tuple(segment for segment, totals in known if totals is None)
            joined = totals_table([one for _, totals in known if totals is not None for one in totals])
            limits = Limits()
            with translated(limits), self._connected(_Sources(sources.hot, others), limits) as connection:
                connection.register("totals", joined)
                return answer(connection, JOINED_TOTALS, (), limits)

        return self._settled(ask, [experiment])

    def _settled(
        self,
        ask: Callable[[_Sources], pa.Table],
        experiments: Sequence[str],
        steps: tuple[int, int] | None = None,
    ) -> pa.Table:
        """The answer from what there is; once more, if segments were merged into others before they were read."""
        for _ in range(_ATTEMPTS):
            sources = self._sources(experiments, steps)
            try:
                return ask(sources)
            except (FailedError, StorageError) as error:
                failure = error
            if not self._was_replaced(sources.segments):
                break
        if isinstance(failure, FailedError):
            raise failure.translated from failure.__cause__
        raise failure

    @contextmanager
    def _connected(self, sources: _Sources, limits: Limits) -> Iterator[Any]:
        duckdb: Any = require("duckdb", extra="analytics")
        connection = duckdb.connect(":memory:", config=_SETTINGS | {"memory_limit": f"{limits.memory_bytes}B"})
        try:
            self._define_points(connection, sources)
            yield connection
        finally:
            connection.close()

    # --- where the points are -----------------------------------------------------------------------------------------

    def _sources(self, experiments: Sequence[str], steps: tuple[int, int] | None) -> _Sources:
        """What there is to read, without damage.

        Raises:
            CorruptionError, FormatError, StorageError: A segment is damaged, and it is not to be left out.
        """
        for _ in range(_ATTEMPTS):
            with self._catalog.read():
                hot = {name: points_table(self._table.points(name), self._table.series(name)) for name in experiments}
                listed = [segment for name in experiments for segment in self._table.segments(name)]
            segments = [segment for segment in listed if _overlaps(segment, steps)]
            damaged = find_damaged(self._root, segments)
            if not any(flaw.is_gone for flaw in damaged):  # else it was merged meanwhile, or it is gone for good
                break
        self._settle(damaged)
        left_out = {flaw.info.path for flaw in damaged}
        return _Sources(hot, tuple(segment for segment in segments if segment.path not in left_out))

    def _was_replaced(self, segments: Sequence[SegmentInfo]) -> bool:
        """Whether one is gone that the catalog does not list any more.

        Raises:
            CorruptionError, FormatError, StorageError: One is damaged now, whatever is to be done about that.
        """
        listed = {segment.path for segment in self._table.segments()}
        damaged = find_damaged(self._root, segments)
        for flaw in damaged:
            if flaw.info.path in listed:
                raise flaw.error
        return bool(damaged)

    def _settle(self, damaged: Sequence[DamagedSegment]) -> None:
        if damaged and self._damaged == "raise":
            raise damaged[0].error
        for flaw in damaged:
            text = f"{flaw.info.points:,} points of {flaw.info.experiment} are left out: {flaw.error}"
            warnings.warn(text, DamageWarning, stacklevel=4)

    def _define_points(self, connection: Any, sources: _Sources) -> None:
        """Make the view ``points``, and let nothing else in."""
        parts = []
        for number, (experiment, table) in enumerate(sources.hot.items()):
            chosen = f"SELECT {_quoted(experiment)} AS experiment, {', '.join(COLUMNS)}"
            connection.register(f"hot{number}", table)
            parts.append(f"{chosen} FROM hot{number}")
            files = [os.path.join(self._root, one.path) for one in sources.segments if one.experiment == experiment]
            if files:
                parts.append(f"{chosen} FROM read_parquet([{', '.join(map(_quoted, files))}])")
        connection.execute("SET allowed_paths = ?", [[os.path.join(self._root, one.path) for one in sources.segments]])
        connection.execute("SET TimeZone = 'UTC'")  # days and hours do not depend on where the question is asked
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        if not parts:
            parts.append(f"SELECT {', '.join(f'NULL AS {name}' for name in _POINTS)} WHERE false")
        connection.execute(f"CREATE TEMP VIEW points AS {' UNION ALL BY NAME '.join(parts)}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _overlaps(segment: SegmentInfo, steps: tuple[int, int] | None) -> bool:
    return steps is None or (segment.first_step <= steps[1] and segment.last_step >= steps[0])
