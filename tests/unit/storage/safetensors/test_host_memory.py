"""Host memory that is page-locked for devices, and unlocked exactly once."""

import gc
import logging
import mmap
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from model_checkpoint.storage.safetensors import host_memory
from model_checkpoint.storage.safetensors.host_memory import HostMemory

HUGE = 4 * 1024 * 1024


def test_memory_is_locked_once(devices):
    """The second snapshot finds the memory locked, whichever device asks."""
    memory = HostMemory(HUGE)
    for device in (*devices, devices[0]):
        memory.pin(device)
    assert devices[0].log == ["gpu0 pin"]
    assert list(devices[0].locked.values()) == [HUGE]
    assert memory.is_locked
    memory.close()


def test_close_unlocks_once_and_views_stay_valid(devices):
    """The lock goes with `close`; a file that is still being written from a view is not disturbed."""
    memory = HostMemory(HUGE)
    memory.pin(devices[0])
    view = memory.view
    view[-1] = 7
    memory.close()
    memory.close()
    del memory
    gc.collect()
    assert devices[0].log == ["gpu0 pin", "gpu0 unpin"]
    assert view[-1] == 7


def test_memory_that_is_forgotten_is_unlocked_while_it_is_there(devices):
    """Without `close`, the lock is undone before the memory is freed (the fake device reads it)."""
    memory = HostMemory(HUGE)
    memory.pin(devices[0])
    del memory
    gc.collect()
    assert devices[0].log == ["gpu0 pin", "gpu0 unpin"]


def test_a_refusal_is_logged_once_and_no_error(devices, caplog):
    """Memory that cannot be locked is used as it is; it is not tried again for each save."""
    devices[0].refuses = True
    memory = HostMemory(HUGE)
    with caplog.at_level(logging.WARNING, "model_checkpoint"):
        memory.pin(devices[0])
        memory.pin(devices[0])
    assert [record.getMessage() for record in caplog.records] == [
        f"{HUGE} bytes for copies from a device stay unlocked, and slower: not today"
    ]
    assert not memory.is_locked
    memory.close()
    caplog.clear()  # it holds the error, and so the memory
    del memory
    gc.collect()
    assert devices[0].log == ["gpu0 pin"]


def test_a_lock_that_cannot_be_undone_is_logged(devices, caplog):
    """Nobody can do anything about it, and the checkpoint is written: no error."""
    memory = HostMemory(HUGE)
    memory.pin(devices[0])
    devices[0].locked.clear()
    memory.close()
    assert "stay locked: was not locked" in caplog.text
    assert not memory.is_locked


def test_the_interpreter_unlocks_at_its_end():
    """Memory that is still in use at the end of the program is unlocked, once, while it is there."""
    program = """
        import ctypes
        from model_checkpoint.storage.safetensors.host_memory import HostMemory

        class Device:
            def pin(self, address, nbytes): self.nbytes = nbytes
            def unpin(self, address): print("unlocked", len(ctypes.string_at(address, self.nbytes)), flush=True)

        memory = HostMemory(8192)
        memory.pin(Device())
        view = memory.view
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("unlocked 8192\n", "")


def flags(memory):
    """What the kernel says of the memory's mapping: dc is "not for children"."""
    address = host_memory._address(memory._arena)
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    for line in lines:
        head = line.split()[0]
        if "-" in head and int(head.split("-")[0], 16) <= address < int(head.split("-")[1], 16):
            return next(line for line in lines if line.startswith("VmFlags:")).split()[1:]
    raise AssertionError("not mapped")


def test_only_locked_memory_is_kept_from_children(devices):
    """The kernel neither copies it at a fork nor shares it; once unlocked it is memory like any other."""
    memory = HostMemory(HUGE)
    assert "dc" not in flags(memory)
    memory.pin(devices[0])
    assert "dc" in flags(memory)
    memory.close()
    assert "dc" not in flags(memory)
    devices[0].refuses = True
    other = HostMemory(HUGE)
    other.pin(devices[0])
    assert "dc" not in flags(other)


def in_child(check):
    """Whether a check passes in a forked child."""
    pid = os.fork()
    if pid == 0:
        ok = False
        try:
            ok = check()
        finally:
            os._exit(0 if ok else 1)
    return os.waitpid(pid, 0)[1] == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_neither_unlocks_nor_frees_what_it_has_inherited(devices):
    """The lock is the parent's; and the addresses may have become something else's in the child."""
    memory = HostMemory(HUGE)
    memory.pin(devices[0])
    address = host_memory._address(memory._arena)
    held = [memory]
    del memory

    def check():
        mine = mmap.mmap(-1, 16 * HUGE)  # takes the gap, or memory beside it
        mine.write(b"x" * (16 * HUGE))
        lost = held[0].is_lost and not held[0].is_locked
        held.pop().close()
        gc.collect()
        return lost and devices[0].locked == {address: HUGE} and mine[:] == b"x" * (16 * HUGE)

    assert in_child(check)
    assert held[0].is_locked
    assert not held[0].is_lost
    held.pop().close()
    assert devices[0].log == ["gpu0 pin", "gpu0 unpin"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_memory_that_was_unlocked_is_inherited_as_any_other():
    """A child may use what is not locked."""
    memory = HostMemory(HUGE)
    memory.view[5] = 9
    assert in_child(lambda: not memory.is_lost and memory.view[5] == 9)
