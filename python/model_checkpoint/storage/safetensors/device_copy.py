"""Copies from devices to host memory that are enqueued first and waited for once.

A device copies at the speed of its bus only if nobody waits between two copies, and if the host memory is page-locked
(`host_memory`). So a snapshot enqueues all of its copies, copies what lies in host memory itself while they run, and
then waits once for each device.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol, Self

__all__ = ["DeviceCopies", "DeviceQueue"]


class DeviceQueue(Protocol):
    """What this package needs of a device: an order of copies that runs beside the order of the computation.

    There is one for each device. Methods raise what the framework raises for a failure of the device
    (``RuntimeError``), unless they say otherwise.
    """

    def follow_current(self) -> None:
        """Let what is enqueued from now on begin after all that the caller has enqueued on the device so far."""

    def copy(self, tensor: Any, dest: memoryview) -> None:
        """Enqueue a copy of a tensor's stored bytes; both must stay as they are until `wait` has returned."""

    def wait(self) -> None:
        """Return when everything that was enqueued has ended, well or not."""

    def pin(self, address: int, nbytes: int) -> None:
        """Page-lock host memory, for all devices.

        Raises:
            OSError: The system refuses; nothing has changed.
        """

    def unpin(self, address: int) -> None:
        """Undo `pin`.

        Raises:
            OSError: The system refuses.
        """


class DeviceCopies:
    """The copies of one snapshot: a context that is left only when none is in flight, whatever went wrong in it."""

    def __init__(self) -> None:
        self._queues: list[DeviceQueue] = []

    def enqueue(self, queue: DeviceQueue, tensor: Any, dest: memoryview) -> None:
        """Begin to copy the stored bytes of a tensor, with the values that it has for the caller now.

        Args:
            queue: Its device's.
            tensor: It must stay alive, and in memory as it is, until `wait` has returned.
            dest: Its bytes' place.
        """
        if queue not in self._queues:
            self._queues.append(queue)  # before anything is enqueued, so that nothing is forgotten
            queue.follow_current()
        queue.copy(tensor, dest)

    def wait(self) -> None:
        """Return when no copy is in flight; only then may destinations be read or freed, and tensors change.

        Raises:
            RuntimeError: A copy failed: the framework's error, after the other devices were waited for, too.
        """
        with ExitStack() as waits:
            while self._queues:
                waits.callback(self._queues.pop().wait)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.wait()
            return
        try:
            self.wait()
        except RuntimeError as failure:  # the first error says more
            error.add_note(f"the copies under way failed, too: {failure}")
