import itertools
import math
from datetime import UTC, datetime, timedelta

import pytest

from model_checkpoint.analytics.best_model_selector import BestModelSelector
from model_checkpoint.analytics.criteria import Goal
from model_checkpoint.analytics.objective import Objective
from model_checkpoint.analytics.save_interval import FailureRecord
from model_checkpoint.checkpoint.save_when import Moment, SaveHistory, SaveWhen
from model_checkpoint.errors import ConfigurationError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def due(policy, history, step=1, metrics=None, at=NOW, **more):
    return policy.decide(history, Moment(step, metrics or {}, at, **more))


def saved_steps(policy, steps, history=None):
    """The steps of a loop at which the policy asks for a save, each then done."""
    history = history or SaveHistory(last_at=NOW)
    saved = []
    for step in steps:
        if due(policy, history, step):
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
    early, late = NOW + timedelta(minutes=9, seconds=59), NOW + timedelta(minutes=10)
    assert not due(policy, history, at=early)
    assert due(policy, history, at=late)
    assert due(policy, history, at=late).reasons == ("every(minutes=10): 10 min of 10 min",)
    later = history.after(1, {}, NOW + timedelta(minutes=10))
    assert not due(policy, later, 2, at=NOW + timedelta(minutes=19))
    assert SaveWhen.every(hours=2) == SaveWhen.every(minutes=120)


@pytest.mark.parametrize(("mode", "better", "worse"), [("min", 0.8, 1.2), ("max", 1.2, 0.8)])
def test_improved_asks_for_more_than_min_delta(mode, better, worse):
    """Only a value better than every one before, by more than min_delta, is an improvement."""
    history = SaveHistory(last_at=NOW).after(1, {"m": 1.0}, NOW)

    def improves(value, min_delta=0.0):
        return due(SaveWhen.improved(min_delta=min_delta), history, 2, {"m": value}, goal=Objective("m", mode))

    assert improves(better).reasons == (f"improved(): m {better}, the best so far 1",)
    assert improves(better)
    assert not improves(worse)
    assert not improves(1.0)
    assert not improves(better, min_delta=0.5)


@pytest.mark.parametrize("worthless", [{"m": math.nan}, {}])
def test_nothing_that_is_no_number_improves(worthless):
    """NaN and missing values are neither improvements nor records to beat."""
    policy = SaveWhen.improved("m")
    empty = SaveHistory(last_at=NOW)
    assert not due(policy, empty, 1, worthless)
    assert due(policy, empty.after(1, worthless, NOW), 2, {"m": 5.0})


def test_the_experiments_past_counts(info):
    """A resumed run must beat what the experiment already has."""
    history = SaveHistory.of([info(1, metrics={"m": 1.0}), info(2, metrics={"m": math.nan})], begun_at=NOW)
    policy = SaveWhen.improved("m", "max")
    assert not due(policy, history, 1, {"m": 0.9})
    assert due(policy, history, 1, {"m": 1.1})


def test_a_union_names_each_part_that_is_due():
    """Two parts that are due give two reasons."""
    policy = SaveWhen.every(steps=5) | SaveWhen.every(minutes=1) | SaveWhen.improved("m")
    found = due(policy, SaveHistory(last_at=NOW), 5, {"m": 1.0})
    assert found
    assert found.reasons == ("every(steps=5): step 5 has reached 5", "improved('m'): m 1 is the first")
    assert str(policy) == "every(steps=5) | every(minutes=1) | improved('m')"


def test_no_is_explained_by_all_parts():
    """Each says what it waits for."""
    policy = SaveWhen.every(steps=500) | SaveWhen.improved("m")
    found = due(policy, SaveHistory(last_at=NOW), 730, {"m": math.nan})
    assert found
    found = due(policy, SaveHistory(last_at=NOW).after(700, {}, NOW), 730, {"m": math.nan})
    assert not found
    assert found.reasons == ("every(steps=500): due at step 1000", "improved('m'): there is no number for m")


def test_an_improvement_by_a_criterion_is_what_the_criterion_would_choose():
    """Constraints and several metrics count; a step without one of the numbers is none."""
    goal = Objective.by(BestModelSelector.lexicographic(Goal("loss", tolerance=0.05), Goal("ms"), where=["ms < 50"]))
    history = SaveHistory(last_at=NOW).after(1, {"loss": 0.5, "ms": 40.0}, NOW)

    def improves(**metrics):
        return due(SaveWhen.improved(), history, 2, metrics, goal=goal)

    assert improves(loss=0.52, ms=30.0)
    assert not improves(loss=0.52, ms=45.0)
    assert not improves(loss=0.1, ms=60.0)
    assert improves(loss=0.1, ms=49.0)
    assert improves(loss=0.1).reasons == ("improved(): there is no number for ms",)
    with pytest.raises(ConfigurationError, match="min_delta"):
        due(SaveWhen.improved(min_delta=0.1), history, 2, {"loss": 0.1, "ms": 1.0}, goal=goal)


def test_values_attached_later_are_to_be_beaten():
    """What was measured after a save counts as if it had been known at the save."""
    history = SaveHistory(last_at=NOW).after(1, {}, NOW).knowing({"m": 0.5})
    assert not due(SaveWhen.improved("m"), history, 2, {"m": 0.6})
    assert due(SaveWhen.improved("m"), history, 2, {"m": 0.4})


def test_notice_of_the_end_makes_one_save_due():
    """A save that began before the notice does not count; one after it does."""
    policy, notice = SaveWhen.notified() | SaveWhen.every(steps=1000), NOW + timedelta(minutes=5)
    before = SaveHistory(last_at=NOW).after(1, {}, NOW, wait=timedelta())
    assert not due(policy, before, 2)
    found = due(policy, before, 2, notice_at=notice)
    assert found
    assert found.reasons == ("notified(): the process is going to be ended",)
    after = before.after(2, {}, notice, wait=timedelta())
    assert not due(policy, after, 3, notice_at=notice)


@pytest.mark.parametrize(
    "text",
    [
        "every(steps=500)",
        "every(minutes=0.1)",
        "improved()",
        "improved('val/acc', mode='max', min_delta=0.001)",
        "budget(0.02)",
        "young_daly()",
        "young_daly(mtbf_hours=1234567.5)",
        "every(steps=5) | improved() | notified()",
    ],
)
def test_a_policy_reads_its_own_text(text):
    """parse() and str() are each other's inverse."""
    assert str(SaveWhen.parse(text)) == text
    assert SaveWhen.parse(text) == SaveWhen.parse(str(SaveWhen.parse(text)))


@pytest.mark.parametrize("text", ["", "every", "every(5)", "budget(2)", "last(3)", "budget(open('x'))", "notified(1)"])
def test_what_is_no_policy_is_refused(text):
    """Anything else raises, and nothing of it runs."""
    with pytest.raises(ConfigurationError):
        SaveWhen.parse(text)


def test_the_first_save_by_a_budget_says_that_it_measures():
    """It said that waiting would be 0.00% of the time, of which nothing was known."""
    decision = due(SaveWhen.budget(0.02), SaveHistory(last_at=NOW, begun_at=NOW))
    assert decision
    assert decision.reasons == ("budget(0.02): what a save costs is not known yet",)


def test_a_save_that_slows_training_down_costs_that_too():
    """What the steps beside it took longer is added to what it made training wait."""
    history = SaveHistory(last_at=NOW, begun_at=NOW).after(0, {}, NOW, wait=timedelta(seconds=1))
    slowed = history.slowed(timedelta(seconds=3))
    assert slowed.next_wait == slowed.waited == timedelta(seconds=4)
    assert slowed.overhead(NOW + timedelta(seconds=40)) == 0.1
    assert not due(SaveWhen.budget(0.1), slowed, at=NOW + timedelta(seconds=75))
    assert due(SaveWhen.budget(0.1), history, at=NOW + timedelta(seconds=75))
    assert SaveHistory(last_at=NOW).slowed(timedelta(seconds=1)).waited == timedelta()


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


def simulated(policy, *, stall_s, step_s=1.0, steps=3000):
    """The steps at which a loop saves, and the share of its time that it waits for it."""
    now, history, saved, waited = NOW, SaveHistory(last_at=NOW, begun_at=NOW), [], 0.0
    for step in range(steps):
        now += timedelta(seconds=step_s)
        if due(policy, history, step, at=now):
            now += timedelta(seconds=stall_s)
            waited += stall_s
            saved.append(step)
            history = history.after(step, {}, now, wait=timedelta(seconds=stall_s))
    return saved, waited / (now - NOW).total_seconds()


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_a_budget_is_used_and_not_exceeded(share):
    """The first save is due at once, to see what it takes; then there are as many as the budget pays for."""
    saved, spent = simulated(SaveWhen.budget(share), stall_s=0.5)
    assert saved[0] == 0
    assert 0.9 * share <= spent <= share
    gaps = [after - before for before, after in itertools.pairwise(saved[1:])]
    assert max(gaps) - min(gaps) <= 1


def test_the_next_save_may_be_as_dear_as_the_dearest_of_the_last():
    """A budget is a bound: of five saves, one that took ten times as long is what the sixth may take, too."""
    history = SaveHistory(last_at=NOW, begun_at=NOW)
    for step, seconds in enumerate([1, 1, 10, 1, 1]):
        history = history.after(step, {}, NOW, wait=timedelta(seconds=seconds))
    assert not due(SaveWhen.budget(0.1), history, at=NOW + timedelta(seconds=229))
    assert due(SaveWhen.budget(0.1), history, at=NOW + timedelta(seconds=230))


def test_a_dear_first_save_is_paid_off():
    """After a save that took ten times as long the next ones wait until the share is kept again."""
    policy = SaveWhen.budget(0.1)
    history = SaveHistory(last_at=NOW, begun_at=NOW).after(0, {}, NOW, wait=timedelta(seconds=10))
    assert not due(policy, history, at=NOW + timedelta(seconds=180))
    assert due(policy, history, at=NOW + timedelta(seconds=190))


def test_young_daly_saves_at_its_interval():
    """Half a second, and a failure an hour, make a save about once a minute."""
    saved, _ = simulated(SaveWhen.young_daly(mtbf_hours=1), stall_s=0.5, steps=600)
    gaps = {after - before for before, after in itertools.pairwise(saved)}
    assert gaps == {60}


def test_young_daly_takes_what_the_experiment_has_seen():
    """Without a stated time between failures it is that of the resumes; a day before the first one."""
    policy, wait = SaveWhen.young_daly(), timedelta(seconds=0.5)
    record = FailureRecord(failures=1, ran=timedelta(hours=1), running_since=NOW)
    seen = SaveHistory(last_at=NOW, failed=record).after(0, {}, NOW, wait=wait)
    unseen = SaveHistory(last_at=NOW).after(0, {}, NOW, wait=wait)
    assert not due(policy, seen, at=NOW + timedelta(seconds=59))
    assert due(policy, seen, at=NOW + timedelta(seconds=61))
    assert not due(policy, unseen, at=NOW + timedelta(seconds=60))
    assert due(policy, unseen, at=NOW + timedelta(seconds=294))


@pytest.mark.parametrize(
    "make",
    [
        lambda: SaveWhen.budget(0),
        lambda: SaveWhen.budget(1),
        lambda: SaveWhen.budget(math.nan),
        lambda: SaveWhen.young_daly(mtbf_hours=0),
        lambda: SaveWhen.young_daly(mtbf_hours=math.inf),
    ],
)
def test_costs_that_make_no_sense_are_refused(make):
    """At once."""
    with pytest.raises(ConfigurationError):
        make()
