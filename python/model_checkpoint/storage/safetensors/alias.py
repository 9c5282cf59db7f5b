"""Further names for stored bytes (docs/format.md, 2.4)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from model_checkpoint.storage.safetensors.broken_rule import BrokenRule
from model_checkpoint.storage.safetensors.dtypes import DTYPES

__all__ = ["MAX_DIMENSION", "MAX_RANK", "Alias", "Stored", "View", "check_alias", "check_shape", "decode", "encode"]

MAX_RANK = 64
MAX_DIMENSION = 2**63 - 1


class Stored(Protocol):
    """What an alias must know of its target."""

    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class View:
    """A strided view of a C-contiguous tensor, counted in elements."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def end(self) -> int:
        """One past its last element; its offset if it is empty."""
        if 0 in self.shape:
            return self.offset
        return self.offset + 1 + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))


@dataclass(frozen=True, slots=True)
class Alias:
    """A further name for a stored tensor.

    Attributes:
        of: Name of the stored tensor.
        view: Which of its elements; None for the whole tensor as it is.
    """

    of: str
    view: View | None = None


def encode(aliases: Mapping[str, Alias]) -> str:
    """The text of ``mckpt.aliases``."""
    return json.dumps({name: _as_json(alias) for name, alias in aliases.items()}, separators=(",", ":"))


def _as_json(alias: Alias) -> dict[str, Any]:
    if alias.view is None:
        return {"of": alias.of}
    return {"of": alias.of, "shape": alias.view.shape, "strides": alias.view.strides, "offset": alias.view.offset}


def decode(parsed: Mapping[str, Any]) -> dict[str, Alias]:
    """Read what `encode` wrote, parsed; types are checked, the targets are not.

    Raises:
        BrokenRule: ``aliases``.
    """
    return {name: _from_json(name, value) for name, value in parsed.items()}


def _from_json(name: str, value: Any) -> Alias:
    match value:
        case {"of": str(of)} if len(value) == 1:
            return Alias(of)
        case {"of": str(of), "shape": list(shape), "strides": list(strides), "offset": int(offset)} if len(value) == 4:
            check_shape(shape, name)
            if len(strides) != len(shape) or not all(map(_is_dimension, [*strides, offset])):
                raise BrokenRule("aliases", "strides do not fit the shape", name)
            return Alias(of, View(tuple(shape), tuple(strides), offset))
    raise BrokenRule("aliases", "not an alias", name)


def check_shape(shape: Sequence[Any], name: str) -> int:
    """Check a shape and return its number of elements.

    Raises:
        BrokenRule: ``shape``.
    """
    if len(shape) > MAX_RANK:
        raise BrokenRule("shape", f"more than {MAX_RANK} dimensions", name)
    elements = 1
    for dimension in shape:
        if not _is_dimension(dimension):
            raise BrokenRule("shape", f"not a dimension: {dimension!r:.24}", name)
        elements *= dimension
        if elements > MAX_DIMENSION:
            raise BrokenRule("shape", "the product of the dimensions is too large", name)
    return elements


def _is_dimension(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_DIMENSION


def check_alias(name: str, alias: Alias, stored: Mapping[str, Stored]) -> None:
    """Check an alias against the tensors of its file.

    Raises:
        BrokenRule: ``aliases``.
    """
    if name in stored:
        raise BrokenRule("aliases", "the name of an alias is that of a stored tensor", name)
    if (target := stored.get(alias.of)) is None:
        raise BrokenRule("aliases", f"the target {alias.of[:64]!r} is not a stored tensor", name)
    if alias.view is None:
        return
    if DTYPES[target.dtype].bits < 8:
        raise BrokenRule("aliases", f"a view into packed elements ({target.dtype})", name)
    if alias.view.end > math.prod(target.shape):
        raise BrokenRule("aliases", f"the view reaches beyond its target {alias.of!r}", name)
    # With strides of zero a view may be larger than its target, but not than an address space.
    if math.prod(max(n, 1) for n in alias.view.shape) * DTYPES[target.dtype].bits // 8 > MAX_DIMENSION:
        raise BrokenRule("aliases", "the view has more elements than can be counted", name)
