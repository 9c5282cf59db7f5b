"""Experiments that differ in their seed alone, and whether others differ from them by more than that."""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from model_checkpoint.analytics.comparison import GroupDifference, compare_all, config_differences
from model_checkpoint.types import Mode

__all__ = ["Group", "Setting", "groups_of", "settings_of"]

_MISSING = object()
_SEEDS = frozenset({"seed", "random_seed", "rng_seed", "manual_seed"})


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that is not the same in all experiments.

    Attributes:
        name: Its dotted name.
        values: Its value in each experiment, as text; None where there is none.
    """

    name: str
    values: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Experiments that differ in their seed alone.

    Attributes:
        settings: What they have in common that others have not.
        experiments: Which they are.
        outcomes: The best value of each.
        median: The median of these.
        difference: By how much it differs from the best group's, in the middle; None for the best group itself.
        p_value: How likely ranks as uneven are if the groups do not differ.
        is_decidable: Whether groups of these sizes could differ significantly (at 5 %) at all.
    """

    settings: str
    experiments: tuple[int, ...]
    outcomes: tuple[float, ...]
    median: float
    difference: float | None
    p_value: float | None
    is_decidable: bool


def settings_of(configs: Sequence[Mapping[str, object]]) -> tuple[Setting, ...]:
    """The settings that are not the same in all experiments."""
    differences = config_differences({str(place): config for place, config in enumerate(configs)})
    places = [str(place) for place in range(len(configs))]
    return tuple(
        Setting(name, _texts([values.get(place, _MISSING) for place in places])) for name, values in differences.items()
    )


def groups_of(outcomes: Sequence[float], settings: Sequence[Setting], mode: Mode) -> tuple[Group, ...]:
    """Experiments by their settings, the seed aside, the best group first.

    Args:
        outcomes: The best value of each; one that is not finite leaves it out.
        settings: What is not the same in all of them: `settings_of`.
        mode: Whether less or more is better.

    Returns:
        The groups; none if no two experiments agree, or all of them do.
    """
    members = defaultdict(list)
    for place, outcome in enumerate(outcomes):
        if math.isfinite(outcome):
            members[_settings_text(settings, place)].append(place)
    if len(members) < 2 or all(len(group) < 2 for group in members.values()):
        return ()
    by_group = {text: [outcomes[place] for place in group] for text, group in members.items()}
    order = sorted(members, key=lambda text: statistics.median(by_group[text]) * (1 if mode == "min" else -1))
    differences = compare_all(by_group)
    return tuple(_group(text, members[text], by_group[text], differences.get((order[0], text))) for text in order)


def _group(text: str, members: Sequence[int], own: Sequence[float], found: GroupDifference | None) -> Group:
    """A group, with its difference from the best one, which has none."""
    if found is None:
        return Group(text, tuple(members), tuple(own), statistics.median(own), None, None, is_decidable=True)
    decidable = found.least_p_value <= 0.05
    return Group(
        text,
        tuple(members),
        tuple(own),
        statistics.median(own),
        found.difference,
        found.p_value,
        is_decidable=decidable,
    )


def _settings_text(settings: Sequence[Setting], place: int) -> str:
    given = {one.name: one.values[place] for one in settings if one.name.rpartition(".")[2] not in _SEEDS}
    return ", ".join(f"{name} {value}" for name, value in given.items() if value is not None) or "(the same)"


def _texts(values: Sequence[object]) -> tuple[str | None, ...]:
    """Numbers with six digits, unless some then look alike that are not: groups are told apart by them."""
    whole = [None if value is _MISSING else _text(value) for value in values]
    short = [f"{value:.6g}" if isinstance(value, float) else text for value, text in zip(values, whole, strict=True)]
    return tuple(short if len(set(short)) == len(set(whole)) else whole)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
