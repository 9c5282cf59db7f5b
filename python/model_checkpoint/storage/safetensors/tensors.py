"""What this package needs of a tensor framework, and which one a tensor belongs to."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from model_checkpoint.errors import ConfigurationError, UnsupportedStateError
from model_checkpoint.storage.safetensors.alias import View
from model_checkpoint.storage.safetensors.device_copy import DeviceQueue
from model_checkpoint.storage.safetensors.device_target import DeviceTarget
from model_checkpoint.storage.safetensors.layout import TensorSpec
from model_checkpoint.storage.safetensors.sharing import Region
from model_checkpoint.utils.optional_import import require

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from 3.12 on

__all__ = ["Adapter", "Framework", "adapter_named", "framework_of"]

Framework = Literal["torch", "numpy"]

T = TypeVar("T")


class Adapter(Protocol[T]):
    """One tensor framework.

    Stored bytes are C-contiguous and little-endian, in host memory. A *plain* tensor has its elements so itself.
    """

    # --- saving ---

    def describe(self, name: str, tensor: T) -> TensorSpec:
        """How a tensor is stored. UnsupportedStateError if it cannot be."""

    def region(self, tensor: T, spec: TensorSpec) -> Region | None:
        """Where its elements lie; None if it shares them with no other tensor."""

    def is_plain(self, tensor: T) -> bool: ...

    def buffer(self, tensor: T) -> Buffer:
        """Its stored bytes: its own memory if it is plain, else a copy."""

    def copy_out(self, tensor: T, dest: memoryview) -> None:
        """Copy its stored bytes to memory."""

    def device_queue(self, tensor: T) -> DeviceQueue | None:
        """What can copy its stored bytes while the caller goes on; None if it lies in host memory, or nothing can."""

    def flat(self, tensor: T) -> T | None:
        """Its stored bytes as a flat tensor that shares its memory; None if it has them in another order or form."""

    # --- loading ---

    def allocate(self, spec: TensorSpec) -> tuple[T, Buffer]:
        """A new tensor, and its memory to read into. UnsupportedStateError if the framework lacks its dtype."""

    def target(self, device: Any) -> DeviceTarget | None:
        """What reads straight into a device's memory need; None where tensors can only be moved there.

        ConfigurationError if there is no such device.
        """

    def allocate_on(self, spec: TensorSpec, device: Any) -> tuple[T, int]:
        """A new tensor on a device that is a target, and its address. UnsupportedStateError as `allocate`."""

    def wrap(self, spec: TensorSpec, memory: memoryview, offset: int) -> T:
        """A tensor on memory that it keeps alive; a copy where its elements would not be aligned."""

    def strided(self, tensor: T, view: View) -> T:
        """A view of a contiguous tensor."""

    def clone(self, tensor: T) -> T:
        """A contiguous copy."""

    def move(self, tensor: T, device: Any) -> T:
        """The tensor on a device. ConfigurationError if there is no such device."""

    # --- loading into existing tensors ---

    def is_writable(self, tensor: T) -> bool:
        """Whether its elements can be set one by one."""

    def takes_bytes(self, tensor: T) -> bool:
        """Whether the stored bytes of a tensor of the same dtype and shape can be copied to its memory as they are."""

    def copy_in(self, tensor: T, value: T) -> None:
        """Copy the elements of a tensor of the same dtype and shape; CorruptionError and DeviceError as `stream_in`."""

    def stream_in(self, pairs: Sequence[tuple[T, T]]) -> list[bool]:
        """Copy values in host memory to tensors, all at once, and tell which: plain ones, to tensors that take bytes.

        CorruptionError if a value is mapped from a file that shrinks meanwhile, DeviceError if a device fails; the
        tensors are then undefined.
        """


def adapter_named(framework: str) -> Adapter[Any]:
    """The adapter of a framework.

    Raises:
        ConfigurationError: There is no such framework.
        MissingDependencyError: It is not installed.
    """
    if framework == "torch":
        require("torch", extra="torch")
        from model_checkpoint.storage.safetensors.torch_adapter import TorchAdapter

        return TorchAdapter()
    if framework == "numpy":
        from model_checkpoint.storage.safetensors.numpy_adapter import NumpyAdapter

        return NumpyAdapter()
    raise ConfigurationError(f"unknown framework {framework!r}; there is 'torch' and 'numpy'")


def framework_of(name: str, tensor: object) -> Framework:
    """The framework that a value is a tensor of, without importing one.

    Raises:
        UnsupportedStateError: It is no tensor.
    """
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(tensor, torch.Tensor):
        return "torch"
    if numpy is not None and isinstance(tensor, numpy.ndarray):
        return "numpy"
    raise UnsupportedStateError(f"a {type(tensor).__name__} is neither a torch tensor nor a numpy array", where=name)
