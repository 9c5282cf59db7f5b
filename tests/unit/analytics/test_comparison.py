"""Experiments beside each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from model_checkpoint.analytics.comparison import align, compare_groups, config_differences, config_effects
from model_checkpoint.errors import ConfigurationError


def test_curves_come_to_one_axis():
    """Interpolated between their points, NaN beyond their ends; what is not finite is bridged."""
    curves = {"a": ([0, 10], [0.0, 1.0]), "b": ([5, 6, 20], [1.0, math.nan, 4.0]), "c": ([1], [math.nan])}
    axis, found = align(curves, points=5)
    assert axis.tolist() == [0, 5, 10, 15, 20]
    np.testing.assert_allclose(found["a"], [0, 0.5, 1, math.nan, math.nan])
    np.testing.assert_allclose(found["b"], [math.nan, 1, 2, 3, 4])
    assert np.isnan(found["c"]).all()
    assert align({"a": ([], [])})[0].size == 0


def test_settings_that_differ_are_listed():
    """Nested ones by dotted names; one that only some have differs, too."""
    configs = {
        "a": {"lr": 0.1, "model": {"depth": 2, "name": "mlp"}, "seed": 1},
        "b": {"lr": 0.2, "model": {"depth": 2, "name": "mlp"}},
    }
    assert config_differences(configs) == {"lr": {"a": 0.1, "b": 0.2}, "seed": {"a": 1}}
    assert config_differences({}) == {}
    assert config_differences({"a": {"x": [1, {"y": 2}]}, "b": {"x": [1, {"y": 2}]}}) == {}


def test_groups_are_compared_by_ranks():
    """The p-value is scipy's; the difference is that of the medians of all pairs."""
    a, b = [0.9, 0.8, 0.85, 0.87], [0.91, 0.95, 0.93, 0.92]
    found = compare_groups(a, b)
    assert found.p_value == pytest.approx(scipy.stats.mannwhitneyu(a, b).pvalue)
    assert found.difference == pytest.approx(np.median([y - x for x in a for y in b]))
    assert found.p_value < 0.05


def test_too_few_runs_cannot_show_anything():
    """Of two groups of two, the least p-value is a third."""
    assert compare_groups([1, 2], [3, 4]).least_p_value == pytest.approx(1 / 3)


@pytest.mark.parametrize(("first", "second"), [([], [1.0]), ([1.0], [math.nan]), ([math.inf], [1.0])])
def test_groups_without_outcomes_are_refused(first, second):
    """There is nothing to rank."""
    with pytest.raises(ConfigurationError, match="finite outcomes"):
        compare_groups(first, second)


def test_settings_are_ranked_by_how_they_go_with_the_outcome():
    """A rate that decides, a category that does a little, and a seed that does nothing."""
    rng = np.random.default_rng(0)
    configs = {f"run{n}": {"lr": 0.1 * n, "opt": "adam" if n % 2 else "sgd", "seed": int(s)} for n, s in
               enumerate(rng.permutation(20))}  # fmt: skip
    outcomes = {f"run{n}": 0.1 * n + (0.3 if n % 2 else 0) for n in range(20)}
    effects = config_effects(configs, outcomes | {"run3": math.nan})
    lr, *_ = effects
    assert lr.setting == "lr"
    assert lr.strength > 0.9
    assert lr.runs == 19
    by_name = {effect.setting: effect for effect in effects}
    assert by_name["opt"].kind == "category"
    assert abs(by_name["seed"].strength) < 0.5 < lr.strength
    assert config_effects({"a": {"x": 1}, "b": {"x": 2}}, {"a": 1.0, "b": 2.0}) == ()
