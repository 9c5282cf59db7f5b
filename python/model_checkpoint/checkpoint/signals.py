"""SIGTERM, turned into a question that a training loop can ask between two steps.

The handler only takes note: saving inside of it would store a step half done. A second SIGTERM does what it would have
done without us, so that an impatient scheduler, or person, still gets its way; until then the handler before us does
not hear of it.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from datetime import datetime
from types import FrameType, TracebackType
from typing import Any, Self

from model_checkpoint.errors import ConfigurationError
from model_checkpoint.utils.clock import utc_now

__all__ = ["StopRequest"]

_log = logging.getLogger("model_checkpoint")


class StopRequest:
    """Listens to SIGTERM from `install` to `restore`.

    Attributes:
        at: When the signal came (UTC), or None.
    """

    def __init__(self) -> None:
        self.at: datetime | None = None
        self._previous: Any = signal.SIG_DFL
        self._installed = False
        self._pid = 0

    @property
    def is_set(self) -> bool:
        """Whether the signal came."""
        return self.at is not None

    def install(self) -> Self:
        """Begin to listen.

        Raises:
            ConfigurationError: This is not the main thread, the only one in which Python handles signals.
        """
        if threading.current_thread() is not threading.main_thread():
            raise ConfigurationError("on_sigterm needs the manager to be made in the main thread")
        self._previous = signal.signal(signal.SIGTERM, self._note) or signal.SIG_DFL  # None: set by foreign code
        self._installed = True
        self._pid = os.getpid()
        return self

    def restore(self) -> None:
        """Put the handler before us back, unless somebody else has come after us, or the thread may not."""
        if not self._installed:
            return
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGTERM) == self._note:
            signal.signal(signal.SIGTERM, self._previous)
        self._installed = False

    def __enter__(self) -> Self:
        return self.install()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.restore()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.is_set or os.getpid() != self._pid:  # a forked child has inherited the handler, not the training
            self.restore()
            signal.raise_signal(number)
            return
        self.at = utc_now()
        _log.warning("SIGTERM: the training is asked to end; once more ends the process at once")
