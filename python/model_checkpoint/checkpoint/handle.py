"""A save that may still be under way, and the one place in which it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

from model_checkpoint.errors import SaveError, SaveSkippedError
from model_checkpoint.types import CheckpointInfo

__all__ = ["SaveHandle", "SaveSlot"]


class SaveHandle:
    """A save: ask it, wait for it, or let it go and hear of a failure at the manager's next call.

    Attributes:
        step: The step that is saved.
    """

    def __init__(self, step: int) -> None:
        self.step = step
        self._future: Future[CheckpointInfo] = Future()
        self._told = False

    @classmethod
    def skipped(cls, step: int) -> SaveHandle:
        """A save that did not begin; its result raises `SaveSkippedError`."""
        handle = cls(step)
        handle._future.set_exception(SaveSkippedError(f"step {step} was not saved: the one before was", step=step))
        handle._told = True
        return handle

    def done(self) -> bool:
        """Whether the save has ended, well or not."""
        return self._future.done()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most ``timeout`` seconds for the end; whether it has come."""
        try:
            self._future.exception(timeout)
        except FutureTimeoutError:
            return False
        return True

    def result(self, timeout: float | None = None) -> CheckpointInfo:
        """Wait for the checkpoint, which is durable then.

        Raises:
            SaveError: The save failed; the cause is chained.
            SaveSkippedError: It did not begin.
            TimeoutError: It has not ended after ``timeout`` seconds.
        """
        error = self.exception(timeout)
        if error is not None:
            raise error
        return self._future.result()

    def exception(self, timeout: float | None = None) -> SaveError | None:
        """Wait for the end, and return what `result` would raise, or None.

        Raises:
            TimeoutError: It has not come after ``timeout`` seconds.
        """
        error = self._future.exception(timeout)
        assert error is None or isinstance(error, SaveError)  # noqa: S101 - `run` lets nothing else in
        self._told = self._told or error is not None
        return error

    def run(self, job: Callable[[], CheckpointInfo]) -> None:
        """Do the save. Whatever ends it ends up in the handle: this is where a background thread's errors go."""
        try:
            self._future.set_result(job())
        except BaseException as error:
            failure = SaveError(f"step {self.step} was not saved: {error}", step=self.step)
            failure.__cause__ = error
            is_known = not isinstance(error, Exception)  # Ctrl-C: whoever pressed it knows
            self._told = is_known
            self._future.set_exception(failure)  # from here on, others may hear of it
            if is_known:
                raise

    @property
    def went_well(self) -> bool:
        """Whether the save has ended with a checkpoint."""
        return self.done() and self._future.exception() is None

    def untold(self) -> SaveError | None:
        """The failure of a save that has ended, if nobody has heard of it yet; from now on somebody has."""
        if self._told or not self.done():
            return None
        return self.exception()


class SaveSlot:
    """Room for one save at a time."""

    def __init__(self) -> None:
        self._last: SaveHandle | None = None
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether a save is under way."""
        return self._last is not None and not self._last.done()

    def wait(self) -> None:
        """Wait until the last save has ended, and what follows it."""
        if self._thread is not None:
            self._thread.join()

    def start(
        self,
        step: int,
        job: Callable[[], CheckpointInfo],
        follow_up: Callable[[], None],
        *,
        background: bool,
    ) -> SaveHandle:
        """Do a save, in a thread of its own or here, once the one before has ended.

        The thread is no daemon: a program that ends without `close` still ends with its last checkpoint written.

        Args:
            step: What is saved.
            job: Saves it; the handle is done when it returns.
            follow_up: What is done after a save that went well. Handles its own errors.
            background: Whether in a thread.
        """
        self.wait()
        handle = self._last = SaveHandle(step)

        def run() -> None:
            handle.run(job)
            if handle.went_well:
                follow_up()

        if background:
            self._thread = threading.Thread(target=run, name=f"mckpt-save-{step}")
            self._thread.start()
        else:
            run()
        return handle

    def raise_failure(self) -> None:
        """Return if no failure is untold.

        Raises:
            SaveError: The last save failed, and nobody has heard of it yet.
        """
        failure = self._last.untold() if self._last is not None else None
        if failure is not None:
            raise failure
