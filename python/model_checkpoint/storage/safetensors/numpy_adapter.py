"""Numpy arrays, with the element types of ``ml_dtypes`` where it is installed."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from model_checkpoint import _native
from model_checkpoint.errors import UnsupportedStateError
from model_checkpoint.monitoring.span import spanned
from model_checkpoint.storage.safetensors.alias import View
from model_checkpoint.storage.safetensors.dtypes import ML_DTYPES_NAMES, NUMPY_NAMES
from model_checkpoint.storage.safetensors.layout import TensorSpec
from model_checkpoint.storage.safetensors.sharing import Region

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from 3.12 on

__all__ = ["NumpyAdapter"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype(numpy_name) for name, numpy_name in NUMPY_NAMES.items()}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_ML_NAMES = {numpy_name: name for name, numpy_name in ML_DTYPES_NAMES.items()}


class NumpyAdapter:
    """`Adapter` of ``numpy.ndarray``."""

    def describe(self, name: str, tensor: Array) -> TensorSpec:
        dtype = _NAMES.get(tensor.dtype) or _foreign_name(tensor.dtype)
        if dtype is None:
            raise UnsupportedStateError(f"the format has no dtype for numpy's {tensor.dtype}", where=name)
        if isinstance(tensor, np.ma.MaskedArray):
            raise UnsupportedStateError("a masked array: store its data and its mask", where=name)
        return TensorSpec(name, dtype, tensor.shape)

    def region(self, tensor: Array, spec: TensorSpec) -> Region | None:
        # Bytes in the other order are converted, so that their memory is not what is stored.
        if tensor.size == 0 or not _is_little_endian(tensor):
            return None
        start, size = tensor.__array_interface__["data"][0], tensor.itemsize
        if tensor.flags.c_contiguous:
            return Region("cpu", start, start + tensor.nbytes, spec.dtype, size, tensor.shape, tensor.strides, True)
        down = tuple([axis for axis, step in enumerate(tensor.strides) if step < 0])
        start += sum([(tensor.shape[axis] - 1) * tensor.strides[axis] for axis in down])
        strides = tuple([abs(step) for step in tensor.strides])
        reach = sum([(n - 1) * step for n, step in zip(tensor.shape, strides, strict=True)])
        return Region("cpu", start, start + reach + size, spec.dtype, size, tensor.shape, strides, False, down)

    def is_plain(self, tensor: Array) -> bool:
        return tensor.flags.c_contiguous and _is_little_endian(tensor)

    def buffer(self, tensor: Array) -> Buffer:
        if not self.is_plain(tensor):
            tensor = np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<"))
        return tensor.reshape(-1).view(np.uint8).data

    def copy_out(self, tensor: Array, dest: memoryview) -> None:
        np.frombuffer(dest, tensor.dtype.newbyteorder("<")).reshape(tensor.shape)[...] = tensor

    def device_queue(self, tensor: Array) -> None:
        """None: arrays lie in host memory."""

    def flat(self, tensor: Array) -> Array | None:
        return tensor.reshape(-1).view(np.uint8) if self.is_plain(tensor) else None

    def allocate(self, spec: TensorSpec) -> tuple[Array, Buffer]:
        tensor = _empty(spec)
        return tensor, tensor.reshape(-1).view(np.uint8).data

    def target(self, device: Any) -> None:
        """None: as `device_queue`."""

    def allocate_on(self, spec: TensorSpec, device: Any) -> tuple[Array, int]:
        raise UnsupportedStateError(f"numpy arrays cannot lie on {device!r}", where=spec.name)

    def wrap(self, spec: TensorSpec, memory: memoryview, offset: int) -> Array:
        dtype = _dtype(spec)
        count = spec.nbytes // dtype.itemsize
        if count == 0:
            return _empty(spec)
        tensor = np.frombuffer(memory, dtype, count, offset).reshape(spec.shape)
        if tensor.flags.aligned:
            return tensor
        own, place = self.allocate(spec)
        _native.copy_each([place], [memory[offset : offset + spec.nbytes]])
        return own

    def strided(self, tensor: Array, view: View) -> Array:
        # A stride that no element needs may be of any size. Numpy's function knows only types of its own.
        strides = [min(step, tensor.size) * tensor.itemsize for step in view.strides]
        flat = tensor.reshape(-1)[view.offset :].view(f"V{tensor.itemsize}")
        return np.lib.stride_tricks.as_strided(flat, view.shape, strides).view(tensor.dtype)

    def clone(self, tensor: Array) -> Array:
        return tensor.copy(order="C")

    def move(self, tensor: Array, device: Any) -> Array:  # noqa: ARG002 - the protocol's
        raise UnsupportedStateError(f"numpy arrays cannot lie on {device!r}", where="device")

    def is_writable(self, tensor: Array) -> bool:
        # A broadcast array has one element for many.
        steps = zip(tensor.shape, tensor.strides, strict=True)
        return tensor.flags.writeable and all(step or n <= 1 for n, step in steps)

    def takes_bytes(self, tensor: Array) -> bool:
        return self.is_plain(tensor)

    def copy_in(self, tensor: Array, value: Array) -> None:
        if self.stream_in([(tensor, value)]) != [True]:
            tensor[...] = value

    @spanned("copy")
    def stream_in(self, pairs: Sequence[tuple[Array, Array]]) -> list[bool]:
        streamed = [self._is_twin(tensor, value) for tensor, value in pairs]
        used = [pair for pair in itertools.compress(pairs, streamed) if pair[0].size]
        _native.copy_each([self.buffer(tensor) for tensor, _ in used], [self.buffer(value) for _, value in used])
        return streamed

    def _is_twin(self, tensor: Array, value: Array) -> bool:
        """Whether an array has exactly the bytes of another one."""
        same = tensor.dtype == value.dtype and tensor.shape == value.shape
        return same and self.is_plain(tensor) and self.is_plain(value)


def _empty(spec: TensorSpec) -> Array:
    try:
        return np.empty(spec.shape, _dtype(spec))
    except ValueError as error:  # dimensions beside a 0 whose product is beyond the address space
        raise UnsupportedStateError(f"numpy cannot hold the shape: {error}", where=spec.name) from None


def _foreign_name(dtype: np.dtype[Any]) -> str | None:
    """The stored name of a type in the other byte order, or of one that another package adds."""
    if dtype.kind in "biufc":
        return _NAMES.get(dtype.newbyteorder("="))
    return _ML_NAMES.get(dtype.name)


def _is_little_endian(tensor: Array) -> bool:
    return tensor.dtype.byteorder != ">"


def _dtype(spec: TensorSpec) -> np.dtype[Any]:
    if (dtype := _DTYPES.get(spec.dtype)) is not None:
        return dtype
    remedy = "load it with framework='torch'"
    if spec.dtype in ML_DTYPES_NAMES:
        try:
            added: np.dtype[Any] = np.dtype(getattr(importlib.import_module("ml_dtypes"), ML_DTYPES_NAMES[spec.dtype]))
        except (ImportError, AttributeError):
            remedy = f"install ml_dtypes, or {remedy}"
        else:
            return added
    raise UnsupportedStateError(f"numpy has no dtype for {spec.dtype}: {remedy}", where=spec.name)
