"""Curves as lines of a chart: fewer points, and what is to be seen in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model_checkpoint.analytics.curve import Floats, thinned
from model_checkpoint.analytics.downsample import Sampled, downsample
from model_checkpoint.analytics.report.page import Line, Mark
from model_checkpoint.analytics.shape import find_divergence, find_nonfinite, find_plateau, find_spikes
from model_checkpoint.database.metric_table import NO_TAGS, SeriesKey
from model_checkpoint.types import Mode

__all__ = ["Curve", "draw"]

_MOST_SPIKES = 2
_MOST_FOR_PLATEAU = 200  # points, of which all pairs are looked at, again and again
_LEAST_FOR_SPIKES = 50  # points: of fewer, the ends of a steep line stand out


@dataclass(frozen=True, slots=True)
class Curve:
    """A series of one experiment with all of its points.

    Attributes:
        experiment: Whose.
        key: Which series.
        source: Where its values are from.
        steps: Steps in order.
        values: One value a step.
    """

    experiment: int
    key: SeriesKey
    source: Literal["logged", "saved"]
    steps: NDArray[np.int64]
    values: Floats


def draw(curve: Curve, columns: int, mode: Mode | None) -> Line:
    """A curve for so many columns of pixels.

    Plateaus and divergence are looked for among the means of the columns, spikes among the points that are drawn: what
    stands out from the extremes beside it stands out from all that lies between them.
    """
    sampled = downsample(curve.steps, curve.values, columns)
    return Line(
        experiment=curve.experiment,
        split=curve.key.split,
        tags="" if curve.key.tags == NO_TAGS else curve.key.tags,
        source=curve.source,
        points=len(curve.steps),
        steps=sampled.steps,
        values=sampled.values,
        mean_steps=sampled.mean_steps,
        means=sampled.means,
        marks=tuple(_marks(curve, sampled, mode)),
    )


def _marks(curve: Curve, sampled: Sampled, mode: Mode | None) -> Iterator[Mark]:
    missing = find_nonfinite(curve.steps, curve.values)
    if missing:
        times = f", {len(missing):,} times" if len(missing) > 1 else ""
        yield Mark("not finite", missing[0], f"not finite from step {missing[0]:,}{times}")
    divergence = find_divergence(sampled.mean_steps, sampled.means, mode=mode) if mode else None
    if divergence is not None:
        what = f"worse since step {divergence.since_step:,}: from {divergence.best:.4g} to {divergence.last:.4g}"
        yield Mark("divergence", divergence.since_step, what)
    plateau = None if divergence else find_plateau(*thinned(sampled.mean_steps, sampled.means, _MOST_FOR_PLATEAU))
    if plateau is not None and plateau.since_step > curve.steps[0]:
        yield Mark("plateau", plateau.since_step, f"flat since step {plateau.since_step:,}, at {plateau.level:.4g}")
    spikes = find_spikes(sampled.steps, sampled.values) if len(sampled.steps) >= _LEAST_FOR_SPIKES else ()
    for spike in sorted(spikes, key=lambda spike: -abs(spike.noises))[:_MOST_SPIKES]:
        yield Mark("spike", spike.step, f"spike at step {spike.step:,}: {spike.value:.4g}")
