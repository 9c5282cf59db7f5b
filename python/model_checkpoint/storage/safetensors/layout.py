"""Where each tensor lies in the data area (docs/format.md, 2.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from model_checkpoint.storage.safetensors.dtypes import DTYPES

__all__ = ["PAGE_BYTES", "Layout", "TensorSpec", "alignment_class", "plan"]

PAGE_BYTES = 4096


class TensorSpec(NamedTuple):
    """A tensor without its bytes.

    Attributes:
        name: Its name.
        dtype: Its element type, as headers spell it.
        shape: Its dimensions, in elements.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return math.prod(self.shape) * DTYPES[self.dtype].bits // 8


@dataclass(frozen=True, slots=True)
class Layout:
    """A data area.

    Attributes:
        order: Indices of the tensors, as they lie in the data area.
        offsets: Offset in bytes of each tensor (not in data order) from the start of the data area.
        sizes: Size in bytes of each tensor (not in data order).
        nbytes: Size in bytes of the data area.
    """

    order: tuple[int, ...]
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    nbytes: int


def alignment_class(nbytes: int) -> int:
    """The largest power of two, at most a page, that divides a size in bytes; a page for 0."""
    return min(nbytes & -nbytes, PAGE_BYTES) or PAGE_BYTES


def plan(specs: Sequence[TensorSpec]) -> Layout:
    """Lay tensors out by descending alignment class, then by name.

    Every tensor then begins at a multiple of its class, because all tensors before it have sizes that are multiples
    of that class: no holes are needed.
    """
    sizes = tuple([spec.nbytes for spec in specs])
    keys = [(-alignment_class(size), spec.name.encode()) for size, spec in zip(sizes, specs, strict=True)]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    offsets, end = [0] * len(sizes), 0
    for index in order:
        offsets[index] = end
        end += sizes[index]
    return Layout(tuple(order), tuple(offsets), sizes, end)
