import os
import signal
import threading

from model_checkpoint.checkpoint.signals import StopRequest
from model_checkpoint.errors import ConfigurationError


def test_a_signal_is_noted_and_nothing_else_happens():
    """SIGTERM sets the flag; after restore() the handler before is back."""
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert not stop.is_set
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.is_set
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_second_signal_reaches_the_handler_before():
    """Whoever handled SIGTERM before us gets the second one."""
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with StopRequest():
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard == []
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_handler_that_came_after_us_stays():
    """restore() does not undo what somebody else installed meanwhile."""
    before = signal.getsignal(signal.SIGTERM)
    stop = StopRequest().install()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stop.restore()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    signal.signal(signal.SIGTERM, before)


def test_only_the_main_thread_may_listen():
    """Python handles signals in its main thread only; elsewhere asking for them is a mistake."""
    errors = []

    def listen():
        try:
            StopRequest().install()
        except ConfigurationError as error:
            errors.append(error)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])
