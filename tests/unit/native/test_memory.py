"""Arenas, copies and pins."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest

from model_checkpoint import _native


def test_an_arena_is_zeroed_writable_memory():
    """An arena's bytes are zero, can be written, and start on a page."""
    arena = _native.Arena(10_000)
    array = np.frombuffer(arena, np.uint8)
    assert (len(arena), array.nbytes) == (10_000, 10_000)
    assert not array.any()
    array[-1] = 7
    assert bytes(arena)[-1] == 7
    assert array.ctypes.data % 4096 == 0


def test_an_arena_lives_as_long_as_its_views():
    """A view keeps the memory when the arena's name is gone."""
    arena = _native.Arena(5_000_000)
    view = memoryview(arena)[1_000:2_000]
    view[:] = b"x" * 1_000
    del arena
    others = [_native.Arena(5_000_000) for _ in range(3)]  # would take the address over
    assert bytes(view) == b"x" * 1_000
    assert len(others) == 3


def test_an_arena_may_be_empty_but_not_boundless():
    """No bytes are fine; more than the address space holds is a MemoryError."""
    assert bytes(_native.Arena(0)) == b""
    with pytest.raises(MemoryError):
        _native.Arena(2**62)
    with pytest.raises(TypeError):
        _native.Arena(-1)


def test_copies_land_at_their_offsets():
    """Sources of all sizes arrive whole, and nothing else is touched."""
    source = random.Random(3)
    buffers = [source.randbytes(size) for size in (0, 3_000_000, 1, 70_000, *range(100))]
    offsets = [5]
    for buffer in buffers[:-1]:
        offsets.append(offsets[-1] + len(buffer) + 1)
    dest = bytearray(b"\xee" * (offsets[-1] + len(buffers[-1]) + 1))
    expected = bytearray(dest)
    for offset, buffer in zip(offsets, buffers, strict=True):
        expected[offset : offset + len(buffer)] = buffer
    _native.copy_buffers(dest, offsets, buffers)
    assert expected == dest


def test_copies_that_do_not_fit_are_refused_whole():
    """One source too long, and nothing is copied."""
    dest = bytearray(10)
    with pytest.raises(ValueError, match="source 1"):
        _native.copy_buffers(dest, [0, 8], [b"1" * 5, b"2" * 5])
    with pytest.raises(ValueError, match="offsets"):
        _native.copy_buffers(dest, [0], [b"1", b"2"])
    with pytest.raises((BufferError, TypeError)):
        _native.copy_buffers(bytes(10), [0], [b"1"])
    assert bytes(10) == dest


class Counter:
    """Counts on the main thread while a call runs on another."""

    def __init__(self) -> None:
        self.value = 0

    def count_during(self, call) -> int:
        """How far the count got between the begin and the end of ``call``."""
        progress = []

        def run() -> None:
            before = self.value
            call()
            progress.append(self.value - before)

        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive():
            self.value += 1
        thread.join()
        return progress[0]


def test_other_threads_run_during_a_call():
    """The GIL is released: Python goes on while the core hashes."""
    data = np.ones(300_000_000, np.uint8)
    assert Counter().count_during(lambda: _native.digest_chunks([data])) > 1_000
    assert Counter().count_during(lambda: _native.sha256(data)) > 1_000


def test_a_buffer_cannot_be_resized_during_a_call():
    """Buffers are pinned: their owner refuses to move them until the call is over."""
    data = bytearray(300_000_000)
    thread = threading.Thread(target=_native.digest_chunks, args=([data],))
    thread.start()
    refusals = 0
    while thread.is_alive():
        try:
            data.append(0)
        except BufferError:
            refusals += 1
    thread.join()
    assert refusals > 0
    data.append(0)


def test_pins_are_released_when_an_argument_is_wrong():
    """A buffer that was pinned before another one was refused is free again."""
    data = bytearray(10)
    with pytest.raises(TypeError):
        _native.digest_chunks([data, 7])
    data.append(0)
