import math
from datetime import UTC, datetime, timedelta

import pytest

from model_checkpoint.checkpoint.save_when import SaveHistory, SaveWhen
from model_checkpoint.errors import ConfigurationError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def saved_steps(policy, steps, history=None):
    """The steps of a loop at which the policy asks for a save, each then done."""
    history = history or SaveHistory(last_at=NOW)
    saved = []
    for step in steps:
        if policy.should_save(history, step, {}, NOW):
            saved.append(step)
            history = history.after(step, {}, NOW)
    return saved


def test_every_steps_is_due_at_or_after_each_multiple():
    """A loop by ones saves at the multiples; a loop by larger strides just after them."""
    assert saved_steps(SaveWhen.every(steps=500), range(1600)) == [500, 1000, 1500]
    assert saved_steps(SaveWhen.every(steps=500), range(0, 1600, 300)) == [600, 1200, 1500]


def test_every_steps_goes_on_where_the_run_resumed():
    """After resuming from step 730 the next one is 1000."""
    history = SaveHistory(last_at=NOW).after(730, {}, NOW)
    assert saved_steps(SaveWhen.every(steps=500), range(731, 1600), history) == [1000, 1500]


def test_every_steps_counts_anew_in_a_loop_that_started_again():
    """A last save at a step yet to come does not silence the policy."""
    history = SaveHistory(last_at=NOW).after(5000, {}, NOW)
    assert saved_steps(SaveWhen.every(steps=500), range(1100), history) == [500, 1000]


def test_every_minutes_counts_from_the_last_save_or_the_begin():
    """every(minutes=10) is due ten minutes after the run began or saved."""
    policy = SaveWhen.every(minutes=10)
    history = SaveHistory(last_at=NOW)
    assert not policy.should_save(history, 1, {}, NOW + timedelta(minutes=9, seconds=59))
    assert policy.should_save(history, 1, {}, NOW + timedelta(minutes=10)) == ("every(minutes=10)",)
    later = history.after(1, {}, NOW + timedelta(minutes=10))
    assert not policy.should_save(later, 2, {}, NOW + timedelta(minutes=19))
    assert SaveWhen.every(hours=2) == SaveWhen.every(minutes=120)


@pytest.mark.parametrize(("mode", "better", "worse"), [("min", 0.8, 1.2), ("max", 1.2, 0.8)])
def test_improved_asks_for_more_than_min_delta(mode, better, worse):
    """Only a value better than every one before, by more than min_delta, is an improvement."""
    history = SaveHistory(last_at=NOW).after(1, {"m": 1.0}, NOW)

    def due(value, min_delta=0.0):
        policy = SaveWhen.improved(min_delta=min_delta)
        return policy.should_save(history, 2, {"m": value}, NOW, monitor="m", mode=mode)

    assert due(better) == ("improved()",)
    assert not due(worse)
    assert not due(1.0)
    assert not due(better, min_delta=0.5)


@pytest.mark.parametrize("worthless", [{"m": math.nan}, {}])
def test_nothing_that_is_no_number_improves(worthless):
    """NaN and missing values are neither improvements nor records to beat."""
    policy = SaveWhen.improved("m")
    empty = SaveHistory(last_at=NOW)
    assert not policy.should_save(empty, 1, worthless, NOW)
    assert policy.should_save(empty.after(1, worthless, NOW), 2, {"m": 5.0}, NOW)


def test_the_experiments_past_counts(info):
    """A resumed run must beat what the experiment already has."""
    history = SaveHistory.of([info(1, metrics={"m": 1.0}), info(2, metrics={"m": math.nan})], begun_at=NOW)
    policy = SaveWhen.improved("m", "max")
    assert not policy.should_save(history, 1, {"m": 0.9}, NOW)
    assert policy.should_save(history, 1, {"m": 1.1}, NOW) == ("improved(m)",)


def test_a_union_names_each_part_that_is_due():
    """Two parts that are due give two reasons."""
    policy = SaveWhen.every(steps=5) | SaveWhen.every(minutes=1) | SaveWhen.improved("m")
    reasons = policy.should_save(SaveHistory(last_at=NOW), 5, {"m": 1.0}, NOW)
    assert reasons == ("every(steps=5)", "improved(m)")
    assert str(policy) == "every(steps=5) | every(minutes=1) | improved(m)"


@pytest.mark.parametrize(
    "make",
    [
        SaveWhen.every,
        lambda: SaveWhen.every(steps=1, minutes=1),
        lambda: SaveWhen.every(steps=0),
        lambda: SaveWhen.every(steps=1.5),
        lambda: SaveWhen.every(minutes=math.nan),
        lambda: SaveWhen.improved("m", "up"),
        lambda: SaveWhen.improved(min_delta=-1),
        lambda: SaveWhen.improved().check(None),
    ],
)
def test_nonsense_is_refused(make):
    """Arguments that make no sense raise where they are given."""
    with pytest.raises(ConfigurationError):
        make()
