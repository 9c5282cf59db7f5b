"""When to stop, and what is said of it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.analytics.best_model_selector import BestModelSelector
from model_checkpoint.analytics.criteria import Goal
from model_checkpoint.analytics.early_stopping import EarlyStopping, Evaluation
from model_checkpoint.errors import ConfigurationError, MetricNotFoundError

LOSS = BestModelSelector.by("loss")


def stops_at(rule, values, name="loss"):
    """The number of evaluations after which the rule stops first; None if it does not."""
    evaluations = [Evaluation(10 * n, {name: value}) for n, value in enumerate(values)]
    return next((n for n in range(1, len(values) + 1) if rule.decide(evaluations[:n])), None)


def test_patience_counts_evaluations_without_an_improvement():
    """Three in a row; an improvement begins the count anew."""
    rule = EarlyStopping(LOSS, patience=3)
    assert stops_at(rule, [5, 4, 6, 6, 3, 4, 4]) is None
    assert stops_at(rule, [5, 4, 6, 6, 3, 4, 4, 4]) == 8
    assert stops_at(EarlyStopping(BestModelSelector.by("loss", "max"), patience=2), [1, 2, 2, 2]) == 4


def test_an_improvement_must_be_large_enough():
    """Small steps do not count; they do not move the best either."""
    rule = EarlyStopping(LOSS, patience=3, min_delta=0.1)
    assert stops_at(rule, [1.0, 0.95, 0.92, 0.91]) == 4
    assert stops_at(rule, [1.0, 0.95, 0.89, 0.9, 0.85]) is None


def test_nan_is_no_improvement():
    """A run that only has NaN left stops; NaN at first is not the best."""
    rule = EarlyStopping(LOSS, patience=2)
    assert stops_at(rule, [math.nan, 1.0, math.nan, 0.5]) is None
    assert stops_at(rule, [1.0, math.nan, math.nan]) == 3


def test_nothing_counts_while_warming_up():
    """Neither against patience, nor as the best."""
    rule = EarlyStopping(LOSS, patience=2, warmup=30)
    assert stops_at(rule, [1, 2, 2, 2, 1.9, 1.8]) is None
    assert stops_at(rule, [1, 2, 2, 2, 3, 3]) == 6
    assert "warming up" in rule.decide([Evaluation(0, {"loss": 1.0})]).reasons[0]


def test_a_run_that_never_beats_the_baseline_stops():
    """After as many evaluations as there is patience for."""
    rule = EarlyStopping(LOSS, patience=3, baseline=0.5)
    assert stops_at(rule, [0.9, 0.8, 0.7, 0.4]) == 3
    assert stops_at(rule, [0.9, 0.4, 0.7, 0.7]) is None
    evaluations = [Evaluation(step, {"loss": 0.9}) for step in range(4)]
    assert rule.decide(evaluations).reasons == (
        "none of 4 evaluations is better than the baseline 0.5; the patience is 3",
    )
    nowhere = [Evaluation(step, {"loss": math.nan}) for step in range(3)]
    assert EarlyStopping(LOSS, patience=3).decide(nowhere).reasons == (
        "none of 3 evaluations can be the best; the patience is 3",
    )


def test_a_run_that_is_good_enough_stops_at_once():
    """With the value that it reached."""
    rule = EarlyStopping(BestModelSelector.by("acc", "max"), threshold=0.9)
    assert stops_at(rule, [0.5, 0.89, 0.9], "acc") == 3
    assert rule.decide([Evaluation(1, {"acc": 0.95})]).reasons == ("acc 0.95 has reached 0.9",)


def test_what_reaches_the_threshold_must_satisfy_the_constraints():
    """Good enough, but too slow, is not good enough."""
    rule = EarlyStopping(BestModelSelector.by("loss", where=["ms < 50"]), threshold=0.5)
    slow, fast = Evaluation(0, {"loss": 0.4, "ms": 90}), Evaluation(1, {"loss": 0.45, "ms": 20})
    assert not rule.decide([slow])
    assert rule.decide([slow, fast]).reasons == ("loss 0.45 has reached 0.5",)


def test_a_single_lucky_evaluation_reaches_no_threshold_of_a_smoothed_metric():
    """It is the median that must."""
    rule = EarlyStopping(BestModelSelector.by("loss", smoothing=3), threshold=1.0)
    assert stops_at(rule, [5, 4, 0.5, 3, 0.9]) == 5
    losses = [Evaluation(step, {"loss": loss}) for step, loss in enumerate([0.5, 0.9, 0.8])]
    assert rule.decide(losses).reasons == ("median of 3 of loss 0.8 has reached 1",)


def test_any_selector_can_decide():
    """An evaluation that joins the front as its best is an improvement."""
    rule = EarlyStopping(BestModelSelector.weighted(Goal("loss"), Goal("ms")), patience=2)
    values = [(5.0, 5.0), (4.0, 4.0), (4.5, 4.5), (4.6, 4.6)]
    evaluations = [Evaluation(n, {"loss": loss, "ms": ms}) for n, (loss, ms) in enumerate(values)]
    decision = rule.decide(evaluations)
    assert decision.answer
    assert decision.reasons == ("the best is loss 4, ms 4 at step 1, 2 of 2 evaluations ago",)
    assert not rule.decide(evaluations[:3])


def test_constraints_keep_evaluations_from_being_the_best():
    """A better loss that is too slow is no improvement."""
    rule = EarlyStopping(BestModelSelector.by("loss", where=["ms < 10"]), patience=2)
    evaluations = [Evaluation(n, {"loss": 5.0 - n, "ms": 5.0 + 5 * n}) for n in range(3)]
    assert rule.decide(evaluations).answer


@given(
    st.lists(st.one_of(st.floats(-10, 10), st.integers(0, 2).map(float), st.just(math.nan)), min_size=1),
    st.integers(1, 5),
)
def test_one_metric_and_any_criterion_agree(values, patience):
    """By definition, by one metric, and by a criterion over several: a run stops at the same evaluation."""
    evaluations = [Evaluation(n, {"loss": value}) for n, value in enumerate(values)]
    best, waited = math.inf, 0
    for value in values:
        best, waited = (value, 0) if value < best else (best, waited + 1)
    for selector in (LOSS, BestModelSelector.lexicographic(Goal("loss"))):
        assert EarlyStopping(selector, patience=patience).decide(evaluations).answer == (waited >= patience)


@pytest.mark.parametrize(
    "make", [BestModelSelector.lexicographic, BestModelSelector.pareto, BestModelSelector.weighted]
)
def test_being_as_good_as_the_best_is_no_improvement(make):
    """A run that stands still stops, by whatever it is judged; of equals, the first one counts."""
    rule = EarlyStopping(make(Goal("loss"), Goal("ms")), patience=3)
    evaluations = [Evaluation(n, {"loss": 1.0, "ms": 2.0}) for n in range(10)]
    assert [rule.decide(evaluations[:n]).answer for n in (1, 3, 4, 10)] == [False, False, True, True]
    assert rule.decide(evaluations).reasons == ("the best is loss 1, ms 2 at step 0, 9 of 3 evaluations ago",)


def test_a_smoothed_metric_does_not_stop_for_one_lucky_value():
    """The median of three has not improved since the second evaluation, whatever a single one was."""
    rule = EarlyStopping(BestModelSelector.by("loss", smoothing=3), patience=2)
    assert stops_at(rule, [5, 4, 1, 5, 5, 5]) == 5


@pytest.mark.parametrize(
    "fields",
    [
        {"patience": 0},
        {"patience": 2.5},
        {"warmup": 0.5},
        {"baseline": math.nan},
        {"threshold": math.nan},
        {"selector": "loss"},
        {"warmup": -1},
        {"min_delta": -0.1},
        {"min_delta": math.inf},
        {"selector": BestModelSelector.pareto(Goal("a"), Goal("b")), "threshold": 1.0},
    ],
)
def test_rules_that_make_no_sense_are_refused(fields):
    """At once."""
    with pytest.raises(ConfigurationError):
        EarlyStopping(**{"selector": LOSS, **fields})


def test_a_metric_that_nobody_has_is_named():
    """Rather than stopping a run for it."""
    with pytest.raises(MetricNotFoundError, match="loss"):
        EarlyStopping(LOSS).decide([Evaluation(0, {"los": 1.0})])
