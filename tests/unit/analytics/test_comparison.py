"""Experiments beside each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.analytics.comparison import (
    align,
    compare_all,
    compare_groups,
    config_differences,
    config_effects,
    holm,
)
from model_checkpoint.analytics.curve import places_of
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


def test_categories_are_texts_and_truth_values_that_come_back():
    """Two and two that do not mix share 0.8 of the variance of four ranks: H is 2.4, by hand, of three at most."""
    configs = {name: {"ema": name > "b", "note": f"run {name}"} for name in "abcd"}
    (ema,) = config_effects(configs, dict(zip("abcd", [0.1, 0.2, 0.3, 0.4], strict=True)))
    assert (ema.setting, ema.kind, ema.strength, ema.runs) == ("ema", "category", pytest.approx(0.8), 4)
    assert ema.p_value == pytest.approx(scipy.stats.kruskal([1, 2], [3, 4]).pvalue)


def test_p_values_of_settings_are_raised_for_how_many_settings_there_are():
    """Of five settings, the one that goes best with the outcome has to be five times as unlikely."""
    rng = np.random.default_rng(1)
    draws = {f"s{n}": rng.permutation(12) for n in range(5)}
    outcomes = {f"run{n}": float(value) for n, value in enumerate(rng.normal(size=12))}
    configs = {f"run{n}": {name: int(draw[n]) for name, draw in draws.items()} for n in range(12)}
    plain = [scipy.stats.spearmanr(draw, list(outcomes.values())).pvalue for draw in draws.values()]
    found = {effect.setting: effect.p_value for effect in config_effects(configs, outcomes)}
    assert found == pytest.approx(dict(zip(draws, holm(plain), strict=True)))
    assert min(found.values()) == pytest.approx(5 * min(plain))


def test_p_values_are_raised_for_their_number():
    """Holm's own example, 1979: of 0.01, 0.04, 0.03 and 0.005 the least counts fourfold, the next threefold."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_raised_p_values_keep_their_order(p_values):
    """None becomes less, none exceeds 1, and Bonferroni's are never less."""
    raised = holm(p_values)
    assert all(p <= q <= min(1, p * len(p_values)) + 1e-12 for p, q in zip(p_values, raised, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert list(np.array(raised)[order]) == sorted(raised)


def test_the_best_of_many_equal_groups_is_rarely_significant():
    """Of six groups that do not differ, the best is picked and compared with the others: one time in 20 at most."""
    rng, found = np.random.default_rng(4), 0
    for _ in range(200):
        groups = {str(name): rng.normal(size=6).tolist() for name in range(6)}
        best = min(groups, key=lambda name: np.median(groups[name]))
        differences = compare_all(groups)
        found += any(differences[best, name].p_value < 0.05 for name in groups if name != best)
    assert found <= 0.05 * 200 + 3 * (200 * 0.05 * 0.95) ** 0.5


def test_pairs_are_compared_in_both_directions():
    """With the sign turned around, and the least p-value that so many pairs can have."""
    groups = {"a": [1.0, 2, 3, 4, 5], "b": [11.0, 12, 13, 14, 15], "c": [1.5, 2.5, 3.5, 4.5, 5.5]}
    found = compare_all(groups)
    assert found["a", "b"].difference == -found["b", "a"].difference == 10
    assert found["a", "b"].p_value == pytest.approx(3 * compare_groups(groups["a"], groups["b"]).p_value)
    assert found["a", "b"].least_p_value == pytest.approx(3 * compare_groups(groups["a"], groups["b"]).least_p_value)
    assert compare_all({"a": [1.0]}) == {}


def test_steps_have_places_on_another_axis():
    """Between the steps whose places are known, and nowhere else."""
    np.testing.assert_allclose(
        places_of([0, 5, 10, 15, 30], [5, 15, 25], [50, math.nan, 250]), [math.nan, 50, 100, 150, math.nan]
    )
    assert np.isnan(places_of([1, 2], [], [])).all()
