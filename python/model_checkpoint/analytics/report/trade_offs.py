"""The metrics of checkpoints against each other."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from model_checkpoint.analytics.best_model_selector import BestModelSelector
from model_checkpoint.analytics.criteria import Goal
from model_checkpoint.analytics.report.charts import mode_in
from model_checkpoint.analytics.report.page import Checkpoint, TradeOff
from model_checkpoint.types import CheckpointState, ExperimentInfo, Mode

__all__ = ["trade_offs_of"]

_MOST = 6


def trade_offs_of(checkpoints: Sequence[Checkpoint], experiments: Sequence[ExperimentInfo]) -> tuple[TradeOff, ...]:
    """Each pair of the metrics that most checkpoints have and whose direction is known.

    Pairs with a monitored metric come first, and among these the ones with the longest front: there is most to weigh.
    """
    committed = [place for place, one in enumerate(checkpoints) if one.info.state is CheckpointState.COMMITTED]
    counts = Counter(name for place in committed for name in checkpoints[place].info.metrics)
    monitored = {info.monitor for info in experiments}
    order = sorted(counts, key=lambda name: (name not in monitored, -counts[name], name))
    modes = {name: mode for name in order if (mode := mode_in(name, experiments)) is not None}
    pairs = itertools.combinations(list(modes.items())[:_MOST], 2)
    found = [_trade_off(checkpoints, committed, y, x) for y, x in pairs]
    return tuple(sorted(found, key=lambda one: (not {one.x, one.y} & monitored, -len(one.front))))


def _trade_off(
    checkpoints: Sequence[Checkpoint], committed: Sequence[int], y: tuple[str, Mode], x: tuple[str, Mode]
) -> TradeOff:
    # By their places, since experiments have sequences of their own.
    candidates = [replace(checkpoints[place].info, id=str(place), seq=place) for place in committed]
    both = [
        info for info in candidates if all(math.isfinite(info.metrics.get(name, math.nan)) for name in (x[0], y[0]))
    ]
    front = BestModelSelector.pareto(Goal(*x), Goal(*y)).rank(both)
    return TradeOff(*x, *y, tuple(int(selection.id) for selection in front))
