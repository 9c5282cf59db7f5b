"""Columns that are made of memory are those that Arrow makes of values."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.analytics.arrow_columns import float_column, integer_column, numbers, text_column

INTEGERS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=70)


@given(INTEGERS, st.lists(st.text(max_size=9), max_size=70), st.lists(st.none() | st.floats(), max_size=70))
def test_columns_are_those_of_arrow(integers, texts, floats):
    """Of any length, with any values; what is unknown is null, or NaN."""
    found = integer_column(integers), text_column(texts), float_column(floats, unknown_is_nan=False)
    unknown = [None if value is None or math.isnan(value) else value for value in floats]
    expected = pa.array(integers, pa.int64()), pa.array(texts, pa.utf8()), pa.array(unknown, pa.float64())
    for one, other in zip(found, expected, strict=True):
        one.validate(full=True)
        assert one.equals(other)
    nans = float_column(floats, unknown_is_nan=True)
    assert nans.null_count == 0
    assert [None if math.isnan(value) else value for value in nans.to_pylist()] == unknown


def test_moments_are_in_utc():
    """In microseconds since 1970."""
    assert integer_column([1_500_000], "time").to_pylist() == [datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)]


@given(INTEGERS, st.integers(0, 70))
def test_numbers_are_those_of_all_chunks(integers, cut):
    """However they are divided, also if there is none."""
    column = pa.chunked_array([pa.array(part, pa.int64()) for part in (integers[:cut], integers[cut:])])
    assert numbers(column).tolist() == integers
    assert numbers(column).dtype == "int64"
