"""How experiments turned out, and whether they differ by more than their seeds."""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

from model_checkpoint.analytics.comparison import GroupDifference, compare_all, config_differences
from model_checkpoint.analytics.report.page import Experiment, Group, Setting
from model_checkpoint.types import Mode

__all__ = ["groups_of", "settings_of"]

_MISSING = object()
_SEEDS = frozenset({"seed", "random_seed", "rng_seed", "manual_seed"})


def settings_of(configs: Sequence[Mapping[str, object]]) -> tuple[Setting, ...]:
    """The settings that are not the same in all experiments."""
    differences = config_differences({str(place): config for place, config in enumerate(configs)})
    places = [str(place) for place in range(len(configs))]
    return tuple(
        Setting(name, _texts([values.get(place, _MISSING) for place in places])) for name, values in differences.items()
    )


def groups_of(experiments: Sequence[Experiment], settings: Sequence[Setting], mode: Mode) -> tuple[Group, ...]:
    """Experiments by their settings, the seed aside; none if no two of them agree, or all of them do."""
    members = defaultdict(list)
    for place, experiment in enumerate(experiments):
        if experiment.best is not None and math.isfinite(experiment.best.value):
            members[_settings_text(settings, place)].append(place)
    if len(members) < 2 or all(len(group) < 2 for group in members.values()):
        return ()
    outcomes = {text: [_outcome(experiments[place]) for place in group] for text, group in members.items()}
    order = sorted(members, key=lambda text: statistics.median(outcomes[text]) * (1 if mode == "min" else -1))
    differences = compare_all(outcomes)
    return tuple(_group(text, members[text], outcomes[text], differences.get((order[0], text))) for text in order)


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


def _outcome(experiment: Experiment) -> float:
    return experiment.best.value if experiment.best is not None else math.nan


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
