"""Experiments beside each other: curves on a common axis, settings that differ, and whether a difference is real."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from model_checkpoint.analytics.curve import Floats, finite
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.utils.optional_import import require

__all__ = [
    "Effect",
    "GroupDifference",
    "align",
    "compare_all",
    "compare_groups",
    "config_differences",
    "config_effects",
    "holm",
]


# --- curves -----------------------------------------------------------------------------------------------------------


def align(curves: Mapping[str, tuple[ArrayLike, ArrayLike]], *, points: int = 100) -> tuple[Floats, dict[str, Floats]]:
    """Curves on one axis, linearly interpolated.

    Args:
        curves: By name, places in order (steps, seconds, tokens) and values. Values that are not finite do not count.
        points: How many places of the common axis there are, from the first to the last place of any curve.

    Returns:
        The axis, and the values of each curve on it; NaN before its first and after its last place.
    """
    known = {name: finite(places, values) for name, (places, values) in curves.items()}
    reached = [places for places, _ in known.values() if places.size]
    if not reached:
        return np.empty(0), {name: np.empty(0) for name in curves}
    axis = np.linspace(min(p[0] for p in reached), max(p[-1] for p in reached), points)
    return axis, {
        name: np.interp(axis, places, values, left=np.nan, right=np.nan) if places.size else np.full(points, np.nan)
        for name, (places, values) in known.items()
    }


# --- settings ---------------------------------------------------------------------------------------------------------


def config_differences(configs: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
    """By name of a setting, its value in each experiment, for those that are not the same in all.

    Nested settings have dotted names. An experiment without a setting has none in the result either.
    """
    flat = {name: dict(_flattened(config)) for name, config in configs.items()}
    found: dict[str, dict[str, object]] = {}
    for key in sorted({key for config in flat.values() for key in config}):
        values = {name: config[key] for name, config in flat.items() if key in config}
        if len(values) < len(flat) or len({json.dumps(value, sort_keys=True) for value in values.values()}) > 1:
            found[key] = values
    return found


def _flattened(config: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# --- outcomes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GroupDifference:
    """Attributes:
    difference: How much higher the second group is: the median of all differences between its members and those of
        the first (Hodges & Lehmann, 1963).
    p_value: How likely ranks as uneven are where the groups do not differ (Mann & Whitney, 1947; exact for small
        groups without ties).
    least_p_value: The smallest one that groups of these sizes can have: above 0.05, no difference could be significant.
    """

    difference: float
    p_value: float
    least_p_value: float


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values, each raised for how many there are: one of them is below 0.05 by chance in one of 20 cases at most.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min((len(p_values) - place) * p_values[index], 1.0))
        adjusted[index] = highest
    return adjusted


def compare_all(groups: Mapping[str, Sequence[float]]) -> dict[tuple[str, str], GroupDifference]:
    """Every two of several groups of runs, by their names, in both directions.

    The p-values are raised for the number of pairs (`holm`), so that whoever picks the best group after a look at the
    outcomes may compare it with the others.

    Raises:
        ConfigurationError: A group is empty, or has values that are not finite.
    """
    pairs = list(itertools.combinations(groups, 2))
    found = [compare_groups(groups[first], groups[second]) for first, second in pairs]
    result = {}
    for (first, second), one, p_value in zip(pairs, found, holm([one.p_value for one in found]), strict=True):
        least = min(one.least_p_value * len(pairs), 1.0)
        result[first, second] = GroupDifference(one.difference, p_value, least)
        result[second, first] = GroupDifference(-one.difference, p_value, least)
    return result


def compare_groups(first: Sequence[float], second: Sequence[float]) -> GroupDifference:
    """Whether the outcomes of two groups of runs differ, for example of two settings with several seeds each.

    By ranks: outcomes of few runs are not known to be normal, and one diverged run must not decide. It takes four runs
    in each group to show anything at 5 %.

    Raises:
        ConfigurationError: A group is empty, or has values that are not finite.
    """
    stats: Any = require("scipy.stats", extra="analytics")
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if not (a.size and b.size and np.isfinite(a).all() and np.isfinite(b).all()):
        raise ConfigurationError("groups are compared by finite outcomes, at least one in each")
    apart = np.arange(a.size), np.arange(b.size) + a.size
    least = float(stats.mannwhitneyu(*apart).pvalue)
    differences = np.subtract.outer(b, a)
    return GroupDifference(float(np.median(differences)), float(stats.mannwhitneyu(a, b).pvalue), least)


@dataclass(frozen=True, slots=True)
class Effect:
    """How a setting goes with an outcome. It does not say that one makes the other.

    Attributes:
        setting: Its dotted name.
        kind: ``"number"``: Spearman's rank correlation. ``"category"``: the share of the variance of the ranks that
            lies between the categories (epsilon squared of the Kruskal-Wallis test; Tomczak & Tomczak, "The need to
            report effect size estimates revisited", 2014).
        strength: From -1 to 1, or from 0 to 1.
        p_value: How likely one as strong is where there is no relation, raised for the number of settings that were
            looked at (`holm`).
        runs: Of how many experiments.
    """

    setting: str
    kind: Literal["number", "category"]
    strength: float
    p_value: float
    runs: int


def config_effects(configs: Mapping[str, Mapping[str, object]], outcomes: Mapping[str, float]) -> tuple[Effect, ...]:
    """How the settings that differ go with an outcome, the strongest first.

    Args:
        configs: Of each experiment.
        outcomes: Of each experiment; those that are not finite do not count.
    """
    usable = {name: config for name, config in configs.items() if np.isfinite(outcomes.get(name, np.nan))}
    effects = []
    for setting, values in config_differences(usable).items():
        effect = _effect(setting, values, [outcomes[name] for name in values])
        if effect is not None:
            effects.append(effect)
    raised = holm([effect.p_value for effect in effects])
    effects = [dataclasses.replace(effect, p_value=p_value) for effect, p_value in zip(effects, raised, strict=True)]
    return tuple(sorted(effects, key=lambda effect: -abs(effect.strength)))


def _effect(setting: str, values: Mapping[str, object], outcomes: Sequence[float]) -> Effect | None:
    given = list(values.values())
    if len(given) < 3:
        return None
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in given):
        return _effect_of_number(setting, np.array(given, dtype=np.float64), outcomes)
    return _effect_of_category(setting, [json.dumps(value, sort_keys=True) for value in given], outcomes)


def _effect_of_number(setting: str, values: Floats, outcomes: Sequence[float]) -> Effect | None:
    stats: Any = require("scipy.stats", extra="analytics")
    if len(set(values.tolist())) < 2 or len(set(outcomes)) < 2:
        return None
    found = stats.spearmanr(values, outcomes)
    return Effect(setting, "number", float(found.statistic), float(found.pvalue), len(values))


def _effect_of_category(setting: str, values: Sequence[str], outcomes: Sequence[float]) -> Effect | None:
    stats: Any = require("scipy.stats", extra="analytics")
    groups = [[o for v, o in zip(values, outcomes, strict=True) if v == one] for one in dict.fromkeys(values)]
    if len(groups) < 2 or len(groups) == len(values) or len(set(outcomes)) < 2:
        return None
    found = stats.kruskal(*groups)
    return Effect(setting, "category", float(found.statistic / (len(values) - 1)), float(found.pvalue), len(values))
