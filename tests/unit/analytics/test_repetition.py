"""Experiments that differ in their seed alone."""

from __future__ import annotations

import pytest

from model_checkpoint.analytics.repetition import groups_of, settings_of


def made(outcomes):
    """The best values of experiments, in the order given, and the settings that differ."""
    return [best for _, best in outcomes], settings_of([config for config, _ in outcomes])


def sweep(*, slow=(0.5, 0.6, 0.7, 0.8), fast=(0.1, 0.2, 0.3, 0.4)):
    slow_runs = [({"lr": 0.01, "model": {"depth": 2}, "seed": n}, best) for n, best in enumerate(slow)]
    return made(slow_runs + [({"lr": 0.1, "model": {"depth": 2}, "seed": n}, best) for n, best in enumerate(fast)])


def test_settings_that_differ_are_text_and_may_be_missing():
    """Nested ones have dotted names; what all have in common is left out."""
    _, settings = made([({"a": {"b": 1}, "same": 1}, 0.1), ({"a": {"b": [2]}, "same": 1, "name": "x"}, 0.2)])
    assert [(one.name, one.values) for one in settings] == [("a.b", ("1", "[2]")), ("name", (None, "x"))]


def test_numbers_are_short_where_that_tells_them_apart():
    """As 0.0464159, for a rate that was computed; in full, if two of them would look the same."""
    _, settings = made([({"lr": 10 ** (-4 / 3)}, 0.1), ({"lr": 0.1}, 0.2), ({"lr": 1e-5}, 0.3)])
    assert settings[0].values == ("0.0464159", "0.1", "1e-05")
    _, settings = made([({"lr": 0.3}, 0.1), ({"lr": 0.1 + 0.2}, 0.2)])
    assert settings[0].values == ("0.3", "0.30000000000000004")


def test_runs_that_differ_in_their_seed_are_one_group():
    """The best group first, and how far the others are behind it; four against four can tell."""
    outcomes, settings = sweep()
    best, other = groups_of(outcomes, settings, "min")
    assert (best.settings, best.experiments, best.median) == ("lr 0.1", (4, 5, 6, 7), 0.25)
    assert (best.difference, best.p_value) == (None, None)
    assert (other.settings, other.outcomes) == ("lr 0.01", (0.5, 0.6, 0.7, 0.8))
    assert other.difference == pytest.approx(0.4)
    assert other.p_value == pytest.approx(2 / 70)  # both extremes of the 70 ways to choose four of eight
    assert other.is_decidable


def test_where_more_is_better_the_other_group_is_first():
    """By the mode."""
    assert groups_of(*sweep(), "max")[0].settings == "lr 0.01"


def test_too_few_runs_are_said_to_be_too_few():
    """Two against two cannot differ significantly, whatever came out."""
    _, other = groups_of(*sweep(slow=(5.0, 6.0), fast=(0.1, 0.2)), "min")
    assert not other.is_decidable


def test_without_repetition_there_is_nothing_to_compare():
    """Neither where every run has settings of its own, nor where all have the same."""
    assert groups_of(*made([({"lr": 1}, 0.1), ({"lr": 2}, 0.2)]), "min") == ()
    assert groups_of(*made([({"seed": 1}, 0.1), ({"seed": 2}, 0.2)]), "min") == ()
