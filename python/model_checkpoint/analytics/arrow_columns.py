"""Arrow columns of Python's values, and back.

``pyarrow.array`` imports pandas wherever that is installed, to find out that it is not given any of it: a third of a
second, before the first point is read. These are made of the memory that Arrow specifies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_checkpoint.utils.optional_import import require

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["float_column", "integer_column", "numbers", "text_column"]


def integer_column(values: Sequence[int] | NDArray[Any], kind: str = "int64") -> pa.Array:
    """Integers of 64 bits; or of a kind that is stored as such, or as ``int32``."""
    arrow: Any = require("pyarrow", extra="analytics")
    data = np.array(values, dtype=np.int32 if kind == "int32" else np.int64)
    types = {"int64": arrow.int64(), "int32": arrow.int32(), "time": arrow.timestamp("us", tz="UTC")}
    return arrow.Array.from_buffers(types[kind], len(values), [None, arrow.py_buffer(data)])


def float_column(values: Sequence[float | None] | NDArray[Any], *, unknown_is_nan: bool) -> pa.Array:
    """Floats; None and NaN are both NaN, or both null."""
    arrow: Any = require("pyarrow", extra="analytics")
    data = np.array(values, dtype=np.float64)
    known = None if unknown_is_nan else arrow.py_buffer(np.packbits(~np.isnan(data), bitorder="little"))
    return arrow.Array.from_buffers(arrow.float64(), len(values), [known, arrow.py_buffer(data)])


def text_column(values: Sequence[str]) -> pa.Array:
    """Texts, of less than 2 GiB together."""
    arrow: Any = require("pyarrow", extra="analytics")
    encoded = [value.encode() for value in values]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, arrow.py_buffer(offsets), arrow.py_buffer(b"".join(encoded))]
    return arrow.Array.from_buffers(arrow.utf8(), len(values), buffers)


def numbers(column: pa.ChunkedArray) -> NDArray[Any]:
    """A column of numbers, none of which is null, as one array, which may not be writable.

    By DLPack: ``to_numpy`` imports pandas, too.
    """
    parts = [np.from_dlpack(chunk) for chunk in column.chunks if len(chunk)]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, str(column.type).replace("double", "float64"))
