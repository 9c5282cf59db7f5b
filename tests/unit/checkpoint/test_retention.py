import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.analytics.best_model_selector import BestModelSelector
from model_checkpoint.analytics.selection import rank
from model_checkpoint.checkpoint.keep import Keep
from model_checkpoint.checkpoint.retention import check_plan, plan_retention
from model_checkpoint.errors import RetentionError
from model_checkpoint.types import CheckpointInfo, CheckpointState

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def reasons_by_seq(plan):
    return {decision.checkpoint.seq: decision.reasons for decision in plan.decisions}


def test_every_protection_is_a_reason(info):
    """A policy that keeps nothing still keeps what is protected, and says why."""
    checkpoints = [
        info(1),
        info(2, verified_at=NOW),
        info(3, metrics={"loss": 0.1}),
        info(4, pinned=True),
        info(5, aliases=("prod", "v2")),
        info(6),
        info(7),
        info(8, metrics={"loss": 0.2}),
    ]
    plan = plan_retention(
        checkpoints, Keep.none(), monitor="loss", in_use={checkpoints[5].id}, resumed_from=checkpoints[6].id
    )
    assert reasons_by_seq(plan) == {
        1: (),
        2: ("newest verified",),
        3: ("best",),
        4: ("pinned",),
        5: ("@prod", "@v2"),
        6: ("in use",),
        7: ("resumed from",),
        8: ("latest",),
    }
    assert plan.removed == (checkpoints[0],)
    assert plan.freed_bytes == 1001
    assert plan.reasons(checkpoints[3].id) == ("pinned",)


def test_the_best_by_a_criterion_is_protected(info):
    """Not the one with the least of the metric, if the experiment asks for more than that."""
    checkpoints = [info(1, metrics={"loss": 0.4, "ms": 90}), info(2, metrics={"loss": 0.5, "ms": 20}), info(3)]
    selector = BestModelSelector.by("loss", where=["ms < 50"])
    plan = plan_retention(checkpoints, Keep.none(), monitor="loss", selector=selector)
    assert reasons_by_seq(plan) == {1: (), 2: ("best",), 3: ("latest",)}


def test_protections_come_before_the_policy(info):
    """The newest checkpoint is named latest first, then the parts that keep it."""
    plan = plan_retention([info(1), info(2)], Keep.last(1))
    assert reasons_by_seq(plan) == {1: (), 2: ("latest", "last(1)")}


def test_only_committed_checkpoints_are_planned(info):
    """Lost, trashed and quarantined ones are neither counted nor removed."""
    checkpoints = [info(1), info(2), *(info(3 + n, state=state) for n, state in enumerate(list(CheckpointState)[1:]))]
    assert reasons_by_seq(plan_retention(checkpoints, Keep.last(1))) == {1: (), 2: ("latest", "last(1)")}


def test_a_worsening_metric_never_costs_the_newest(info):
    """best(2) | last(1) over a metric that only gets worse keeps the first two and the last."""
    checkpoints = [info(seq, metrics={"loss": float(seq)}) for seq in range(30)]
    plan = plan_retention(checkpoints, Keep.best(2) | Keep.last(1), monitor="loss")
    assert [checkpoint.seq for checkpoint in plan.kept] == [0, 1, 29]


metric = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([math.nan, 0.5]))
policy = st.one_of(
    st.just(Keep.none()),
    st.integers(1, 4).map(Keep.last),
    st.integers(1, 3).map(Keep.best),
    st.integers(1, 900).map(Keep.every),
    st.integers(1, 900).map(lambda n: Keep.every(minutes=n)),
)


@st.composite
def histories(draw):
    """Any past: equal steps, runs that started again, clocks that jumped, metrics that are NaN or missing."""
    count = draw(st.integers(0, 25))
    checkpoints = []
    for seq in range(count):
        value = draw(metric)
        checkpoints.append(
            CheckpointInfo(
                id=f"{seq:032x}",
                experiment="e",
                step=draw(st.integers(0, 1000)),
                seq=seq,
                created_at=NOW + timedelta(minutes=draw(st.integers(-5000, 0))),
                path=f"e/{seq}",
                nbytes=draw(st.integers(0, 10**12)),
                digest="d",
                content="c",
                metrics={} if value is None else {"loss": value},
                pinned=draw(st.booleans()),
                aliases=draw(st.sampled_from([(), (), ("prod",)])),
                verified_at=draw(st.sampled_from([None, NOW])),
            )
        )
    return draw(st.permutations(checkpoints))


@given(histories(), st.lists(policy, min_size=1, max_size=3), st.sampled_from(["min", "max"]), st.sets(st.integers()))
def test_no_history_costs_what_is_protected(checkpoints, policies, mode, used):
    """Newest, newest verified, best, pinned, named and used checkpoints survive any policy over any past."""
    keep = policies[0]
    for other in policies[1:]:
        keep = keep | other
    in_use = {c.id for c in checkpoints if c.seq in used}
    plan = plan_retention(checkpoints, keep, monitor="loss", mode=mode, in_use=in_use)
    removed = {c.id for c in plan.removed}
    ordered = sorted(checkpoints, key=lambda c: c.seq)

    assert len(plan.decisions) == len(checkpoints)
    assert len(plan.kept) + len(plan.removed) == len(checkpoints)
    assert plan.freed_bytes == sum(c.nbytes for c in checkpoints if c.id in removed)
    protected = [c for c in ordered if c.pinned or c.aliases or c.id in in_use]
    protected += ordered[-1:] + [c for c in ordered if c.verified_at][-1:] + rank(ordered, "loss", mode)[:1]
    assert not removed & {c.id for c in protected}


@given(histories(), st.lists(policy, min_size=1, max_size=3))
def test_pruning_twice_removes_nothing_more(checkpoints, policies):
    """A plan over what a plan left removes nothing."""
    keep = policies[0]
    for other in policies[1:]:
        keep = keep | other
    plan = plan_retention(checkpoints, keep, monitor="loss")
    assert plan_retention(plan.kept, keep, monitor="loss").removed == ()


def test_many_removals_at_once_need_force(info):
    """A policy that would suddenly remove most of a history is refused until somebody forces it."""
    plan = plan_retention([info(seq) for seq in range(40)], Keep.last(3))
    with pytest.raises(RetentionError, match="37 of 40"):
        check_plan(plan, now=NOW)
    check_plan(plan, now=NOW, force=True)


def test_a_few_removals_pass(info):
    """Ten at once, or a fifth, are ordinary."""
    check_plan(plan_retention([info(seq) for seq in range(13)], Keep.last(3)), now=NOW)
    check_plan(plan_retention([info(seq) for seq in range(100)], Keep.last(80)), now=NOW)
    with pytest.raises(RetentionError):
        check_plan(plan_retention([info(seq) for seq in range(100)], Keep.last(79)), now=NOW)


def test_a_clock_that_went_back_stops_cleanups(info):
    """If the newest checkpoint is from the future, nobody removes anything."""
    plan = plan_retention([info(1), info(2, created_at=NOW + timedelta(hours=1))], Keep.last(1))
    with pytest.raises(RetentionError, match="clock"):
        check_plan(plan, now=NOW, force=True)
