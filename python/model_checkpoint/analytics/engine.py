"""DuckDB over the segments of a store and the points that its catalog still has, as of one moment.

DuckDB runs in this process, sees the segments' files and what it is handed, and nothing else: no other file, no
network, no extension.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model_checkpoint.analytics.segment import COLUMNS, points_table
from model_checkpoint.database.base_connection import BaseDatabaseConnection
from model_checkpoint.database.metric_table import MetricTable, SegmentInfo
from model_checkpoint.errors import CorruptionError, QueryError, StorageError
from model_checkpoint.monitoring.span import spanned
from model_checkpoint.utils.optional_import import require

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Engine", "Limits"]

_POINTS = "experiment, name, split, tags, step, value, time, epoch, id"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a question may take.

    Attributes:
        seconds: How long.
        memory_bytes: How much memory.
    """

    seconds: float = 60.0
    memory_bytes: int = 2 * 1024**3


class Engine:
    """Answers questions in SQL.

    Args:
        root: The store.
        catalog: Its catalog.
    """

    def __init__(self, root: str, catalog: BaseDatabaseConnection) -> None:
        self._root = root
        self._catalog = catalog
        self._table = MetricTable(catalog)

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
        limits: Limits = Limits(),
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
            CorruptionError: A segment cannot be read.
        """
        with self._connected(experiments, steps, limits) as connection:
            for name, table in (tables or {}).items():
                connection.register(name, table)
            for view in views:
                connection.execute(view)
            return _answer(connection, sql, parameters, limits)

    @contextmanager
    def _connected(self, experiments: Sequence[str], steps: tuple[int, int] | None, limits: Limits) -> Iterator[Any]:
        hot, segments = self._sources(experiments)
        wanted = [os.path.join(self._root, segment.path) for segment in segments if _overlaps(segment, steps)]
        duckdb: Any = require("duckdb", extra="analytics")
        settings = {"memory_limit": f"{limits.memory_bytes}B", "autoinstall_known_extensions": False}
        connection = duckdb.connect(":memory:", config=settings | {"autoload_known_extensions": False})
        try:
            _define_points(connection, hot, wanted)
            yield connection
        finally:
            connection.close()

    def _sources(self, experiments: Sequence[str]) -> tuple[dict[str, pa.Table], list[SegmentInfo]]:
        """Where the points are, as of one moment: none is in two places, or in none.

        Raises:
            CorruptionError: A segment is gone.
        """
        for attempt in range(3):
            with self._catalog.read():
                hot = {name: points_table(self._table.points(name), self._table.series(name)) for name in experiments}
                segments = [segment for name in experiments for segment in self._table.segments(name)]
            missing = [s.path for s in segments if not os.path.exists(os.path.join(self._root, s.path))]
            if not missing:
                break
            if attempt == 2:  # not merged meanwhile
                raise CorruptionError("a segment of metrics is gone", path=os.path.join(self._root, missing[0]))
        return hot, segments


def _define_points(connection: Any, hot: dict[str, pa.Table], segments: Sequence[str]) -> None:
    arrow: Any = require("pyarrow", extra="analytics")
    parts = []
    for number, (experiment, table) in enumerate(hot.items()):
        column = arrow.repeat(experiment, table.num_rows).dictionary_encode()
        connection.register(f"hot{number}", table.append_column("experiment", column))
        parts.append(f"SELECT {_POINTS} FROM hot{number}")  # noqa: S608 - a number
    connection.execute("SET allowed_paths = ?", [list(segments)])
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    if segments:
        files = ", ".join("'" + path.replace("'", "''") + "'" for path in segments)
        of_path = "parse_path(filename)[-3]"
        columns = ", ".join(COLUMNS)
        parts.append(f"SELECT {of_path} AS experiment, {columns} FROM read_parquet([{files}], filename = true)")  # noqa: S608 - quoted
    if not parts:
        parts.append(f"SELECT {', '.join(f'NULL AS {name.strip()}' for name in _POINTS.split(','))} WHERE false")
    connection.execute(f"CREATE TEMP VIEW points AS {' UNION ALL BY NAME '.join(parts)}")


def _overlaps(segment: SegmentInfo, steps: tuple[int, int] | None) -> bool:
    return steps is None or (segment.first_step <= steps[1] and segment.last_step >= steps[0])


def _answer(connection: Any, sql: str, parameters: Sequence[object], limits: Limits) -> pa.Table:
    duckdb: Any = require("duckdb", extra="analytics")
    clock = threading.Timer(limits.seconds, connection.interrupt)
    clock.start()
    try:
        _check_statement(connection, sql)
        return connection.sql(sql, params=list(parameters)).to_arrow_table()
    except duckdb.InterruptException:
        raise QueryError(f"the query took longer than {limits.seconds:g} s") from None
    except duckdb.OutOfMemoryException:
        raise QueryError(f"the query needs more than {limits.memory_bytes} bytes of memory") from None
    except duckdb.IOException as error:
        raise StorageError(f"cannot read a segment of metrics: {error}") from error
    except (duckdb.InvalidInputException, duckdb.SerializationException) as error:
        if ".parquet" in str(error):
            raise CorruptionError(f"a segment of metrics is damaged: {error}", rule="segment") from error
        raise QueryError(f"the query failed: {error}") from error
    except duckdb.Error as error:
        raise QueryError(f"the query failed: {error}") from error
    finally:
        clock.cancel()


def _check_statement(connection: Any, sql: str) -> None:
    duckdb: Any = require("duckdb", extra="analytics")
    statements = connection.extract_statements(sql)
    kinds = [statement.type for statement in statements]
    if kinds != [duckdb.StatementType.SELECT]:
        what = ", ".join(kind.name for kind in kinds) or "nothing"
        raise QueryError(f"a query is one SELECT, not {what}")
