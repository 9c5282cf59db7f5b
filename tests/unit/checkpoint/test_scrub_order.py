from datetime import timedelta

import pytest

from model_checkpoint.checkpoint.scrub_order import plan_scrub
from tests.unit.checkpoint.conftest import EPOCH

DAY = timedelta(days=1)


@pytest.fixture
def infos(info):
    """Five: verified yesterday, never, a week ago, never, damaged two days ago."""
    return [
        info(1, verified_at=EPOCH - DAY),
        info(2),
        info(3, verified_at=EPOCH - 7 * DAY),
        info(4),
        info(5),
    ]


def plan(infos, **options):
    return plan_scrub(reversed(infos), now=EPOCH, damaged={infos[4].id: EPOCH - 2 * DAY}, **options)


def seqs(infos, **options):
    return [decision.checkpoint.seq for decision in plan(infos, **options) if decision.due]


def test_what_was_longest_not_looked_at_comes_first(infos):
    """Never verified ones by their age, then the others; a damaged one has its turn like any other."""
    assert seqs(infos) == [2, 4, 3, 5, 1]


def test_the_one_under_way_is_finished_first(infos):
    """Or its half would be read in vain."""
    assert seqs(infos, under_way=infos[2].id) == [3, 2, 4, 5, 1]


def test_what_was_verified_lately_is_left_out(infos):
    """Damaged ones are never left out: they are not verified."""
    assert seqs(infos, older_than=3 * DAY) == [2, 4, 3, 5]
    assert seqs(infos, older_than=7 * DAY) == [2, 4, 3, 5]
    assert seqs(infos, older_than=8 * DAY) == [2, 4, 5]


def test_each_is_decided_with_a_reason(infos):
    """Also those that are left out."""
    found = plan(infos, older_than=3 * DAY, under_way=infos[3].id)
    assert [(one.checkpoint.seq, one.due.answer, one.due.reasons) for one in found] == [
        (4, True, ("half read by a scrub that ended", "never verified")),
        (2, True, ("never verified",)),
        (3, True, ("verified 7 d ago",)),
        (5, True, ("found damaged 2 d ago",)),
        (1, False, ("verified 1 d ago",)),
    ]


def test_damage_that_was_repaired_is_no_reason_any_more(info):
    """What was verified since it was found damaged is sound."""
    repaired = info(1, verified_at=EPOCH - DAY)
    found = plan_scrub([repaired], now=EPOCH, damaged={repaired.id: EPOCH - 2 * DAY})
    assert found[0].due.reasons == ("verified 1 d ago",)
