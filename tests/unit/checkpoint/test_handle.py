import threading

import pytest

from model_checkpoint.checkpoint.handle import SaveHandle, SaveSlot
from model_checkpoint.errors import DiskFullError, SaveError, SaveSkippedError


class Gate:
    """A job that waits until it is let through."""

    def __init__(self, outcome):
        self.open = threading.Event()
        self.outcome = outcome

    def __call__(self):
        assert self.open.wait(10)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def no_follow_up():
    pass


def test_a_handle_tells_the_state_of_its_save(info):
    """Before the end it is not done and waiting times out; after it, it has the checkpoint."""
    slot, gate = SaveSlot(), Gate(info(1))
    handle = slot.start(100, gate, no_follow_up, background=True)
    assert (handle.step, handle.done(), handle.wait(0.01), slot.busy) == (100, False, False, True)
    with pytest.raises(TimeoutError):
        handle.result(0.01)
    gate.open.set()
    assert handle.wait()
    assert handle.result() == info(1)
    assert handle.exception() is None
    assert not slot.busy
    slot.raise_failure()


def test_a_failure_is_raised_by_the_handle_with_its_cause(info):
    """result() raises SaveError from what happened, as often as it is asked."""
    slot, gate = SaveSlot(), Gate(DiskFullError("no space"))
    gate.open.set()
    handle = slot.start(100, gate, no_follow_up, background=True)
    for _ in range(2):
        with pytest.raises(SaveError, match="step 100 was not saved: no space") as caught:
            handle.result()
        assert isinstance(caught.value.__cause__, DiskFullError)
        assert caught.value.step == 100


def test_a_failure_is_told_once():
    """The slot raises a failure that nobody has heard of, and only the first time."""
    slot, gate = SaveSlot(), Gate(DiskFullError("no space"))
    gate.open.set()
    slot.start(100, gate, no_follow_up, background=True)
    slot.wait()
    with pytest.raises(SaveError):
        slot.raise_failure()
    slot.raise_failure()


def test_a_failure_that_the_handle_told_is_not_told_again():
    """Who asked the handle has heard of it."""
    slot, gate = SaveSlot(), Gate(DiskFullError("no space"))
    gate.open.set()
    handle = slot.start(100, gate, no_follow_up, background=True)
    assert isinstance(handle.exception(), SaveError)
    slot.raise_failure()


def test_who_hears_of_a_failure_at_once_does_not_disturb_its_thread(monkeypatch):
    """Somebody who waits may know of the failure before the thread goes on; it ends quietly nevertheless."""
    handle = SaveHandle(100)
    set_exception = handle._future.set_exception

    def set_and_ask(error):
        set_exception(error)
        assert isinstance(handle.exception(), SaveError)

    monkeypatch.setattr(handle._future, "set_exception", set_and_ask)
    gate = Gate(DiskFullError("no space"))
    gate.open.set()
    handle.run(gate)
    assert handle.untold() is None


def test_the_follow_up_comes_after_success_only(info):
    """What follows a save runs when the handle is done, and never after a failure; the next save waits for it."""
    slot, followed, gate = SaveSlot(), [], Gate(info(1))
    follow_gate = threading.Event()

    def follow_up():
        assert follow_gate.wait(10)
        followed.append(handle.done())

    handle = slot.start(1, gate, follow_up, background=True)
    gate.open.set()
    assert handle.wait()
    follow_gate.set()
    failing = Gate(ValueError("no"))
    failing.open.set()
    slot.start(2, failing, follow_up, background=False)
    slot.wait()
    assert followed == [True]


def test_ctrl_c_in_the_foreground_is_raised_and_not_told_again():
    """An interrupt of a save in the foreground passes through, and the handle knows that the save failed."""
    slot, gate = SaveSlot(), Gate(KeyboardInterrupt())
    gate.open.set()
    with pytest.raises(KeyboardInterrupt):
        slot.start(1, gate, no_follow_up, background=False)
    assert not slot.busy
    slot.raise_failure()


def test_a_skipped_save_is_done_and_has_no_checkpoint():
    """Its result raises SaveSkippedError, which is a SaveError."""
    handle = SaveHandle.skipped(7)
    assert handle.done()
    with pytest.raises(SaveSkippedError) as caught:
        handle.result()
    assert caught.value.step == 7
