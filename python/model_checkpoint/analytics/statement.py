"""One ``SELECT``, answered by DuckDB within limits; what goes wrong with it, in errors of our own."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model_checkpoint.analytics.numbers import has_utf8
from model_checkpoint.errors import CheckpointError, ConfigurationError, QueryError, StorageError
from model_checkpoint.utils.optional_import import require

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FailedError", "Limits", "answer", "translated"]

_BATCH_ROWS = 100_000
_AGAIN_S = 0.05
"""After so long a statement that did not notice its interruption is interrupted again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a question may take.

    DuckDB looks at the clock between batches of rows, and counts what operators keep: a single value, as that of
    ``repeat('x', 1000000000)``, is made in one go. `mckpt query`, a process of its own, has limits for that, too.

    Attributes:
        seconds: How long.
        memory_bytes: How much memory, and as much again for the answer.

    Raises:
        ConfigurationError: One of them is not above 0.
    """

    seconds: float = 60.0
    memory_bytes: int = 2 * 1024**3

    def __post_init__(self) -> None:
        if math.isnan(self.seconds) or self.seconds <= 0 or self.memory_bytes <= 0:
            raise ConfigurationError(
                f"a query may take {self.seconds:g} s and {self.memory_bytes} bytes of memory; both must be above 0"
            )


class FailedError(Exception):
    """DuckDB gave up, which may or may not be the statement's fault; `translated` is what to say if it is."""

    def __init__(self, translated: CheckpointError) -> None:
        super().__init__(str(translated))
        self.translated = translated


def answer(connection: Any, sql: str, parameters: Sequence[object], limits: Limits) -> pa.Table:
    """What DuckDB says to a statement. Within `translated`.

    Raises:
        QueryError: It is malformed, no ``SELECT``, or takes too much.
        KeyboardInterrupt: The user does not want to wait; the statement has ended by then.
    """
    _check_texts(sql, *parameters)
    _check_statement(connection, sql)

    def ask() -> pa.Table:
        return _collected(connection.sql(sql, params=list(parameters)).to_arrow_reader(_BATCH_ROWS), limits)

    return _in_time(ask, connection.interrupt, limits)


@contextmanager
def translated(limits: Limits) -> Iterator[None]:
    """Raises:
    QueryError: The limits were reached.
    FailedError: DuckDB failed otherwise: already when it looks at segments for the first time, or later.
    """
    duckdb: Any = require("duckdb", extra="analytics")
    try:
        yield
    except (duckdb.OutOfMemoryException, MemoryError):
        raise QueryError(f"the query needs more than {limits.memory_bytes} bytes of memory") from None
    except duckdb.IOException as error:
        raise FailedError(StorageError(f"cannot read the segments of metrics: {error}")) from error
    except duckdb.Error as error:
        raise FailedError(QueryError(f"the query failed: {error}")) from error


def _in_time(ask: Callable[[], pa.Table], interrupt: Callable[[], object], limits: Limits) -> pa.Table:
    """The answer, found by another thread: this one looks at the clock, and at the keyboard.

    DuckDB itself would look at the keyboard only when rows arrive.
    """
    with ThreadPoolExecutor(1, "mckpt-query") as pool:
        asked = pool.submit(ask)
        try:
            wait([asked], min(limits.seconds, threading.TIMEOUT_MAX))
            if asked.done():
                return asked.result()
            raise QueryError(f"the query took longer than {limits.seconds:g} s")
        finally:
            _end(asked, interrupt)


def _end(asked: Future[pa.Table], interrupt: Callable[[], object]) -> None:
    """Interrupt a statement until it has noticed: before its first batch it does not."""
    while not asked.done():
        interrupt()
        wait([asked], _AGAIN_S)


def _collected(batches: pa.RecordBatchReader, limits: Limits) -> pa.Table:
    """All batches as a table, unless they take more memory than a query may: DuckDB does not count its answers."""
    arrow: Any = require("pyarrow", extra="analytics")
    kept, nbytes = [], 0
    for batch in _batches(batches):
        nbytes += batch.nbytes
        if nbytes > limits.memory_bytes:
            raise QueryError(f"the answer takes more than {limits.memory_bytes} bytes of memory")
        kept.append(batch)
    table = arrow.Table.from_batches(kept, schema=batches.schema)
    return table.rename_columns(_distinct(table.column_names))


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of which the second of the same is numbered, as DuckDB does in tables: ``a``, ``a_1``."""
    found: dict[str, None] = {}
    for name in names:
        numbered = (f"{name}_{number}" for number in itertools.count(1))
        found[next(one for one in itertools.chain([name], numbered) if one not in found)] = None
    return list(found)


def _batches(batches: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The batches; Arrow's protocol of streams brings DuckDB's errors as nothing but their text."""
    duckdb: Any = require("duckdb", extra="analytics")
    arrow: Any = require("pyarrow", extra="analytics")
    kinds = {"Out of Memory Error": duckdb.OutOfMemoryException, "IO Error": duckdb.IOException}
    try:
        yield from batches
    except (OSError, arrow.ArrowException) as error:
        text = str(error)
        raise kinds.get(text.partition(":")[0], duckdb.Error)(text) from error


def _check_texts(*values: object) -> None:
    """DuckDB answers a text that has no UTF-8 with an error of its binding's."""
    for value in values:
        if isinstance(value, str) and not has_utf8(value):
            raise QueryError(f"{value!a:.80} has a surrogate, which has no UTF-8")


def _check_statement(connection: Any, sql: str) -> None:
    duckdb: Any = require("duckdb", extra="analytics")
    kinds = [statement.type for statement in connection.extract_statements(sql)]
    if kinds != [duckdb.StatementType.SELECT]:
        what = ", ".join(kind.name for kind in kinds) or "nothing"
        raise QueryError(f"a query is one SELECT, not {what}")
