"""Fewer points that draw the same picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_checkpoint.analytics.curve import Floats
from model_checkpoint.errors import ConfigurationError

__all__ = ["Sampled", "downsample"]

Steps = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sampled:
    """A series for so many columns of pixels.

    Attributes:
        steps: Where its points are, in order.
        values: Their values; one that is not finite is a gap.
        mean_steps: The mean step of each column that has finite values.
        means: The mean of these values: the extremes among ``values`` must not be averaged, these may.
    """

    steps: Steps
    values: Floats
    mean_steps: Floats
    means: Floats


def downsample(steps: Steps, values: Floats, columns: int) -> Sampled:
    """At most six points a column: its first, last, least and greatest finite ones, its first and last gap.

    A line through them covers the same pixels as one through all points, where a column is as wide as a pixel. Source:
    Jugel, Jerzak, Hackenbroich & Markl, "M4: a visualization-oriented time series data aggregation", PVLDB 7 (10),
    2014; the gaps are ours. A series that has no more points than that is left as it is.

    Args:
        steps: Steps, each once, in order.
        values: One value a step.
        columns: How many columns there are, equally wide from the first to the last step.

    Raises:
        ConfigurationError: There is no column.
    """
    if columns < 1:
        raise ConfigurationError(f"{columns} columns; there must be at least 1")
    if len(steps) <= 4 * columns:
        finite = np.isfinite(values)
        return Sampled(steps, values, steps[finite].astype(np.float64), values[finite])
    kept: list[int] = []
    means: list[tuple[float, float]] = []
    for start, end in _columns(steps, columns):
        finite = np.flatnonzero(np.isfinite(values[start:end])) + start
        kept += sorted({*_extremes(values, finite), *_gaps(finite, start, end)})
        if finite.size:
            means.append((float(steps[finite].mean()), float(values[finite].mean())))
    places = np.array(kept, dtype=np.int64)
    mean_steps, mean_values = np.array(means, dtype=np.float64).reshape(-1, 2).T
    return Sampled(steps[places], values[places], mean_steps, mean_values)


def _columns(steps: Steps, columns: int) -> Iterator[tuple[int, int]]:
    """Which points each column has; columns without any are left out."""
    first, last = int(steps[0]), int(steps[-1])
    span = last - first + 1
    # The first whole step of each column: rounded up, and in Python's integers, which do not overflow.
    edges = [first - (-span * column // columns) for column in range(columns)]
    starts = np.searchsorted(steps, np.array(edges, dtype=np.int64)).tolist()
    for start, end in zip(starts, [*starts[1:], len(steps)], strict=True):
        if start < end:
            yield start, end


def _extremes(values: Floats, finite: NDArray[np.intp]) -> Iterator[int]:
    if finite.size:
        known = values[finite]
        yield from (int(finite[place]) for place in (0, -1, known.argmin(), known.argmax()))


def _gaps(finite: NDArray[np.intp], start: int, end: int) -> Iterator[int]:
    """The first and the last point that is not finite."""
    if finite.size < end - start:
        missing = np.setdiff1d(np.arange(start, end), finite, assume_unique=True)
        yield from (int(missing[0]), int(missing[-1]))
