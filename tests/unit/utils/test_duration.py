import pytest

from model_checkpoint.errors import ConfigurationError
from model_checkpoint.utils.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 ms"), (0.000012, "12 µs"), (0.00006, "0.1 ms"), (0.0042, "4.2 ms"), (0.018, "18 ms"),
        (0.9999, "1.0 s"), (1.25, "1.2 s"), (59.97, "1 min"),
        (75, "1 min 15 s"), (3600, "1 h"), (7384, "2 h 3 min"), (90061, "1 d 1 h"),
    ],
)  # fmt: skip
def test_durations_read_well(seconds, text):
    """The two largest units that count."""
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [(5, 5.0), ("90s", 90.0), ("10 min", 600.0), ("6h", 21600.0), ("7d", 604800.0), ("1.5h", 5400)]
)
def test_durations_are_understood(text, seconds):
    """Numbers of seconds, and numbers with a unit."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "7 fortnights", "-1s"])
def test_other_text_is_no_duration(text):
    """What is no duration raises."""
    with pytest.raises(ConfigurationError, match="duration"):
        parse_duration(text)
