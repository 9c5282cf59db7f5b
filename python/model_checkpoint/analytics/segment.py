"""A segment: points of one experiment in a Parquet file. docs/format.md, section 5, is normative.

It is sorted by series, then step, so that what is asked for lies together and the rest is skipped by its statistics. It
is named by its digest, and never changes. Anything that reads Parquet reads it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from model_checkpoint.analytics.segment_totals import SeriesTotals, decode_totals, encode_totals, totals_of
from model_checkpoint.database.metric_batch import HotPoints
from model_checkpoint.database.metric_table import SeriesKey
from model_checkpoint.database.records import SegmentInfo
from model_checkpoint.errors import CatalogDamagedError, CorruptionError, FormatError, StorageError
from model_checkpoint.storage.names import METRICS_NAME, is_experiment
from model_checkpoint.utils.atomic_file import replace_bytes
from model_checkpoint.utils.optional_import import require
from model_checkpoint.utils.regular_file import open_regular, read_fully

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = [
    "COLUMNS",
    "Segment",
    "is_segment_name",
    "points_table",
    "read_replaced",
    "read_segment",
    "read_totals",
    "segment_path",
    "write_segment",
]

T = TypeVar("T")

COLUMNS = (*SeriesKey._fields, "step", "value", "time", "epoch", "id")
_KEY = b"mckpt.segment"
_TOTALS = b"mckpt.totals"
_NAME = re.compile(r"points-[0-9]+-[0-9]+-[0-9a-f]{16}\.parquet")
_ROW_GROUP = 122_880  # what DuckDB works on at once


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment that was read.

    Attributes:
        info: What the catalog says of it.
        table: Its points, by `COLUMNS`.
        last_id: The largest id of them.
        replaces: Paths of the segments that it was merged from.
    """

    info: SegmentInfo
    table: pa.Table
    last_id: int
    replaces: tuple[str, ...]


def is_segment_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def points_table(points: HotPoints, series: Mapping[int, SeriesKey]) -> pa.Table:
    """Points of the catalog as an Arrow table by `COLUMNS`, in their order.

    Raises:
        CatalogDamagedError: A point is of none of the series.
        MissingDependencyError: pyarrow is not installed.
    """
    arrow: Any = require("pyarrow", extra="analytics")
    import numpy as np

    from model_checkpoint.analytics.arrow_columns import float_column, integer_column, text_column

    numbers = sorted(series)
    if not np.isin(points["series"], numbers).all():
        raise CatalogDamagedError("the catalog's table metrics has a point of no series")
    codes = integer_column(np.searchsorted(numbers, points["series"]), "int32")

    def text(column: int) -> Any:
        return arrow.DictionaryArray.from_arrays(codes, text_column([series[number][column] for number in numbers]))

    return arrow.table(
        {
            **{name: text(column) for column, name in enumerate(SeriesKey._fields)},
            "step": integer_column(points["step"]),
            "value": float_column(points["value"], unknown_is_nan=True),
            "time": integer_column(points["time"], "time"),
            "epoch": float_column(points["epoch"], unknown_is_nan=False),
            "id": integer_column(points["id"]),
        }
    )


def write_segment(root: str, experiment: str, table: pa.Table, *, replaces: Sequence[str] = ()) -> SegmentInfo:
    """Write points, durably, into a new segment of an experiment. It is not listed yet.

    Args:
        root: The store.
        experiment: Whose points they are; its ``.metrics`` directory exists.
        table: At least one point, by `COLUMNS`.
        replaces: Names of the segments that they are from.

    Raises:
        StorageError: The file system failed.
    """
    table = table.take(_order(table))
    totals = totals_of(table)
    description = json.dumps({"version": 1, "experiment": experiment, "replaces": list(replaces)})
    data = _encode(table, {_KEY: description} | ({} if totals is None else {_TOTALS: encode_totals(totals)}))
    digest = hashlib.sha256(data).hexdigest()
    first_id, last_id = _bounds(table, "id")
    path = f"{experiment}/{METRICS_NAME}/points-{first_id}-{last_id}-{digest[:16]}.parquet"
    replace_bytes(os.path.join(root, path), data, nofollow=True)
    first_step, last_step = _bounds(table, "step")
    return SegmentInfo(path, experiment, table.num_rows, first_step, last_step, len(data), digest)


def _order(table: pa.Table) -> NDArray[np.int64]:
    """By name, split, tags, step and id. Arrow does not sort by dictionaries, and sorts numbers slower."""
    import numpy as np

    from model_checkpoint.analytics.arrow_columns import numbers

    keys: list[Any] = [numbers(table[name]) for name in ("id", "step")]
    for name in reversed(SeriesKey._fields):
        column = table[name].unify_dictionaries().combine_chunks()
        rank = np.argsort(np.argsort(np.array(column.dictionary.to_pylist(), dtype=object)))
        keys.append(rank[np.from_dlpack(column.indices)])
    order: NDArray[np.int64] = np.lexsort(keys)
    return order


def _encode(table: pa.Table, metadata: Mapping[bytes, str]) -> Any:
    arrow: Any = require("pyarrow", extra="analytics")
    parquet: Any = require("pyarrow.parquet", extra="analytics")
    sink = arrow.BufferOutputStream()
    texts = list(SeriesKey._fields)
    whole = ["step", "time", "id"]
    parquet.write_table(
        table.replace_schema_metadata(metadata),
        sink,
        row_group_size=_ROW_GROUP,
        compression="zstd",
        compression_level=3,
        use_dictionary=texts,
        column_encoding={
            **dict.fromkeys(whole, "DELTA_BINARY_PACKED"),  # neighbours differ by little, mostly by the same
            **dict.fromkeys(("value", "epoch"), "BYTE_STREAM_SPLIT"),  # the exponents of neighbours are alike
        },
        write_statistics=True,
        write_page_checksum=True,
        sorting_columns=parquet.SortingColumn.from_ordering(table.schema, [(name, "ascending") for name in texts]),
    )
    return sink.getvalue()


def segment_path(root: str, path: str) -> str:
    """Where a segment is, given its path in the store.

    Raises:
        CorruptionError: No segment has such a path: somebody has edited the catalog or a file.
    """
    experiment, _, rest = path.partition("/")
    directory, _, name = rest.partition("/")
    if not is_experiment(experiment) or directory != METRICS_NAME or not is_segment_name(name):
        raise CorruptionError(f"{ascii(path)[:80]} is no segment's path", path=root, rule="segment")
    return os.path.join(root, path)


def read_segment(root: str, path: str) -> Segment:
    """Read a segment, every byte of which is verified by its name.

    Args:
        root: The store.
        path: The segment, relative to it.

    Raises:
        CorruptionError: It is not what was written.
        FormatError: It is no segment, or of a later version.
        StorageError: It cannot be read.
    """
    parquet: Any = require("pyarrow.parquet", extra="analytics")
    arrow: Any = require("pyarrow", extra="analytics")
    full = segment_path(root, path)
    file = open_regular(full, nofollow=True)
    data = read_fully(file, file.nbytes, 0)
    digest = hashlib.sha256(data).hexdigest()
    if not path.endswith(f"-{digest[:16]}.parquet"):
        raise CorruptionError(f"the segment's SHA-256 is {digest}, which its name denies", path=full, rule="digest")
    try:
        table = parquet.read_table(arrow.BufferReader(data), columns=list(COLUMNS))
        experiment, replaces = _described(path, table.schema.metadata)
        info = SegmentInfo(path, experiment, table.num_rows, *_bounds(table, "step"), len(data), digest)
        return Segment(info, table, _bounds(table, "id")[1], replaces)
    except (arrow.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"no segment of metrics: {str(error)!a}", path=full, rule="segment") from error


def read_replaced(root: str, path: str) -> tuple[str, ...]:
    """Paths of the segments that a segment was merged from, by its footer alone.

    Raises:
        FormatError: It is no segment, or of a later version.
        StorageError: It cannot be read.
    """
    return _from_footer(root, path, lambda metadata: _described(path, metadata)[1])


def read_totals(root: str, path: str) -> tuple[SeriesTotals, ...] | None:
    """Totals of the series of a segment, by its footer alone; None if it has none.

    A footer proves nothing: whoever believes it has compared the whole segment with its digest.

    Raises:
        FormatError: It is no segment.
        StorageError: It cannot be read.
    """

    def decode(metadata: Mapping[bytes, bytes]) -> tuple[SeriesTotals, ...] | None:
        return decode_totals(metadata[_TOTALS]) if _TOTALS in metadata else None

    return _from_footer(root, path, decode)


def _from_footer(root: str, path: str, decode: Callable[[Mapping[bytes, bytes]], T]) -> T:
    parquet: Any = require("pyarrow.parquet", extra="analytics")
    arrow: Any = require("pyarrow", extra="analytics")
    full = segment_path(root, path)
    file = open_regular(full, nofollow=True)
    try:
        with os.fdopen(os.dup(file.fd), "rb") as stream:
            return decode(parquet.read_metadata(stream).metadata)
    except OSError as error:
        if error.errno is not None:
            raise StorageError.from_os_error(error, "cannot read a segment of metrics", path=full) from error
        raise FormatError(f"no segment of metrics: {str(error)!a}", path=full, rule="segment") from error
    except (arrow.ArrowException, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"no segment of metrics: {str(error)!a}", path=full, rule="segment") from error


def _described(path: str, metadata: Mapping[bytes, bytes]) -> tuple[str, tuple[str, ...]]:
    """The experiment, and the paths of the segments that it was merged from.

    Raises:
        KeyError, TypeError, ValueError: It is described otherwise, or as something else.
    """
    description = json.loads(metadata[_KEY])
    version, experiment, replaces = (description[name] for name in ("version", "experiment", "replaces"))
    if version != 1 or not path.startswith(f"{experiment}/"):
        raise ValueError(f"version {version!r}, of experiment {experiment!r}")
    return experiment, tuple(f"{os.path.dirname(path)}/{name}" for name in replaces)


def _bounds(table: pa.Table, column: str) -> tuple[int, int]:
    compute: Any = require("pyarrow.compute", extra="analytics")
    bounds = compute.min_max(table[column]).as_py()
    return bounds["min"], bounds["max"]
