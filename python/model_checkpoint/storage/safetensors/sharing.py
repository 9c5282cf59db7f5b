"""Which tensors of a state share memory, and how to say so in a file (docs/format.md, 2.4).

Tensors are compared by the addresses of their elements, so that it does not matter which object owns the memory, nor
whether numpy or torch made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from model_checkpoint.errors import UnsupportedStateError
from model_checkpoint.storage.safetensors.alias import Alias, View
from model_checkpoint.storage.safetensors.dtypes import DTYPES

__all__ = ["Region", "find_aliases"]

_OVERLAP_WORK = 100_000
"""How many candidates the exact overlap test may try before two tensors count as overlapping."""


class Region(NamedTuple):
    """Where the elements of a tensor that is not empty lie in memory.

    Attributes:
        space: The memory that addresses belong to: a device.
        start: Address of its first byte.
        end: Address after its last byte.
        dtype: Its element type, as headers spell it.
        itemsize: Size of an element of its framework, in bytes.
        shape: Its dimensions in its framework.
        strides: In bytes, not negative.
        contiguous: Whether its elements lie in C order without holes.
        reversed_axes: Axes along which its elements run downwards (numpy only); ``strides`` has their absolute values.
    """

    space: str
    start: int
    end: int
    dtype: str
    itemsize: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    contiguous: bool
    reversed_axes: tuple[int, ...] = ()


def find_aliases(regions: Mapping[str, Region]) -> dict[str, Alias]:
    """Choose which tensors are stored, and describe the others as aliases of those.

    Of tensors that share memory the largest contiguous one is stored; among equals the first.

    Args:
        regions: Where tensors lie, by name. Leave out those that cannot share: empty ones.

    Returns:
        The aliases, in the order of ``regions``.

    Raises:
        UnsupportedStateError: Two tensors overlap, and neither is a view into the other.
    """
    order = sorted(regions.items(), key=_precedence)
    aliases: dict[str, Alias] = {}
    reach: list[tuple[str, Region]] = []  # stored tensors that end after the current one starts
    for name, region in order:
        if reach and (reach[-1][1].space != region.space or all(other.end <= region.start for _, other in reach)):
            reach.clear()
        alias = _first_alias(name, region, reach) if reach else None
        if alias is None:
            reach.append((name, region))
        else:
            aliases[name] = alias
    return {name: aliases[name] for name in regions if name in aliases}


def _precedence(item: tuple[str, Region]) -> tuple[str, int, int, bool]:
    """Before a tensor come those that may contain it."""
    region = item[1]
    return region.space, region.start, -region.end, not region.contiguous


def _first_alias(name: str, region: Region, reach: list[tuple[str, Region]]) -> Alias | None:
    for other_name, other in reach:
        alias = _alias_of(other_name, other, region)
        if alias is not None:
            return alias
        if _overlap(other, region):
            raise UnsupportedStateError(
                f"it overlaps the memory of {other_name!r}, and neither is a view into the other with the same dtype "
                "that is contiguous; clone one of them",
                where=name,
            )
    return None


def _alias_of(name: str, stored: Region, region: Region) -> Alias | None:
    """An alias for ``region``, if it is a view into ``stored``."""
    if stored == region:
        return Alias(name)
    distance, size = region.start - stored.start, stored.itemsize
    inside = region.end <= stored.end and all(step % size == 0 for step in (distance, *region.strides))
    same_elements = stored.dtype == region.dtype and DTYPES[stored.dtype].bits >= 8
    if not inside or not same_elements or not stored.contiguous or region.reversed_axes:
        return None
    return Alias(name, View(region.shape, tuple(step // size for step in region.strides), distance // size))


def _overlap(one: Region, other: Region) -> bool:
    """Whether two regions have a byte in common. Only addresses are compared; no memory is read."""
    if one.end <= other.start or other.end <= one.start:
        return False
    if one.contiguous and other.contiguous:
        return True
    import numpy as np

    try:
        return np.shares_memory(_as_array(one), _as_array(other), max_work=_OVERLAP_WORK)  # type: ignore[arg-type] # the stub knows two of the ints
    except np.exceptions.TooHardError:
        return True


def _as_array(region: Region) -> object:
    import numpy as np

    class Addresses:
        __array_interface__ = {  # noqa: RUF012 - numpy's protocol
            "version": 3,
            "typestr": f"|V{region.itemsize}",
            "data": (region.start, True),
            "shape": region.shape,
            "strides": region.strides,
        }

    return np.asarray(Addresses())
