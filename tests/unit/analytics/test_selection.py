import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.analytics.selection import best, rank
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.types import CheckpointInfo


def info(seq, value):
    metrics = {} if value is None else {"m": value}
    return CheckpointInfo(str(seq), "e", seq, seq, datetime(2026, 1, 1, tzinfo=UTC), "p", 1, "d", "c", metrics)


def test_of_equal_values_the_later_commit_is_better():
    """Ties go to the newer checkpoint in both modes."""
    checkpoints = [info(1, 0.5), info(2, 0.5), info(3, 0.7)]
    assert [c.seq for c in rank(checkpoints, "m", "min")] == [2, 1, 3]
    assert [c.seq for c in rank(checkpoints, "m", "max")] == [3, 2, 1]


def test_without_a_usable_value_there_is_no_best():
    """NaN and missing values never win, not even alone."""
    assert best([info(1, math.nan), info(2, None)], "m") is None


@given(st.lists(st.one_of(st.none(), st.floats())), st.sampled_from(["min", "max"]))
def test_the_best_is_an_extreme(values, mode):
    """Whatever the values, the best is a number and none is better."""
    winner = best([info(seq, value) for seq, value in enumerate(values)], "m", mode)
    numbers = [value for value in values if value is not None and not math.isnan(value)]
    expected = {"min": min, "max": max}[mode](numbers, default=None)
    assert (winner.metrics["m"] if winner else None) == expected


def test_an_unknown_mode_is_refused():
    """Only min and max are modes."""
    with pytest.raises(ConfigurationError, match="'up'"):
        rank([], "m", "up")
