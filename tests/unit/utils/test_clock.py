"""Times survive both of their stored forms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.utils.clock import format_rfc3339, from_microseconds, parse_rfc3339, to_microseconds, utc_now

MOMENT = datetime(2025, 1, 31, 12, 0, 0, 7, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.timezones())  # noqa: DTZ001


@given(MOMENTS)
def test_microseconds_are_exact(moment):
    """Any moment comes back from its microseconds as itself, in UTC."""
    found = from_microseconds(to_microseconds(moment))
    assert found == moment.astimezone(UTC)
    assert found.utcoffset() == timedelta(0)


@given(MOMENTS)
def test_text_is_exact(moment):
    """Any moment comes back from its text as itself, in UTC."""
    assert parse_rfc3339(format_rfc3339(moment)) == moment.astimezone(UTC)


def test_text_has_one_form():
    """The text is RFC 3339 in UTC with six digits, whatever the zone was."""
    for zone in (UTC, timezone(timedelta(hours=5, minutes=30))):
        assert format_rfc3339(MOMENT.astimezone(zone)) == "2025-01-31T12:00:00.000007Z"


@pytest.mark.parametrize("offset", ["Z", "+00:00"])
def test_offsets_are_read(offset):
    """Both spellings of UTC, and any other offset, are read."""
    assert parse_rfc3339(f"2025-01-31T12:00:00.000007{offset}") == MOMENT
    assert parse_rfc3339("2025-01-31T05:00:00.000007-07:00") == MOMENT


@pytest.mark.parametrize("use", [to_microseconds, format_rfc3339, lambda naive: parse_rfc3339(naive.isoformat())])
def test_a_time_without_a_zone_is_refused(use):
    """A time that does not say when it is, is not stored."""
    with pytest.raises(ValueError, match="has no"):
        use(MOMENT.replace(tzinfo=None))


def test_now_is_in_utc():
    """The clock gives UTC."""
    assert utc_now().tzinfo is UTC
