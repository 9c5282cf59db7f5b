"""A device for tests that has no hardware."""

from __future__ import annotations

import ctypes

import pytest
import torch

from model_checkpoint.storage.safetensors.torch_adapter import TorchAdapter
from model_checkpoint.storage.safetensors.torch_bits import bits_of


class FakeDevice:
    """A `DeviceQueue` whose tensors lie in host memory, and whose copies arrive only when they are waited for.

    Args:
        name: Begins its lines in the log.
        log: What was asked of it, in order; several devices may share one.
    """

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log
        self.fails_at = 0
        self.fails_to_wait = False
        self.refuses = False
        self.locked: dict[int, int] = {}
        self._tensors: list[torch.Tensor] = []
        self._in_flight: list[tuple[torch.Tensor, memoryview]] = []

    def own(self, tensor: torch.Tensor) -> torch.Tensor:
        """From now on the tensor lies on this device."""
        self._tensors.append(tensor)
        return tensor

    def owns(self, tensor: torch.Tensor) -> bool:
        return any(tensor.data_ptr() == own.data_ptr() for own in self._tensors)

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    def follow_current(self) -> None:
        self.log.append(f"{self.name} follow")

    def copy(self, tensor: torch.Tensor, dest: memoryview) -> None:
        self.log.append(f"{self.name} copy")
        self.fails_at -= 1
        if self.fails_at == 0:
            raise RuntimeError(f"{self.name} broke")
        self._in_flight.append((bits_of(tensor.detach()).resolve_conj().clone(), dest))

    def wait(self) -> None:
        self.log.append(f"{self.name} wait")
        arrived, self._in_flight = self._in_flight, []
        if self.fails_to_wait:
            raise RuntimeError(f"{self.name} is gone")
        for value, dest in arrived:
            torch.frombuffer(dest, dtype=value.dtype).view(value.shape).copy_(value)

    def pin(self, address: int, nbytes: int) -> None:
        self.log.append(f"{self.name} pin")
        if self.refuses:
            raise OSError("not today")
        ctypes.string_at(address, nbytes)  # it is there
        self.locked[address] = nbytes

    def unpin(self, address: int) -> None:
        self.log.append(f"{self.name} unpin")
        if address not in self.locked:
            raise OSError("was not locked")
        ctypes.string_at(address, self.locked.pop(address))  # it is still there


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> tuple[FakeDevice, FakeDevice]:
    """Two devices with one log. Torch tensors that they own are copied from them."""
    log: list[str] = []
    both = FakeDevice("gpu0", log), FakeDevice("gpu1", log)
    is_plain = TorchAdapter.is_plain

    def device_queue(_adapter: TorchAdapter, tensor: torch.Tensor) -> FakeDevice | None:
        return next((device for device in both if device.owns(tensor)), None)

    def is_plain_here(adapter: TorchAdapter, tensor: torch.Tensor) -> bool:
        return device_queue(adapter, tensor) is None and is_plain(adapter, tensor)

    monkeypatch.setattr(TorchAdapter, "device_queue", device_queue)
    monkeypatch.setattr(TorchAdapter, "is_plain", is_plain_here)
    return both
