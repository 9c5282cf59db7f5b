"""Points that were added together, packed into one value.

Neither adding them nor reading them then takes a statement, a row, or Python objects for each: a thread that writes
metrics would otherwise ask the training loop for the interpreter's lock as often.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from model_checkpoint.errors import CatalogDamagedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["POINT", "HotPoints", "Point", "pack", "pieces", "unpack"]

Point: TypeAlias = tuple[int, float, int, float | None]
"""Step, value, microseconds since 1970, epoch."""

POINT = (("id", "<i8"), ("series", "<i8"), ("step", "<i8"), ("value", "<f8"), ("time", "<i8"), ("epoch", "<f8"))
"""A point as numpy's type: its id, the number of its series, the rest as in `Point`; no epoch is NaN."""

HotPoints: TypeAlias = "NDArray[np.void]"
"""An array of `POINT`."""

_PIECE = 100_000
"""So many points make a value of five megabytes; SQLite's may have a thousand."""


def pack(series: Mapping[int, Sequence[Point]]) -> HotPoints:
    """Points by the number of their series, with ids from 0 on."""
    import numpy as np

    packed = np.empty(sum(map(len, series.values())), list(POINT))
    packed["id"] = np.arange(packed.size)
    begin, said = 0, list(POINT[2:])
    for number, points in series.items():
        part = packed[begin : begin + len(points)]
        part["series"] = number
        part[[name for name, _ in said]] = np.fromiter(points, said, len(points))
        begin += len(points)
    return packed


def pieces(points: HotPoints) -> Iterator[HotPoints]:
    """Points in pieces that fit into a value each."""
    for begin in range(0, points.size, _PIECE):
        yield points[begin : begin + _PIECE]


def unpack(values: Sequence[bytes]) -> HotPoints:
    """Points of several values, one after the other.

    Raises:
        CatalogDamagedError: One of them is something else.
    """
    import numpy as np

    try:
        return np.concatenate([np.empty(0, list(POINT)), *(np.frombuffer(value, list(POINT)) for value in values)])
    except (TypeError, ValueError) as error:
        raise CatalogDamagedError(f"the catalog's table metrics holds an impossible value ({error})") from error
