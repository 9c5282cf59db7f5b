"""A series as two arrays, steps or other places in order and values: what all that looks at one begins with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Floats", "finite", "last_of_each_step", "places_of", "reduced", "split_by_number", "thinned"]

Floats = NDArray[np.float64]

_LARGE = 500
"""Squares of greater powers of two exceed what a float holds, which is less than 2**1024."""


def finite(places: ArrayLike, values: ArrayLike) -> tuple[Floats, Floats]:
    """The places and values whose value is finite."""
    x, y = np.asarray(places, dtype=np.float64), np.asarray(values, dtype=np.float64)
    known = np.isfinite(y)
    return x[known], y[known]


def reduced(values: Floats) -> tuple[Floats, float]:
    """Values over a power of two, and that: of large values, differences and squares are more than a float holds.

    Nothing is rounded. Values that are not finite stay what they are.
    """
    known = values[np.isfinite(values)]
    _, exponent = np.frexp(np.abs(known).max(initial=0.0))
    if exponent <= _LARGE:
        return values, 1.0
    return np.ldexp(values, -exponent + 1), float(np.ldexp(1.0, exponent - 1))  # 2**1024 itself is none


def thinned(x: Floats, y: Floats, most: int) -> tuple[Floats, Floats]:
    """At most so many points: the medians of as many stretches."""
    if x.size <= most:
        return x, y
    parts = np.array_split(np.arange(x.size), most)
    return np.array([np.median(x[part]) for part in parts]), np.array([np.median(y[part]) for part in parts])


def last_of_each_step(
    steps: NDArray[np.int64], values: Floats, ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Floats]:
    """Points by step, and of several for a step the one with the largest id.

    Most series are in order already, with one point a step, or are long pieces that are: both is quick to find out.
    """
    if not (steps[1:] >= steps[:-1]).all():
        order = np.argsort(steps, kind="stable")  # by merging the pieces that are in order
        steps, values, ids = steps[order], values[order], ids[order]
    if (steps[1:] > steps[:-1]).all():
        return steps, values
    order = np.lexsort((ids, steps))
    is_last = np.append(steps[1:] != steps[:-1], True)  # the steps are in order, and stay as they are
    return steps[is_last], values[order][is_last]


def split_by_number(
    numbers: NDArray[np.int16], *columns: NDArray[Any]
) -> Iterator[tuple[int, tuple[NDArray[Any], ...]]]:
    """The rows of each number, in their order."""
    if numbers.size and (numbers == numbers[0]).all():
        yield int(numbers[0]), columns
        return
    order = np.argsort(numbers, kind="stable")  # of 16 bits: a radix sort
    found, starts = np.unique(numbers[order], return_index=True)
    for number, rows in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
        yield number, tuple(column[rows] for column in columns)


def places_of(steps: ArrayLike, known_steps: ArrayLike, known_places: ArrayLike) -> Floats:
    """Where steps are on another axis, such as tokens or seconds, of which some steps' places are known.

    Args:
        steps: The steps to place.
        known_steps: Steps in order.
        known_places: Their places; those that are not finite do not count.

    Returns:
        The places, linearly interpolated; NaN before the first and after the last step that is known.
    """
    x, y = finite(known_steps, known_places)
    wanted = np.asarray(steps, dtype=np.float64)
    if not x.size:
        return np.full(wanted.size, np.nan)
    places: Floats = np.interp(wanted, x, y, left=np.nan, right=np.nan)
    return places
