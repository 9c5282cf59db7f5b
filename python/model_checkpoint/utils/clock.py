"""Points in time: always UTC, always to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["format_rfc3339", "from_microseconds", "parse_rfc3339", "to_microseconds", "utc_now"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def utc_now() -> datetime:
    """Now, aware of being in UTC."""
    return datetime.now(UTC)


def to_microseconds(moment: datetime) -> int:
    """Microseconds since 1970, exactly; this is how catalogs store time.

    Raises:
        ValueError: ``moment`` has no time zone, so it does not say when it is.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(count: int) -> datetime:
    """The inverse of `to_microseconds`."""
    return _EPOCH + timedelta(microseconds=count)


def format_rfc3339(moment: datetime) -> str:
    """``2025-01-31T12:00:00.000000Z``; this is how manifests store time.

    Raises:
        ValueError: ``moment`` has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_rfc3339(text: str) -> datetime:
    """A point in time from RFC 3339 text with any offset, in UTC.

    Raises:
        ValueError: The text is not such a time, or has no offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is before the year 1 or after the year 9999 in UTC") from None
