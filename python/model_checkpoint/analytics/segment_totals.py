"""Totals of the series of a segment: they stand in its footer, so that nobody reads the points for them.

Totals of parts are joined without loss: means by their counts, and sums of squared deviations as in Chan, Golub &
LeVeque, "Algorithms for computing the sample variance", 1983, equation 2.1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from model_checkpoint.utils.optional_import import require

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["JOINED_TOTALS", "SeriesTotals", "decode_totals", "encode_totals", "totals_of", "totals_table"]

_LEAST_POINTS = 100
"""Of a series on average: totals of shorter ones would take more room than they are worth."""


class SeriesTotals(NamedTuple):
    """Totals of one series in one segment; where no value is finite, what is about finite values is None.

    Attributes:
        name: Of the series, as are ``split`` and ``tags``.
        split: See there.
        tags: See there.
        points: How many points there are.
        finite: How many of their values are finite.
        min: The least finite value.
        max: The greatest one.
        mean: Their mean.
        squares: The sum of their squared deviations from it.
        last: The value that was logged last, whatever it is.
        last_id: Its id.
        first_step: The lowest step.
        last_step: The highest.
    """

    name: str
    split: str
    tags: str
    points: int
    finite: int
    min: float | None
    max: float | None
    mean: float | None
    squares: float | None
    last: float
    last_id: int
    first_step: int
    last_step: int


_TEXTS = ("name", "split", "tags")
_FLOATS = ("min", "max", "mean", "squares", "last")

JOINED_TOTALS = """
    WITH parts AS (
        SELECT * FROM totals
        UNION ALL BY NAME
        SELECT name, split, tags, count(*) AS points, count(*) FILTER (WHERE isfinite(value)) AS finite,
            min(value) FILTER (WHERE isfinite(value)) AS min, max(value) FILTER (WHERE isfinite(value)) AS max,
            favg(value) FILTER (WHERE isfinite(value)) AS mean,
            var_pop(value) FILTER (WHERE isfinite(value)) * finite AS squares,
            arg_max(value, id) AS last, max(id) AS last_id, min(step) AS first_step, max(step) AS last_step
        FROM points GROUP BY name, split, tags
    ), centred AS (
        SELECT *, fsum(finite * mean) OVER series / sum(finite) OVER series AS centre
        FROM parts WINDOW series AS (PARTITION BY name, split, tags)
    )
    SELECT name, split, tags, sum(points)::BIGINT AS count, sum(points - finite)::BIGINT AS nonfinite,
        min(min) AS min, max(max) AS max, max(centre) AS mean,
        CASE WHEN sum(finite) > 1
            THEN sqrt(sum(squares + finite * (mean - centre) ** 2) / (sum(finite) - 1)) END AS std,
        arg_max(last, last_id) AS last, min(first_step) AS first_step, max(last_step) AS last_step
    FROM centred GROUP BY name, split, tags ORDER BY name, split, tags
"""
"""Totals of each series, from a table ``totals`` and, for what is not in it, from ``points``.

Sums are Kahan's.
"""


def totals_of(table: pa.Table) -> tuple[SeriesTotals, ...] | None:
    """Totals of the points of a segment, which are sorted by series; None if they are not worth it.

    Args:
        table: The points, with the texts of a series encoded by dictionaries.
    """
    import numpy as np

    from model_checkpoint.analytics.arrow_columns import numbers

    texts = [table[name].unify_dictionaries().combine_chunks() for name in _TEXTS]
    codes = [np.from_dlpack(column.indices) for column in texts]
    changes = np.any([np.diff(column) != 0 for column in codes], axis=0)
    starts = [0, *(np.flatnonzero(changes) + 1).tolist()]
    if table.num_rows < _LEAST_POINTS * len(starts):
        return None
    columns = {name: numbers(table[name]) for name in ("step", "value", "id")}
    found = []
    with np.errstate(over="ignore", invalid="ignore"):  # what exceeds all floats makes totals infinite or NaN
        for begin, end in zip(starts, [*starts[1:], table.num_rows], strict=True):
            key = [column[begin].as_py() for column in texts]
            found.append(_totals(key, {name: column[begin:end] for name, column in columns.items()}))
    return tuple(found)


def _totals(key: Sequence[str], columns: Mapping[str, NDArray[Any]]) -> SeriesTotals:
    import numpy as np

    (name, split, tags), values, steps = key, columns["value"], columns["step"]
    finite, last = values[np.isfinite(values)], int(np.argmax(columns["id"]))
    mean = float(finite.mean()) if finite.size else None
    return SeriesTotals(
        *(name, split, tags),
        points=values.size,
        finite=finite.size,
        min=float(finite.min()) if finite.size else None,
        max=float(finite.max()) if finite.size else None,
        mean=mean,
        squares=None if mean is None else float(((finite - mean) ** 2).sum()),
        last=float(values[last]),
        last_id=int(columns["id"][last]),
        first_step=int(steps.min()),
        last_step=int(steps.max()),
    )


def encode_totals(totals: Iterable[SeriesTotals]) -> str:
    """As JSON text, in which floats are written so that they are read again as they were, by `float`."""
    return json.dumps([[repr(one) if isinstance(one, float) else one for one in series] for series in totals])


def decode_totals(text: str | bytes) -> tuple[SeriesTotals, ...]:
    """What `encode_totals` has written.

    Raises:
        TypeError, ValueError: It is something else.
    """
    return tuple(map(_decode_one, json.loads(text)))


def _decode_one(fields: Sequence[Any]) -> SeriesTotals:
    values = dict(zip(SeriesTotals._fields, fields, strict=True))
    for name in _FLOATS:
        values[name] = None if values[name] is None else float(values[name])
    return SeriesTotals(**values)


def totals_table(totals: Sequence[SeriesTotals]) -> pa.Table:
    """By the columns of `SeriesTotals`."""
    arrow: Any = require("pyarrow", extra="analytics")
    from model_checkpoint.analytics.arrow_columns import float_column, integer_column, text_column

    columns = zip(*totals, strict=True) if totals else [()] * len(SeriesTotals._fields)
    return arrow.table(
        {
            name: text_column(column)
            if name in _TEXTS
            else float_column(column, unknown_is_nan=name == "last")
            if name in _FLOATS
            else integer_column(column)
            for name, column in zip(SeriesTotals._fields, columns, strict=True)
        }
    )
