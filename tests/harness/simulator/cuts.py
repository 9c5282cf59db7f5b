"""Which power cuts to try: what of all that is pending has reached the disk."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.harness.simulator.disk import WHOLE, Change, Part, Writing

__all__ = ["Cut", "Systematic", "at_random"]

_EXHAUSTIVE = 7
"""Up to so many pending changes, all subsets are tried."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What of the pending changes has reached the disk.

    Attributes:
        kept: Numbers of those that have, or, where ``missing`` is true, of those that have not.
        missing: See there.
        torn: Those of which only a part has.
    """

    kept: frozenset[int]
    missing: bool = False
    torn: tuple[tuple[int, Part], ...] = ()

    def of(self, pending: Sequence[Change]) -> Iterator[tuple[Change, Part]]:
        """The changes that have reached the disk, in their order."""
        torn = dict(self.torn)
        for at, change in enumerate(pending):
            if at in torn:
                yield change, torn[at]
            elif (at in self.kept) != self.missing:
                yield change, WHOLE


class Systematic(Sequence[Cut]):
    """Everything, nothing, everything but one or two; one or two alone; what came first or last; and torn writes.

    If there is not much, all subsets. There may be very many: each is made when it is asked for. Everything and nothing
    come first.
    """

    def __init__(self, pending: Sequence[Change]) -> None:
        self._count = count = len(pending)
        self._torn = [(at, part) for at, change in enumerate(pending) for part in _parts_of(change)]
        if count <= _EXHAUSTIVE:
            self._sets = 2**count
        else:
            self._sets = 2 + 2 * (count + math.comb(count, 2) + count - 1)

    def __len__(self) -> int:
        return self._sets + 2 * len(self._torn)

    def __getitem__(self, number: Any) -> Any:
        if number >= len(self):
            raise IndexError(number)
        half, is_other = divmod(number, 2)
        if number >= self._sets:
            return Cut(frozenset(), missing=bool(is_other), torn=(self._torn[(number - self._sets) // 2],))
        if self._count <= _EXHAUSTIVE:
            subset = (0, self._sets - 1, *range(1, self._sets - 1))[number]
            return Cut(frozenset(at for at in range(self._count) if subset >> at & 1), missing=True)
        return Cut(frozenset(self._few(half)), missing=not is_other)

    def _few(self, number: int) -> Iterable[int]:
        """None, one, two, or the first ones."""
        number -= 1
        if number < 0:
            return ()
        if number < self._count:
            return (number,)
        number -= self._count
        if number < math.comb(self._count, 2):
            second = (1 + math.isqrt(1 + 8 * number)) // 2
            return number - math.comb(second, 2), second
        return range(2 + number - math.comb(self._count, 2))


def at_random(pending: Sequence[Change], rng: random.Random) -> Cut:
    """Any of them, and any part of them."""
    share = rng.random()
    kept = frozenset(at for at in range(len(pending)) if rng.random() < share)
    torn = [(at, rng.choice(parts)) for at in kept if (parts := _parts_of(pending[at])) and rng.random() < 0.3]
    return Cut(kept, torn=tuple(torn))


def _parts_of(change: Change) -> list[Part]:
    return _parts(change) if isinstance(change, Writing) else []


@functools.lru_cache(1000)
def _parts(change: Writing) -> list[Part]:
    """How a write may be torn: at sectors of 512 bytes and at pages of 4 KiB, or into nothing but the size."""
    found = [Part((), grows=True)]
    for unit in (512, 4096):
        for kept in _pieces(change.offset, len(change.data), unit):
            found += [Part(kept, grows=False), Part(kept, grows=True)]
    return list(dict.fromkeys(found))


def _pieces(offset: int, nbytes: int, unit: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """The first unit alone or missing, the last one alone or missing, and one in the middle missing."""
    first = min(nbytes, unit - offset % unit)
    last = max(0, nbytes - ((offset + nbytes - 1) % unit + 1))
    if first >= nbytes:
        return
    yield ((0, first),)
    yield ((first, nbytes),)
    yield ((0, last),)
    yield ((last, nbytes),)
    if first < last:
        middle = first + (last - first) // unit // 2 * unit
        yield ((0, middle), (min(middle + unit, nbytes), nbytes))
