"""A tensor that is read by index."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from types import EllipsisType
from typing import Any, TypeAlias

from model_checkpoint.storage.safetensors.alias import View
from model_checkpoint.storage.safetensors.dtypes import DTYPES
from model_checkpoint.storage.safetensors.layout import TensorSpec
from model_checkpoint.storage.safetensors.plain_file import Check, PlainFile
from model_checkpoint.storage.safetensors.tensors import Adapter

__all__ = ["Index", "TensorSlice", "view_of"]

Index: TypeAlias = "int | slice | EllipsisType | tuple[int | slice | EllipsisType, ...]"


class TensorSlice:
    """A tensor of an open file, in the manner of the safetensors package.

    Indexing reads the smallest range that holds the elements, checked by the whole chunks that it touches, and returns
    a tensor that owns its memory.
    """

    def __init__(self, plain: PlainFile, name: str, adapter: Adapter[Any], check: Check, device: Any | None) -> None:
        self._plain = plain
        self._name = name
        self._adapter = adapter
        self._check = check
        self._device = device

    def get_shape(self) -> list[int]:
        """The tensor's dimensions."""
        return list(self._plain.header.info(self._name).shape)

    def get_dtype(self) -> str:
        """The tensor's element type, as headers spell it."""
        return self._plain.header.info(self._name).dtype

    def __getitem__(self, index: Index) -> Any:
        """Read some elements.

        Args:
            index: Integers, slices with a positive step, and at most one ellipsis.

        Raises:
            IndexError: An integer is out of range, or there are too many indices.
            TypeError: Something else is in the index.
            ValueError: The step of a slice is not positive.
            CorruptionError: A chunk that is touched is damaged.
            StorageError: It cannot be read.
        """
        header = self._plain.header
        alias = header.aliases.get(self._name)
        stored = self._plain.spec(header.stored_name(self._name))
        if DTYPES[stored.dtype].bits < 8:
            value = self._packed(stored, index)
        else:
            aliased = alias.view if alias else None
            view = view_of(aliased or _whole(stored.shape), index)
            value = self._elements(stored, view)
            if aliased is not None or view.end - view.offset != math.prod(view.shape):
                value = self._adapter.clone(value)  # without the elements in between
        return value if self._device is None else self._adapter.move(value, self._device)

    def _elements(self, stored: TensorSpec, view: View) -> Any:
        """A view, on memory for the range that holds its elements."""
        size = DTYPES[stored.dtype].bits // 8
        count = view.end - view.offset
        flat, memory = self._adapter.allocate(TensorSpec(stored.name, stored.dtype, (count,)))
        if count:
            dest = memoryview(memory).cast("B")
            self._plain.read_range(stored.name, view.offset * size, view.end * size, dest, self._check)
        return self._adapter.strided(flat, View(view.shape, view.strides, 0))

    def _packed(self, stored: TensorSpec, index: Index) -> Any:
        """Elements that share bytes: indices count as the framework counts, and the whole tensor is read."""
        value, memory = self._adapter.allocate(stored)
        self._plain.read(self._plain.whole([stored.name]), [memory], self._check)
        return self._adapter.clone(value[index])


def _whole(shape: tuple[int, ...]) -> View:
    strides = [1] * len(shape)
    for axis in range(len(shape) - 1, 0, -1):
        strides[axis - 1] = strides[axis] * shape[axis]
    return View(shape, tuple(strides), 0)


def view_of(view: View, index: Index) -> View:
    """What an index selects of a view, as `TensorSlice` describes."""
    shape: list[int] = []
    strides: list[int] = []
    offset = view.offset
    for item, n, stride in zip(_expanded(index, len(view.shape)), view.shape, view.strides, strict=True):
        if isinstance(item, slice):
            chosen = range(*item.indices(n))
            if chosen.step < 1:
                raise ValueError("the step of a slice must be positive")
            shape.append(len(chosen))
            strides.append(chosen.step * stride)
            offset += chosen.start * stride if chosen else 0
        else:
            offset += range(n)[item] * stride
    return View(tuple(shape), tuple(strides), offset)


def _expanded(index: Index, rank: int) -> Iterator[int | slice]:
    """One item for each dimension."""
    items = index if isinstance(index, tuple) else (index,)
    given = sum(item is not Ellipsis for item in items)
    if given > rank or len(items) - given > 1:
        raise IndexError(f"an index of {len(items)} items for {rank} dimensions")
    if given == len(items):
        items = (*items, Ellipsis)
    for item in items:
        if item is Ellipsis:
            yield from [slice(None)] * (rank - given)
        elif isinstance(item, slice):
            yield item
        elif isinstance(item, bool):
            raise TypeError("a mask cannot index a file")
        else:
            yield operator.index(item)
