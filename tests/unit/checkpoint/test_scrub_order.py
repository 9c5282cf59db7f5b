from datetime import timedelta

import pytest

from model_checkpoint.checkpoint.scrub_order import scrub_order
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


def seqs(infos, **options):
    damaged = {infos[4].id: EPOCH - 2 * DAY}
    return [item.seq for item in scrub_order(reversed(infos), now=EPOCH, damaged=damaged, **options)]


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
