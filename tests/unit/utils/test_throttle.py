import pytest

from model_checkpoint.utils.throttle import Throttle


class Time:
    """A clock that goes on when somebody sleeps, or when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds


@pytest.fixture
def time():
    return Time()


def throttle(time, rate):
    return Throttle(rate, clock=time, sleep=time.sleep)


def test_bytes_take_as_long_as_the_rate_says(time):
    """However they are cut, and however quickly they are read."""
    limiter = throttle(time, 100.0)
    for nbytes in (50, 1, 149, 300):
        time.now += 0.001
        limiter.passed(nbytes)
    assert time.now == pytest.approx(1005.0)


def test_slow_reading_is_not_slowed_down_further(time):
    """Who is slower than the rate never waits."""
    limiter = throttle(time, 100.0)
    for _ in range(5):
        time.now += 2.0
        limiter.passed(100)
    assert time.now == pytest.approx(1010.0)


def test_idle_time_is_not_saved_up(time):
    """After a pause, the rate holds as before."""
    limiter = throttle(time, 100.0)
    time.now += 60.0
    for _ in range(10):
        limiter.passed(100)
    assert time.now >= 1060.0 + 9.0


def test_without_a_rate_nobody_waits(time):
    """None is no limit."""
    throttle(time, None).passed(10**18)
    assert time.now == 1000.0
