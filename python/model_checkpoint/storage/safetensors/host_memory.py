"""Host memory that devices can copy to at the speed of the bus, for as long as it is wanted.

Page-locking is slow (a few GB/s), so that it is done once for memory that is used again and again. Locked memory is
kept from forked children: the kernel would have to copy all of it at once for each of them, and older ones would give
the device's pages to the child. A child that inherits such memory must neither touch nor free the addresses.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import mmap
import os
import weakref

from model_checkpoint import _native
from model_checkpoint.storage.safetensors.device_copy import DeviceQueue

__all__ = ["HostMemory"]

_log = logging.getLogger("model_checkpoint")


class HostMemory:
    """Page-aligned memory, which can be page-locked.

    The lock is undone exactly once: by `close`, with the object's end, or when the interpreter exits.

    Args:
        nbytes: Its size in bytes.
    """

    def __init__(self, nbytes: int) -> None:
        self._arena = _native.Arena(nbytes)
        self._lock: weakref.finalize[[DeviceQueue, _native.Arena], HostMemory] | None = None
        self._was_refused = False
        self._is_lost = False

    def __len__(self) -> int:
        return len(self._arena)

    @property
    def view(self) -> memoryview:
        """Its bytes; the memory is freed when this and all its slices are gone, too."""
        return memoryview(self._arena)

    @property
    def is_locked(self) -> bool:
        return self._lock is not None and self._lock.alive

    @property
    def is_lost(self) -> bool:
        """Whether this process was forked from the one whose memory it is: touching it would be fatal."""
        return self._is_lost

    def pin(self, queue: DeviceQueue) -> None:
        """Page-lock it, if that was not done. A refusal is logged, once: copies then take longer, and still work."""
        if self._lock is not None or self._was_refused:
            return
        # Before the lock, so that no interrupt between the two leaves memory locked that is then freed.
        lock = weakref.finalize(self, _unpin, queue, self._arena)
        try:
            _advise(self._arena, mmap.MADV_DONTFORK)
            queue.pin(_address(self._arena), len(self._arena))
        except (OSError, RuntimeError) as error:
            lock.detach()
            self._was_refused = True
            with contextlib.suppress(OSError):
                _advise(self._arena, mmap.MADV_DOFORK)
            _log.warning("%d bytes for copies from a device stay unlocked, and slower: %s", len(self._arena), error)
            return
        self._lock = lock
        _locked.add(self)

    def close(self) -> None:
        """Undo the page-lock, if there is one. May be called twice; views stay valid."""
        if self._lock is not None:
            self._lock()

    def _lose(self) -> None:
        """In a forked child: forget the lock, which is the parent's, and see that the addresses are never freed."""
        if self._lock is not None and self._lock.detach() is not None:
            self._is_lost = True
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._arena))


_locked: weakref.WeakSet[HostMemory] = weakref.WeakSet()


def _lose_all() -> None:
    for memory in list(_locked):
        memory._lose()  # noqa: SLF001 - this module's


os.register_at_fork(after_in_child=_lose_all)


def _unpin(queue: DeviceQueue, arena: _native.Arena) -> None:
    try:
        queue.unpin(_address(arena))
        _advise(arena, mmap.MADV_DOFORK)
    except (OSError, RuntimeError) as error:
        _log.warning("%d bytes for copies from a device stay locked: %s", len(arena), error)


def _address(arena: _native.Arena) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(arena))


def _advise(arena: _native.Arena, advice: int) -> None:
    """Madvise, which Python offers for memory of its own only."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.madvise(ctypes.c_void_p(_address(arena)), ctypes.c_size_t(len(arena)), advice):
        code = ctypes.get_errno()
        raise OSError(code, f"madvise: {os.strerror(code)}")
