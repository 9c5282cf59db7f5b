"""Whether what processes saw of a store could have happened one thing at a time: a checker of histories.

A history is a set of operations, each with the moments at which it began and ended. It is linearizable (Herlihy and
Wing, 1990) if every operation can be given one moment between these two such that each read sees what was written last.

Values that are written once, such as a tag with a text of its own, make that easy to decide, exactly: P. Gibbons and
E. Korach, "Testing Shared Memories", SIAM Journal on Computing 26(4), 1997, section 4.1. All operations of one value,
its write and the reads that saw it, are a cluster; between the first end and the last beginning in it the register must
have had this value, and clusters may not be in each other's way. `Register` does that.

Whether a checkpoint is there goes back and forth between the same two values; deciding that exactly is NP-complete in
general. `Flag` finds every read that no order explains by itself: one of a value that no write could have left there.

Times are integers of one clock that all processes share, such as ``time.monotonic_ns``.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ALWAYS", "NEVER", "Flag", "Register", "Span", "numbering_problems", "presence_problems"]

ALWAYS, NEVER = -(2**63), 2**63
"""Before everything, and after everything: when an operation ended of which nobody knows whether it did."""


@dataclass(frozen=True, slots=True)
class Span:
    """When something was done.

    Attributes:
        begin: Before it began.
        end: After it had ended; `NEVER` if its process died in it, or it failed: it may have happened or not.
    """

    begin: int
    end: int

    def precedes(self, other: Span) -> bool:
        return self.end < other.begin


@dataclass(slots=True)
class _Cluster:
    """The operations of one value: the register had it from ``first_end`` to ``last_begin``, or at a moment between."""

    write: Span
    first_end: int
    last_begin: int


class Register:
    """Something that has one value at a time, where no value is written twice.

    Args:
        name: For messages.
        initial: What it has before the first write.
    """

    def __init__(self, name: str, initial: Any = None) -> None:
        self.name = name
        self._clusters = {initial: _Cluster(Span(ALWAYS, ALWAYS), ALWAYS, ALWAYS)}
        self._problems: list[str] = []

    def write(self, value: Any, span: Span) -> None:
        """Somebody wrote a value. Add all writes before the reads."""
        assert value not in self._clusters, f"{value!r} is written twice: nothing could be told of {self.name}"
        self._clusters[value] = _Cluster(span, span.end, span.begin)

    def read(self, value: Any, span: Span) -> None:
        """Somebody saw a value."""
        cluster = self._clusters.get(value)
        if cluster is None:
            self._problems.append(f"{self.name} was seen as {value!r}, which nobody wrote")
        elif span.precedes(cluster.write):
            self._problems.append(f"{self.name} was seen as {value!r} before that was written")
        else:
            cluster.first_end = min(cluster.first_end, span.end)
            cluster.last_begin = max(cluster.last_begin, span.begin)

    def problems(self) -> Iterator[str]:
        """Why there is no order of the operations; nothing if there is one."""
        yield from self._problems
        held = sorted(
            (c.first_end, c.last_begin, value) for value, c in self._clusters.items() if c.first_end < c.last_begin
        )
        for (_, until, value), (begin, _, other) in itertools.pairwise(held):
            if begin < until:
                yield f"{self.name} was {value!r} and {other!r} at the same time"
        begins = [begin for begin, _, _ in held]
        for value, cluster in self._clusters.items():
            at = bisect.bisect_left(begins, cluster.last_begin) - 1
            if cluster.first_end >= cluster.last_begin and at >= 0 and cluster.first_end < held[at][1]:
                yield f"{self.name} was {held[at][2]!r} all the time in which {value!r} was written, and seen or gone"


@dataclass(slots=True)
class Flag:
    """Whether something is so: it is written back and forth.

    Attributes:
        name: For messages.
        initial: How it is before the first write.
        writes: When it was made true, and when false.
    """

    name: str
    initial: bool = False
    writes: Mapping[bool, list[Span]] = field(default_factory=lambda: {True: [], False: []})

    def write(self, value: bool, span: Span) -> None:
        self.writes[value].append(span)

    def explains(self, value: bool, read: Span) -> bool:
        """Whether a read could have seen this: a write, or the beginning, that no later write has undone before it."""
        before = [Span(ALWAYS, ALWAYS)] if value == self.initial else []
        undone = [span for span in self.writes[not value] if span.precedes(read)]
        return any(
            write.begin < read.end and not any(write.precedes(other) for other in undone)
            for write in [*before, *self.writes[value]]
        )

    def certain(self) -> Iterator[Span]:
        """When it is true in every order: from the end of a write to the beginning of the next that undoes it.

        Every write of false that began before the end of the write of true must have ended before that one began, or
        it may have come after it.
        """
        undoing = sorted(span.begin for span in self.writes[False])
        for write in self.writes[True]:
            started = [span for span in self.writes[False] if span.begin <= write.end]
            if write.end < NEVER and all(span.precedes(write) for span in started):
                later = bisect.bisect_right(undoing, write.end)
                yield Span(write.end, undoing[later] if later < len(undoing) else NEVER)


def presence_problems(flags: Mapping[str, Flag], reads: Iterable[tuple[frozenset[str], Span]]) -> Iterator[str]:
    """What readers of the whole list saw that should not have been there, and what they should have seen.

    Args:
        flags: Whether each thing is there.
        reads: What was seen, and when.
    """
    spans = sorted(((span.begin, span.end, name) for name, flag in flags.items() for span in flag.certain()))
    waiting, there = iter([*spans, (NEVER, NEVER, "")]), []
    upcoming = next(waiting)
    for seen, read in sorted(reads, key=lambda pair: pair[1].begin):
        while upcoming[0] < read.begin:
            heapq.heappush(there, (upcoming[1], upcoming[2]))
            upcoming = next(waiting)
        while there and there[0][0] <= read.begin:
            heapq.heappop(there)
        for until, name in there:
            if until > read.end and name not in seen:
                yield f"{flags[name].name} was there, and a list does not have it"
        for name in seen:
            if name not in flags:
                yield f"{name} is in a list, and nobody began to write it"
            elif not flags[name].explains(True, read):
                yield f"{flags[name].name} was gone, or not there yet, and a list has it"


def numbering_problems(numbered: Mapping[str, tuple[int, Span]]) -> Iterator[str]:
    """Whether numbers are in the order of what they number, and nobody shares one.

    Args:
        numbered: For each name its number, and when it was given one.
    """
    owners: dict[int, str] = {}
    for name, (number, _) in numbered.items():
        if owners.setdefault(number, name) != name:
            yield f"{name} and {owners[number]} are both number {number}"
    ends = sorted((span.end, number) for number, span in numbered.values())
    highest, at = 0, 0
    for name, (number, span) in sorted(numbered.items(), key=lambda item: item[1][1].begin):
        while at < len(ends) and ends[at][0] < span.begin:
            highest = max(highest, ends[at][1])
            at += 1
        if number < highest:
            yield f"{name} has number {number}, and {highest} was given before it began"
