"""Torch tensors. Imported only where one is saved or asked for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from model_checkpoint import _native
from model_checkpoint.errors import ConfigurationError, UnsupportedStateError
from model_checkpoint.monitoring.span import spanned
from model_checkpoint.storage.safetensors.alias import View
from model_checkpoint.storage.safetensors.device_copy import DeviceQueue
from model_checkpoint.storage.safetensors.device_target import DeviceTarget
from model_checkpoint.storage.safetensors.dtypes import TORCH_NAMES
from model_checkpoint.storage.safetensors.layout import TensorSpec
from model_checkpoint.storage.safetensors.sharing import Region
from model_checkpoint.storage.safetensors.torch_bits import bits_of

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from 3.12 on

__all__ = ["TorchAdapter"]

_DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, torch_name) for name, torch_name in TORCH_NAMES.items() if hasattr(torch, torch_name)
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_PAIRS = "F4"  # torch's element is a pair of the format's
_OWN_TYPES = (torch.Tensor, torch.nn.Parameter)


class TorchAdapter:
    """`Adapter` of ``torch.Tensor``."""

    def describe(self, name: str, tensor: torch.Tensor) -> TensorSpec:
        dtype = _NAMES.get(tensor.dtype)
        if dtype is None:
            raise UnsupportedStateError(f"the format has no dtype for {tensor.dtype}", where=name)
        if tensor.layout is not torch.strided or tensor.is_meta:
            raise UnsupportedStateError(
                f"a tensor of layout {tensor.layout} on device {tensor.device} has no dense bytes", where=name
            )
        if type(tensor) not in _OWN_TYPES:
            _check_subclass(name, tensor)
        return TensorSpec(name, dtype, _stored_shape(name, dtype, tuple(tensor.shape)))

    def region(self, tensor: torch.Tensor, spec: TensorSpec) -> Region | None:
        if tensor.numel() == 0 or tensor.is_conj() or tensor.is_neg():
            return None
        space = "cpu" if tensor.is_cpu else str(tensor.device)
        start, size, shape = tensor.data_ptr(), tensor.element_size(), tuple(tensor.shape)
        strides = tuple([step * size for step in tensor.stride()])
        reach = sum([(n - 1) * step for n, step in zip(shape, strides, strict=True)])
        return Region(space, start, start + reach + size, spec.dtype, size, shape, strides, tensor.is_contiguous())

    def is_plain(self, tensor: torch.Tensor) -> bool:
        return tensor.is_cpu and tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg()

    def buffer(self, tensor: torch.Tensor) -> Buffer:
        if not self.is_plain(tensor):
            tensor = bits_of(tensor.detach()).resolve_conj().resolve_neg().cpu().contiguous()
        return _memory(tensor)

    def copy_out(self, tensor: torch.Tensor, dest: memoryview) -> None:
        bits = bits_of(tensor.detach())
        torch.frombuffer(dest, dtype=bits.dtype).view(bits.shape).copy_(bits)

    def device_queue(self, tensor: torch.Tensor) -> DeviceQueue | None:
        if not tensor.is_cuda:
            return None
        from model_checkpoint.storage.safetensors.cuda_queue import cuda_queue

        return cuda_queue(tensor.device)

    def flat(self, tensor: torch.Tensor) -> torch.Tensor | None:
        if not tensor.is_contiguous() or tensor.is_conj() or tensor.is_neg():
            return None
        return bits_of(tensor.detach()).view(-1).view(torch.uint8)

    def allocate(self, spec: TensorSpec) -> tuple[torch.Tensor, Buffer]:
        tensor = _empty(spec, "cpu")
        return tensor, _memory(tensor)

    def target(self, device: Any) -> DeviceTarget | None:
        place = _usable(device)
        if not _is_cuda(place):
            return None
        ordinal = _ordinal(place)
        return DeviceTarget(ordinal, torch.cuda.current_stream(ordinal).cuda_stream)

    def allocate_on(self, spec: TensorSpec, device: Any) -> tuple[torch.Tensor, int]:
        tensor = _empty(spec, device)
        return tensor, tensor.data_ptr()

    def wrap(self, spec: TensorSpec, memory: memoryview, offset: int) -> torch.Tensor:
        dtype, shape = _dtype(spec), _own_shape(spec)
        count = math.prod(shape)
        if count == 0:
            return _empty(spec, "cpu")
        if offset % dtype.itemsize:
            tensor, own = self.allocate(spec)
            _native.copy_each([own], [memory[offset : offset + spec.nbytes]])
            return tensor
        return torch.frombuffer(memory, dtype=dtype, count=count, offset=offset).view(shape)

    def strided(self, tensor: torch.Tensor, view: View) -> torch.Tensor:
        strides = [min(step, tensor.numel()) for step in view.strides]  # one that no element needs may be of any size
        return tensor.as_strided(view.shape, strides, tensor.storage_offset() + view.offset)

    def clone(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.clone(memory_format=torch.contiguous_format)

    def move(self, tensor: torch.Tensor, device: Any) -> torch.Tensor:
        return tensor.to(_usable(device))

    def is_writable(self, tensor: torch.Tensor) -> bool:
        # An expanded tensor has one element for many.
        return all(step or n <= 1 for n, step in zip(tensor.shape, tensor.stride(), strict=True))

    def takes_bytes(self, tensor: torch.Tensor) -> bool:
        if type(tensor) not in _OWN_TYPES or not (tensor.is_cpu or _is_cuda(tensor.device)):
            return False
        return tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg()

    def copy_in(self, tensor: torch.Tensor, value: torch.Tensor) -> None:
        if self.stream_in([(tensor, value)]) == [True]:
            return
        with torch.no_grad():
            bits_of(tensor).copy_(bits_of(value))

    def stream_in(self, pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> list[bool]:
        streamed = [self._is_twin(tensor, value) for tensor, value in pairs]
        groups: dict[torch.device, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        for pair in itertools.compress(pairs, streamed):
            if pair[0].numel():
                groups.setdefault(pair[0].device, []).append(pair)
        for device, group in groups.items():
            target = self.target(device) if _is_cuda(device) else None
            for batch in _batches(group):
                _copy_to(target, batch)
        return streamed

    def _is_twin(self, tensor: torch.Tensor, value: torch.Tensor) -> bool:
        """Whether a tensor has exactly the bytes of one in host memory."""
        same = tensor.dtype == value.dtype and tensor.shape == value.shape
        return same and self.takes_bytes(tensor) and self.is_plain(value)


def _usable(device: Any) -> torch.device:
    """A device of torch. Of CUDA's it is known here whether they exist; torch's own errors do not name them."""
    place = torch.device(device)
    if place.type != "cuda":
        return place
    if not torch.cuda.is_available():
        raise ConfigurationError(f"device {str(place)!r}: this torch ({torch.__version__}) has no CUDA device")
    if _ordinal(place) >= torch.cuda.device_count():
        raise ConfigurationError(f"device {str(place)!r}: there are {torch.cuda.device_count()}")
    return place


def _ordinal(device: torch.device) -> int:
    """Which of CUDA's devices it is: the current one, if none is named."""
    index: Any = device.index  # torch's annotation forgets None
    return torch.cuda.current_device() if index is None else int(index)


def _is_cuda(device: torch.device) -> bool:
    """Whether NVIDIA's driver has the device: torch calls those of others so, too."""
    return device.type == "cuda" and torch.version.cuda is not None


def _batches(
    pairs: Sequence[tuple[torch.Tensor, torch.Tensor]],
) -> Sequence[Sequence[tuple[torch.Tensor, torch.Tensor]]]:
    """Pairs that may be copied at once. Of several for the same memory, as of tied weights, the last counts."""
    distinct = {(tensor.data_ptr(), tensor.nbytes): (tensor, value) for tensor, value in pairs}
    places = sorted(distinct)
    if all(start + size <= following for (start, size), (following, _) in itertools.pairwise(places)):
        return [list(distinct.values())]
    return [[pair] for pair in pairs]


@spanned("copy")
def _copy_to(target: DeviceTarget | None, pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Copy the bytes of host tensors to those of a device, or, without one, to others in host memory."""
    sources = [_memory(value) for _, value in pairs]
    if target is None:
        # Streaming stores: torch's own copy reads what it overwrites.
        _native.copy_each([_memory(tensor) for tensor, _ in pairs], sources)
    else:
        addresses = [tensor.data_ptr() for tensor, _ in pairs]
        _native.copy_to_cuda(addresses, sources, device=target.ordinal, stream=target.stream)
    for tensor, _ in pairs:
        torch.autograd.graph.increment_version(tensor)


def _check_subclass(name: str, tensor: torch.Tensor) -> None:
    """Wrappers (DTensor, quantised and fake tensors) have no memory that is theirs."""
    try:
        storage = tensor.untyped_storage()
        has_memory = storage.device.type != "meta" and (tensor.numel() == 0 or storage.data_ptr() != 0)
    except (RuntimeError, NotImplementedError):
        has_memory = False
    if not has_memory:
        raise UnsupportedStateError(f"a {type(tensor).__name__} has no memory of its own", where=name)


def _stored_shape(name: str, dtype: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if dtype != _PAIRS:
        return shape
    if not shape:
        raise UnsupportedStateError("packed pairs without a dimension that could count them", where=name)
    return (*shape[:-1], shape[-1] * 2)


def _own_shape(spec: TensorSpec) -> tuple[int, ...]:
    if spec.dtype != _PAIRS:
        return spec.shape
    if not spec.shape or spec.shape[-1] % 2:
        raise UnsupportedStateError("torch packs pairs along the last dimension; this one is odd", where=spec.name)
    return (*spec.shape[:-1], spec.shape[-1] // 2)


def _empty(spec: TensorSpec, device: Any) -> torch.Tensor:
    shape, dtype = _own_shape(spec), _dtype(spec)
    try:
        return torch.empty(shape, dtype=dtype, device=device)
    except RuntimeError as error:
        if 0 not in shape:
            raise
        # Dimensions beside a 0 whose product is beyond the address space.
        raise UnsupportedStateError(f"torch cannot hold the shape: {error}", where=spec.name) from None


def _dtype(spec: TensorSpec) -> torch.dtype:
    dtype = _DTYPES.get(spec.dtype)
    if dtype is None:
        raise UnsupportedStateError(f"torch {torch.__version__} has no dtype for {spec.dtype}", where=spec.name)
    return dtype


def _memory(tensor: torch.Tensor) -> Buffer:
    """The bytes of a contiguous tensor of any dtype, which share and keep alive its storage."""
    storage, size = tensor.untyped_storage(), tensor.element_size()
    flat = torch.empty(0, dtype=torch.uint8, device="cpu")
    flat.set_(storage, tensor.storage_offset() * size, (tensor.numel() * size,), (1,))
    return flat.numpy().data
