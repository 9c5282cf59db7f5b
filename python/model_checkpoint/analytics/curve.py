"""A series as two arrays, steps or other places in order and values: what all that looks at one begins with."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Floats", "finite", "thinned"]

Floats = NDArray[np.float64]


def finite(places: ArrayLike, values: ArrayLike) -> tuple[Floats, Floats]:
    """The places and values whose value is finite."""
    x, y = np.asarray(places, dtype=np.float64), np.asarray(values, dtype=np.float64)
    known = np.isfinite(y)
    return x[known], y[known]


def thinned(x: Floats, y: Floats, most: int) -> tuple[Floats, Floats]:
    """At most so many points: the medians of as many stretches."""
    if x.size <= most:
        return x, y
    parts = np.array_split(np.arange(x.size), most)
    return np.array([np.median(x[part]) for part in parts]), np.array([np.median(y[part]) for part in parts])
