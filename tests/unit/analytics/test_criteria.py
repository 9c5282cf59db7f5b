"""Every criterion against its definition, tried one by one."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.analytics.best_model_selector import BestModelSelector
from model_checkpoint.analytics.candidates import Candidates
from model_checkpoint.analytics.constraint import Constraint
from model_checkpoint.analytics.criteria import Custom, Goal, Lexicographic, Pareto, Single, Weighted
from model_checkpoint.database import Catalog
from model_checkpoint.errors import CheckpointNotFoundError, ConfigurationError, MetricNotFoundError
from tests.unit.database.samples import make_info

NUMBERS = st.one_of(st.none(), st.just(math.nan), st.integers(-3, 3).map(float), st.sampled_from([math.inf, -math.inf]))
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12)
GOALS = (Goal("a", "min", weight=2), Goal("b", "max", tolerance=1))


def candidates(rows, names=("a", "b")):
    return Candidates.of_rows([(f"id{n}", 10 * n, n, *row) for n, row in enumerate(rows)], names)


def chosen(criterion, rows, where=()):
    """The places in order; none if a metric is missing everywhere."""
    try:
        found = BestModelSelector(criterion, where=where).rank(candidates(rows))
    except MetricNotFoundError:
        return []
    assert [one.place for one in found] == list(range(1, len(found) + 1))
    assert all(one.why for one in found)
    return [one.seq for one in found]


def usable(rows, *, finite=False):
    test = math.isfinite if finite else (lambda value: not math.isnan(value))
    return [n for n, row in enumerate(rows) if all(value is not None and test(value) for value in row)]


@given(ROWS)
def test_by_one_metric_the_least_or_most_comes_first(rows):
    """NaN and missing values are never chosen; of equals the later one comes first."""
    known = [n for n, (_, b) in enumerate(rows) if b is not None and not math.isnan(b)]
    assert chosen(Single(Goal("b", "max")), rows) == sorted(known, key=lambda n: (-rows[n][1], -n))
    known = [n for n, (a, _) in enumerate(rows) if a is not None and not math.isnan(a)]
    assert chosen(Single(Goal("a")), rows) == sorted(known, key=lambda n: (rows[n][0], -n))


def test_smoothing_does_not_fall_for_one_lucky_value():
    """The median over the last three; a candidate without a value does not get one."""
    rows = [(value, None) for value in (5.0, 5.0, 1.0, 5.0, 4.0, 4.0, None, 4.0)]
    assert chosen(Single(Goal("a")), rows)[0] == 2
    assert chosen(Single(Goal("a"), smoothing=3), rows)[0] == 7
    assert 6 not in chosen(Single(Goal("a"), smoothing=3), rows)


@given(ROWS)
def test_the_weighted_sum_is_that_of_scaled_values(rows):
    """Each metric goes from 0 (best) to 1 (worst) among those that count, times its share of the weights."""
    known = usable(rows, finite=True)

    def scaled(column, value, sign):
        values = [sign * rows[n][column] for n in known]
        spread = max(values) - min(values)
        return (sign * value - min(values)) / (spread or 1)

    def score(n):
        return 2 / 3 * scaled(0, rows[n][0], 1) + 1 / 3 * scaled(1, rows[n][1], -1)

    found = chosen(Weighted(GOALS), rows)
    assert sorted(found) == known
    assert [score(n) for n in found] == pytest.approx(sorted(map(score, known)))


def test_scales_differ_in_what_an_outlier_does():
    """By range an outlier squeezes the others together, by rank it does not."""
    rows = [(0.0, 1.0), (1.0, 2.0), (1000.0, 3.0)]
    goals = (Goal("a"), Goal("b", "max"))
    assert chosen(Weighted(goals, "range"), rows)[0] == 1
    assert chosen(Weighted(goals, "rank"), rows) == [2, 1, 0]
    assert sorted(chosen(Weighted(goals, "deviation"), rows)) == [0, 1, 2]


@given(ROWS)
def test_lexicographic_choice_filters_goal_by_goal(rows):
    """The winner is what is left when each goal in turn keeps those within its tolerance of its best."""
    goals = (Goal("a", "min", tolerance=1), Goal("b", "max"))
    left = usable(rows)
    found = chosen(Lexicographic(goals), rows)
    assert sorted(found) == left
    for goal, column, sign in ((goals[0], 0, 1), (goals[1], 1, -1)):
        best = min((sign * rows[n][column] for n in left), default=0)
        left = [n for n in left if sign * rows[n][column] <= best + goal.tolerance]
    assert found[:1] == left[-1:]


@given(ROWS)
def test_the_pareto_front_is_what_nothing_beats(rows):
    """All of it and nothing else: by comparing each with each."""
    known = usable(rows, finite=True)

    def beats(a, b):
        pairs = [(rows[a][0], rows[b][0]), (-rows[a][1], -rows[b][1])]
        return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)

    front = [n for n in known if not any(beats(other, n) for other in known)]
    assert sorted(chosen(Pareto(GOALS), rows)) == front


def test_who_is_beaten_by_less_than_a_sum_can_tell_is_not_on_the_front():
    """Beside many operations a small difference in the loss vanishes, if both are added."""
    rows = [(1e15, -0.001), (1e15, 0.0)]
    assert chosen(Pareto(GOALS), rows) == [1]


HUGE = [(1e308, 0.0), (-1e308, 1.0), (1.7e308, 0.5), (0.0, -1e308)]


@pytest.mark.parametrize(
    ("criterion", "best"),
    [
        (Single(Goal("a"), smoothing=2), 1),
        (Weighted((Goal("a"), Goal("b", "max"))), 1),
        (Weighted((Goal("a"), Goal("b", "max")), "deviation"), 1),
        (Lexicographic((Goal("a", tolerance=1e308), Goal("b", "max"))), 1),
        (Pareto((Goal("a"), Goal("b", "max"))), 1),
    ],
    ids=lambda value: str(value)[:20],
)
def test_values_as_large_as_a_float_holds_are_compared(criterion, best):
    """Although their differences and squares are larger; without a warning, which is an error here."""
    assert chosen(criterion, HUGE)[0] == best


def test_the_front_begins_with_the_knee():
    """The one nearest to having the best of everything."""
    rows = [(0.0, 0.0), (1.0, 9.0), (10.0, 10.0)]
    assert chosen(Pareto((Goal("a"), Goal("b", "max"))), rows)[0] == 1


def test_a_function_of_the_users_decides():
    """It is given the metrics that it asks for; NaN leaves a candidate out."""
    rows = [(1.0, 5.0), (2.0, 1.0), (3.0, 3.0)]
    criterion = Custom(lambda m: math.nan if m["a"] > 2 else m["b"] - m["a"], ("a", "b"))
    assert chosen(criterion, rows) == [0, 1]


def test_a_function_is_not_asked_about_what_lacks_a_metric():
    """It might take a missing value for a good one."""
    rows = [(1.0, 5.0), (math.nan, 9.0), (None, 9.0), (2.0, None)]
    assert chosen(Custom(lambda m: 7.0 if m["a"] != 1 else 0.0, ("a", "b")), rows) == [0]


@pytest.mark.parametrize("score", [None, "much", [1, 2]])
def test_a_function_that_gives_no_number_is_named(score):
    """With what it gave."""

    def taste(_metrics):
        return score

    with pytest.raises(ConfigurationError, match=rf"taste gave {re.escape(repr(score))} for a score"):
        chosen(Custom(taste, ("a",)), [(1.0, 1.0)])


@given(ROWS, st.integers(-3, 3))
def test_constraints_are_satisfied_by_all_that_are_chosen(rows, bound):
    """And nothing that satisfies them and has a value is left out."""
    held = [n for n, (a, b) in enumerate(rows) if None not in (a, b) and not math.isnan(a) and b < bound]
    found = chosen(Single(Goal("a")), rows, [f"b < {bound}"])
    try:
        candidates(rows).column("a"), candidates(rows).column("b")
    except MetricNotFoundError:
        held = []
    assert sorted(found) == held


@pytest.mark.parametrize("text", ["", "a", "a <", "< 5", "a < b", "a = 5", "a < nan", "a << 5"])
def test_what_is_no_constraint_is_refused(text):
    """With an example of one."""
    with pytest.raises(ConfigurationError, match="constraint"):
        Constraint.parse(text)


@pytest.mark.parametrize("text", ["latency_ms < 50", "val/acc>=0.5", "a b != -1e3", "x == inf"])
def test_constraints_print_as_they_are_read(text):
    """Text and value are the same."""
    assert Constraint.parse(str(Constraint.parse(text))) == Constraint.parse(text)


def test_when_nothing_qualifies_the_reason_is_told():
    """Which constraint excluded how many."""
    selector = BestModelSelector.by("a", where=["b < 0", "a > 0"])
    with pytest.raises(CheckpointNotFoundError, match=r"0 of 2 have b < 0, 2 of 2 have a > 0"):
        selector.best(candidates([(1.0, 1.0), (2.0, 1.0)]))
    with pytest.raises(CheckpointNotFoundError, match="no checkpoint to choose from"):
        selector.best(candidates([]))
    with pytest.raises(MetricNotFoundError, match="no metric 'c'; there is a, b"):
        BestModelSelector.by("c").best(candidates([(1.0, 1.0)]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Goal("a", "low"),
        lambda: Goal("a", weight=0),
        lambda: Goal("a", tolerance=-1),
        lambda: Goal("a", weight=math.nan),
        lambda: Goal("a", weight="1"),
        lambda: Goal("a", tolerance=None),
        lambda: BestModelSelector("a"),
        lambda: BestModelSelector.by("a", where="b < 5"),
        lambda: BestModelSelector.by("a", where=[5]),
        lambda: Weighted(()),
        lambda: Weighted(GOALS, "log"),
        lambda: Pareto((Goal("a"), Goal("a", "max"))),
    ],
)
def test_criteria_that_make_no_sense_are_refused(make):
    """At once, not when something is to be chosen."""
    with pytest.raises(ConfigurationError):
        make()


def test_history_is_each_time_that_the_best_changed():
    """In commit order, with why each was the best then."""
    rows = [(None, 0.0), (5.0, 0.0), (6.0, 0.0), (3.0, 0.0), (math.nan, 0.0), (3.0, 0.0)]
    found = BestModelSelector.by("a").history(candidates(rows))
    assert [(one.seq, one.values["a"]) for one in found] == [(1, 5.0), (3, 3.0), (5, 3.0)]
    assert found[1].why == "a 3 is the least of 3; the next is 5"


def test_explanations_name_values_and_constraints():
    """So that a person can see why."""
    rows = candidates([(1.0, 10.0), (2.0, 30.0)])
    assert BestModelSelector.by("a", where=["b < 50"]).best(rows).why == (
        "a 1 is the least of 2; the next is 2 (with b < 50)"
    )
    assert BestModelSelector.by("a").rank(rows)[1].why == "a 2, 1 behind the best"
    assert np.isclose(BestModelSelector.by("b", "max").best(rows).values["b"], 30.0)


def test_what_is_removed_while_it_is_chosen_is_passed_over(tmp_path):
    """Values are read first, and then who has the best of them: others are chosen as if it had not been there."""
    selector = BestModelSelector.by("loss")
    with Catalog.open(tmp_path) as catalog:
        infos = [make_info(seq, metrics={"loss": seq / 8}) for seq in range(1, 5)]
        catalog.add(*infos)
        before = Candidates.of_catalog(catalog, "gpt2", selector.metrics)
        catalog.remove(infos[0].id)
        catalog.remove(infos[2].id)
        for given in (before, Candidates.of_catalog(catalog, "gpt2", selector.metrics)):
            first, second = selector.rank(given)
            assert (first.id, first.step, first.place) == (infos[1].id, infos[1].step, 1)
            assert (second.id, second.place) == (infos[3].id, 2)
            assert first.why == "loss 0.25 is the least of 2; the next is 0.5"
        catalog.remove(infos[1].id)
        catalog.remove(infos[3].id)
        assert selector.rank(before) == ()
