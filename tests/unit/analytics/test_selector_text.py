"""Selectors as text: what is stored of them, and read back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.analytics.best_model_selector import BestModelSelector
from model_checkpoint.analytics.constraint import Constraint
from model_checkpoint.analytics.criteria import Custom, Goal, Lexicographic, Pareto, Single, Weighted
from model_checkpoint.analytics.selector_text import parse_selector
from model_checkpoint.errors import ConfigurationError

METRICS = st.text(min_size=1, max_size=6)
MODES = st.sampled_from(["min", "max"])
ABOVE_ZERO = st.floats(0, exclude_min=True, allow_infinity=False)
GOALS = st.builds(Goal, METRICS, MODES, ABOVE_ZERO, st.floats(0, allow_infinity=False))
SEVERAL = st.lists(GOALS, min_size=1, max_size=3, unique_by=lambda goal: goal.metric).map(tuple)
CRITERIA = st.one_of(
    st.builds(Single, st.builds(Goal, METRICS, MODES), st.integers(1, 9)),
    st.builds(Weighted, SEVERAL, st.sampled_from(["range", "rank", "deviation"])),
    st.builds(Lexicographic, SEVERAL),
    st.builds(Pareto, SEVERAL),
)
CONSTRAINTS = st.builds(
    Constraint,
    st.from_regex("[a-z][a-z_/ ]{0,5}[a-z]", fullmatch=True),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    st.floats(allow_nan=False),
)


@given(CRITERIA, st.lists(CONSTRAINTS, max_size=2))
def test_a_selector_is_read_back_from_its_text(criterion, where):
    """To the last bit of every number, whatever the metrics are called."""
    selector = BestModelSelector(criterion, where=where)
    assert parse_selector(str(selector)) == selector
    assert hash(parse_selector(str(selector))) == hash(selector)


@pytest.mark.parametrize(
    "text",
    [
        "", "loss", "by", "by()", "by('a', 'up')", "by(Goal('a'))", "pareto()", "weighted(Goal('a'), scale='x')",
        "single('a')", "by('a', where=['b'])", "by('a', where='b < 1', then='c')", "by(open('x'))", "(" * 500,
        "by('a') or by('b')", "pareto(*[Goal('a')])", "pareto(Goal('a'), goal('b'))", "by('a', **{'mode': 'max'})",
    ],
)  # fmt: skip
def test_what_is_no_selector_is_refused(text):
    """Makers and literals, nothing else; nothing of it runs."""
    with pytest.raises(ConfigurationError):
        parse_selector(text)


def test_the_text_of_a_function_says_that_it_is_one():
    """It cannot be read back, and the message names it."""

    def score(values):
        return values["a"]

    text = str(BestModelSelector(Custom(score, ("a",))))
    assert text == "custom(score, 'a')"
    with pytest.raises(ConfigurationError, match=r"custom\(score"):
        parse_selector(text)


def test_selectors_of_the_same_kind_are_equal():
    """They are values, as policies are."""
    assert BestModelSelector.by("a") == BestModelSelector.by("a")
    assert BestModelSelector.by("a") != BestModelSelector.by("a", where=["b < 1"])
    assert BestModelSelector.by("a") != "by('a', 'min')"
    assert repr(BestModelSelector.by("a", where=[Constraint("b", "<", math.pi)])) == (
        "<BestModelSelector by('a', 'min', where=['b < 3.141592653589793'])>"
    )
