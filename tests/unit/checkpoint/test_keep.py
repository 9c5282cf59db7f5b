import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.analytics.best_model_selector import BestModelSelector
from model_checkpoint.analytics.criteria import Custom, Goal
from model_checkpoint.checkpoint.keep import Keep
from model_checkpoint.errors import ConfigurationError


def kept_steps(policy, checkpoints, **goal):
    reasons = policy.reasons(checkpoints, **goal)
    return [checkpoint.step for checkpoint in checkpoints if checkpoint.id in reasons]


def test_last_keeps_the_newest_by_commit_order_not_by_step(info):
    """A run that started again keeps its new low steps, not the old high ones."""
    checkpoints = [info(1, step=500), info(2, step=600), info(3, step=100), info(4, step=200)]
    assert kept_steps(Keep.last(2), checkpoints) == [100, 200]


def test_best_takes_the_monitor_and_its_mode(info):
    """Without a metric of its own, best() ranks by the experiment's monitor."""
    checkpoints = [info(seq, metrics={"acc": value}) for seq, value in enumerate([0.1, 0.9, 0.5])]
    assert kept_steps(Keep.best(2), checkpoints, monitor="acc", mode="max") == [100, 200]
    assert kept_steps(Keep.best(1), checkpoints, monitor="acc", mode="min") == [0]


def test_best_prefers_its_own_metric_and_mode(info):
    """best(1, metric, mode) ignores the monitor."""
    checkpoints = [info(1, metrics={"acc": 0.1, "loss": 1.0}), info(2, metrics={"acc": 0.9, "loss": 2.0})]
    assert kept_steps(Keep.best(1, "acc", "max"), checkpoints, monitor="loss", mode="min") == [200]


def test_best_never_keeps_a_value_that_is_no_number(info):
    """NaN and missing values take no place among the best."""
    checkpoints = [info(1, metrics={"loss": 3.0}), info(2, metrics={"loss": math.nan}), info(3)]
    for mode in ("min", "max"):
        assert kept_steps(Keep.best(2), checkpoints, monitor="loss", mode=mode) == [100]


def test_every_steps_keeps_the_first_at_or_after_each_multiple(info):
    """A loop that saves at 499, 999, … keeps one for each thousand, and steps below the first multiple none."""
    checkpoints = [info(seq, step=500 * seq - 1) for seq in range(1, 9)]
    assert kept_steps(Keep.every(1000), checkpoints) == [1499, 2499, 3499]


def test_every_steps_keeps_the_later_of_equal_steps(info):
    """After a restart, the newer checkpoint of a step stands for it."""
    first, second = info(1, step=1000), info(2, step=1000)
    assert set(Keep.every(1000).reasons([first, second])) == {second.id}


def test_every_span_keeps_the_first_of_each(info):
    """every(hours=1) keeps the first checkpoint of each hour."""
    checkpoints = [info(seq) for seq in range(0, 180, 25)]
    assert [c.seq for c in checkpoints if c.id in Keep.every(hours=1).reasons(checkpoints)] == [0, 75, 125]


@given(st.lists(st.integers(0, 5000), max_size=30), st.integers(1, 700))
def test_every_is_stable_under_its_own_pruning(steps, period):
    """What every() keeps, it keeps again when the others are gone."""
    from datetime import UTC, datetime

    from model_checkpoint.types import CheckpointInfo

    checkpoints = [
        CheckpointInfo(f"{seq:032x}", "e", step, seq, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=step), "p",
                       1, "d", "c")
        for seq, step in enumerate(steps)
    ]  # fmt: skip
    for policy in (Keep.every(period), Keep.every(minutes=period)):
        kept = set(policy.reasons(checkpoints))
        assert set(policy.reasons([c for c in checkpoints if c.id in kept])) == kept


def test_a_union_keeps_what_any_part_keeps_and_names_each(info):
    """A checkpoint that two parts keep has both reasons."""
    checkpoints = [info(seq, metrics={"loss": -seq}) for seq in range(1, 5)]
    reasons = (Keep.last(1) | Keep.best(2)).reasons(checkpoints, monitor="loss")
    assert reasons == {checkpoints[3].id: ("last(1)", "best(2)"), checkpoints[2].id: ("best(2)",)}


def test_unions_are_values():
    """Equal parts count once, in the order given."""
    policy = Keep.last(3) | Keep.best(2) | Keep.last(3)
    assert policy == Keep.last(3) | Keep.best(2)
    assert hash(policy) == hash(Keep.last(3) | Keep.best(2))
    assert Keep.last(3) | Keep.last(3) == Keep.last(3)
    assert Keep.none() | Keep.last(3) == Keep.last(3)


@pytest.mark.parametrize(
    "text",
    [
        "last(3)",
        "best(2)",
        "best(2, 'val/acc', mode='max')",
        "every(10000)",
        "every(hours=0.5)",
        "every(days=7)",
        "all()",
        "none()",
        "last(3) | best(2) | every(hours=6)",
        "best(2, by=by('val_loss', 'min', smoothing=3, where=['latency_ms < 50']))",
        "best(1, by=weighted(Goal('a', weight=0.7), Goal('b', 'max', weight=0.1), scale='rank'))",
        "last(1) | pareto(Goal('a'), Goal('b', 'max')) | where('a < 0.5', 'b >= 12345678.0')",
    ],
)
def test_a_policy_reads_its_own_text(text):
    """parse() and str() are each other's inverse."""
    assert str(Keep.parse(text)) == text
    assert Keep.parse(str(Keep.parse(text))) == Keep.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "last", "last()", "last(0)", "last(-1)", "last(True)", "last(2.5)", "last('3')", "best(0)", "best(1, 2)",
        "best(1, mode='up')", "every()", "every(5, hours=1)", "every(hours=0)", "every(hours=float('nan'))",
        "every(weeks=1)", "newest(3)", "last(3) & best(2)", "last(3) |", "__import__('os').system('true')",
        "last((lambda: 3)())", "last(**{'count': 3})", "(" * 300 + ")" * 300,
        "best(2, by=best(1))", "best(2, by='loss')", "best(2, 'a', by=by('a'))", "best(1, by=custom(f, 'a'))",
        "pareto()", "pareto(Goal('a'), Goal('a'))", "pareto('a')", "pareto(open('x'))", "where()", "where('a')",
        "where('a < nan')", "pareto(Goal('a', weight=0))", "best(1, by=by('a', where=[open('x')]))",
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused(text):
    """Anything but policies of literals raises, and nothing of it runs."""
    with pytest.raises(ConfigurationError):
        Keep.parse(text)


def test_best_by_a_criterion_keeps_those_that_it_prefers(info):
    """Constraints and tie-breaks decide what is kept, not the monitor."""
    values = [(0.5, 90), (0.4, 90), (0.41, 20), (0.6, 10)]
    checkpoints = [info(n, metrics={"loss": loss, "ms": ms}) for n, (loss, ms) in enumerate(values, 1)]
    nearly = BestModelSelector.lexicographic(Goal("loss", tolerance=0.05), Goal("ms"))
    assert kept_steps(Keep.best(1, by=nearly), checkpoints, monitor="loss") == [300]
    fast = BestModelSelector.by("loss", where=["ms < 50"])
    assert kept_steps(Keep.best(2, by=fast), checkpoints, monitor="loss") == [300, 400]
    assert Keep.best(2, by=fast).reasons(checkpoints)[checkpoints[2].id] == (f"best(2, by={fast})",)


def test_best_without_a_metric_goes_by_the_experiments_criterion(info):
    """What makes a checkpoint the best is said once, for the experiment."""
    checkpoints = [info(1, metrics={"loss": 0.4, "ms": 90}), info(2, metrics={"loss": 0.5, "ms": 20})]
    goal = {"monitor": "loss", "selector": BestModelSelector.by("loss", where=["ms < 50"])}
    assert kept_steps(Keep.best(1), checkpoints, **goal) == [200]
    assert kept_steps(Keep.best(1, "loss"), checkpoints, **goal) == [100]


def test_pareto_keeps_the_front_and_where_what_satisfies(info):
    """A checkpoint without one of the metrics is on no front and satisfies nothing."""
    values = [(0.5, 10), (0.4, 20), (0.45, 30), (math.nan, 1)]
    checkpoints = [info(n, metrics={"loss": loss, "ms": ms}) for n, (loss, ms) in enumerate(values, 1)]
    checkpoints.append(info(5, metrics={"loss": 0.1}))
    assert kept_steps(Keep.pareto(Goal("loss"), Goal("ms")), checkpoints) == [100, 200]
    assert kept_steps(Keep.where("ms <= 20"), checkpoints) == [100, 200, 400]
    assert kept_steps(Keep.where("ms <= 20", "loss < 0.5"), checkpoints) == [200]
    assert kept_steps(Keep.where("unknown > 0"), checkpoints) == []
    assert kept_steps(Keep.pareto(Goal("unknown")), checkpoints) == []


def test_values_that_come_late_change_what_is_kept(info):
    """Nothing is remembered of who was the best: the next plan sees what was attached."""
    before = [info(1, metrics={"loss": 0.5}), info(2, metrics={"loss": 0.4})]
    after = [info(1, metrics={"loss": 0.3}), before[1]]
    assert kept_steps(Keep.best(1), before, monitor="loss") == [200]
    assert kept_steps(Keep.best(1), after, monitor="loss") == [100]


def test_a_criterion_of_ones_own_keeps_but_is_not_read_back(info):
    """A function has no text that another program could run."""
    policy = Keep.best(1, by=BestModelSelector(Custom(lambda values: -abs(values["a"]), ("a",))))
    assert kept_steps(policy, [info(1, metrics={"a": -1}), info(2, metrics={"a": 5})]) == [100]
    with pytest.raises(ConfigurationError, match="custom"):
        Keep.parse(str(policy))


def test_best_without_any_metric_is_found_early():
    """A policy that needs a metric says so before training begins."""
    with pytest.raises(ConfigurationError, match="monitor"):
        (Keep.last(1) | Keep.best(2)).check(None)
    (Keep.last(1) | Keep.best(2)).check("loss")
    (Keep.last(1) | Keep.best(2, "acc")).check(None)


def test_a_policy_of_ones_own_joins_the_others(info):
    """A subclass needs select() and a name."""

    class KeepEven(Keep):
        def select(self, checkpoints, goal, /):
            return [checkpoint for checkpoint in checkpoints if checkpoint.seq % 2 == 0]

        def __str__(self):
            return "even"

    checkpoints = [info(seq) for seq in range(1, 5)]
    assert (Keep.last(1) | KeepEven()).reasons(checkpoints)[checkpoints[3].id] == ("last(1)", "even")
