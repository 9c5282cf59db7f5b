"""Copies that are enqueued first and waited for once."""

import pytest
import torch

from model_checkpoint.storage.safetensors.device_copy import DeviceCopies


def place():
    return memoryview(bytearray(16))


def test_all_is_enqueued_before_anything_is_waited_for(devices):
    """Each device follows the computation once, before its first copy, and is waited for once, at the end."""
    first, second = devices
    with DeviceCopies() as copies:
        for device in (first, first, second, first):
            copies.enqueue(device, torch.ones(4), place())
    assert sorted(first.log[-2:]) == ["gpu0 wait", "gpu1 wait"]
    assert first.log[:-2] == ["gpu0 follow", "gpu0 copy", "gpu0 copy", "gpu1 follow", "gpu1 copy", "gpu0 copy"]


def test_bytes_are_those_of_the_call_and_there_after_the_wait(devices):
    """What the caller changes after `enqueue` is not in the copy, which is complete when the context is left."""
    tensor, dest = torch.arange(4.0), place()
    with DeviceCopies() as copies:
        copies.enqueue(devices[0], tensor, dest)
        tensor.zero_()
        assert bytes(dest) == bytes(16)
    assert torch.frombuffer(dest, dtype=torch.float32).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("at", [1, 2, 3])
def test_nothing_is_in_flight_when_an_error_leaves(devices, at):
    """If the first, a middle or the last enqueue fails, the copies before it are waited for, on every device."""
    first, second = devices
    first.fails_at = at
    with pytest.raises(RuntimeError, match="gpu0 broke"), DeviceCopies() as copies:
        copies.enqueue(second, torch.ones(4), place())
        for _ in range(3):
            copies.enqueue(first, torch.ones(4), place())
    assert sorted(first.log[-2:]) == ["gpu0 wait", "gpu1 wait"]
    assert first.in_flight == second.in_flight == 0


def test_nothing_is_in_flight_after_an_interrupt(devices):
    """Ctrl-C between two copies leaves none behind either."""
    with pytest.raises(KeyboardInterrupt), DeviceCopies() as copies:
        copies.enqueue(devices[0], torch.ones(4), place())
        raise KeyboardInterrupt
    assert devices[0].log[-1] == "gpu0 wait"


@pytest.mark.parametrize("broken", [0, 1])
def test_one_device_that_fails_does_not_spare_the_others_the_wait(devices, broken):
    """All devices are waited for, in whichever order, and the failure is raised."""
    devices[broken].fails_to_wait = True
    with pytest.raises(RuntimeError, match=f"gpu{broken} is gone"), DeviceCopies() as copies:
        for device in devices:
            copies.enqueue(device, torch.ones(4), place())
    assert devices[0].in_flight == devices[1].in_flight == 0


def test_the_first_error_is_the_one_that_is_raised(devices):
    """A device that breaks while copies are enqueued, and then while it is waited for, is reported for the former."""
    devices[0].fails_at, devices[0].fails_to_wait = 2, True
    with pytest.raises(RuntimeError, match="gpu0 broke") as caught, DeviceCopies() as copies:
        for _ in range(2):
            copies.enqueue(devices[0], torch.ones(4), place())
    assert caught.value.__notes__ == ["the copies under way failed, too: gpu0 is gone"]


def test_waiting_twice_waits_once(devices):
    """After `wait`, leaving the context has nothing to wait for."""
    with DeviceCopies() as copies:
        copies.enqueue(devices[0], torch.ones(4), place())
        copies.wait()
    assert devices[0].log == ["gpu0 follow", "gpu0 copy", "gpu0 wait"]
