"""Cases to try, and trying them: an operation is recorded, its power is cut at every moment, and each state is judged.

Three kinds of cases: a power cut in an operation; a process that was killed in it and is followed by another one, in
which the power is cut, so that what the first one left unsynced may still be lost; and two power cuts in succession.
"""

from __future__ import annotations

import functools
import itertools
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.harness.operations import OPERATIONS
from tests.harness.sample_store import View
from tests.harness.simulator import cuts, workloads
from tests.harness.simulator.cuts import Cut, Systematic
from tests.harness.simulator.disk import Change, Disk, Tree
from tests.harness.simulator.judge import Judge, Promise, read_tree, write_tree
from tests.harness.simulator.operations import Acknowledge, Operation, Sync
from tests.harness.simulator.recording import Recorder

__all__ = ["BROKEN", "NAMES", "Effort", "Outcome", "run", "without_syncs"]

BROKEN = 3
"""Exit status of ``python -m tests.harness.simulator`` if a promise was broken."""

_WORKLOADS = workloads.__name__
NAMES = tuple(name for name, (store, _) in OPERATIONS.items() if store != "littered")
"""The operations; littered stores come of the crashes themselves here."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to try.

    Attributes:
        cuts: Power cuts at each moment of an operation, at most. At least two: those after which everything or nothing
            that was pending has reached the disk.
        followed: How many moments of each operation to kill it at, and to go on from.
        repeated: How many power cuts in each operation to go on from.
        later_cuts: Power cuts at each moment of what follows, at most.
    """

    cuts: int
    followed: int = 0
    repeated: int = 0
    later_cuts: int = 2

    def __post_init__(self) -> None:
        """Raises:
        ValueError: There are fewer than two cuts at a moment.
        """
        if min(self.cuts, self.later_cuts) < 2:
            raise ValueError("at each moment there are at least two power cuts")


@dataclass(frozen=True, slots=True)
class Case:
    """Something that is done to a store, and in which the power may be cut.

    Attributes:
        name: What it is.
        start: What the disk holds at first.
        operations: What is done.
        begins: From which operation on the power may be cut.
        promise: What holds, given what has been acknowledged.
    """

    name: str
    start: Tree
    operations: tuple[Operation, ...]
    begins: int
    promise: Callable[[tuple[str, ...]], Promise]


@dataclass(slots=True)
class Outcome:
    """What came of it.

    Attributes:
        states: States of the disk that were judged, by kind of case. They are distinct: none holds the same files after
            the same acknowledgements as another one.
        recoveries: How many of them had another catalog or other files than all before, so that recovery ran.
        seconds: How long it took.
        problems: What was wrong, by example, and how often.
        violations: States in which something was.
    """

    states: Counter[str] = field(default_factory=Counter)
    recoveries: int = 0
    seconds: float = 0.0
    problems: Counter[str] = field(default_factory=Counter)
    violations: int = 0

    def as_dict(self) -> dict[str, Any]:
        """What JSON can say of it."""
        return {name: getattr(self, name) for name in self.__slots__}


def run(base: Path, names: Iterable[str], effort: Effort, *, seed: int = 0, stop_early: bool = False) -> Outcome:
    """Try operations by name.

    Args:
        base: A directory of its own.
        names: Which.
        effort: How much.
        seed: Chooses among all that could be tried.
        stop_early: Whether to end with the first violation.
    """
    campaign = _Campaign(base, effort, random.Random(seed), stop_early=stop_early)
    with Recorder(base) as recorder:
        for name in names:
            for kind, case in campaign.cases(recorder, name):
                campaign.judge_case(kind, case)
                if stop_early and campaign.outcome.violations:
                    return campaign.outcome
    return campaign.outcome


def without_syncs(base: Path, name: str) -> dict[str, bool]:
    """Whether it is noticed if a sync of an operation's promises nothing, for each of them but the catalog's own."""
    campaign = _Campaign(base, Effort(cuts=2), random.Random(0), stop_early=True)
    with Recorder(base) as recorder:
        case = next(campaign.cases(recorder, name))[1]
    noticed: dict[str, bool] = {}
    for at, operation in enumerate(case.operations):
        if isinstance(operation, Sync) and not _is_of_catalog(operation.path):
            label = _label(operation.path, noticed)
            noticed[label] = campaign.notices_omission(case, at)
    return noticed


def _is_of_catalog(path: str) -> bool:
    """Its file and its journal, and the directory that they are in."""
    return path == "runs" or path.startswith("runs/catalog.db")


def _label(path: str, known: Mapping[str, object]) -> str:
    """A path without what is random in it, and a number if it is not the first of this name."""
    label = re.sub("[0-9a-f]{8,}", "*", path)
    return next(text for n in itertools.count(1) if (text := label if n == 1 else f"{label} ({n})") not in known)


class _Campaign:
    def __init__(self, base: Path, effort: Effort, rng: random.Random, *, stop_early: bool) -> None:
        self.outcome = Outcome()
        self._stop_early = stop_early
        self._effort, self._rng = effort, rng
        self._judge = Judge(base)
        self._stores: dict[str, Tree] = {}
        self._seen: set[int] = set()

    # --- cases --------------------------------------------------------------------------------------------------------

    def cases(self, recorder: Recorder, name: str) -> Iterator[tuple[str, Case]]:
        """The cases that begin with an operation, each with its kind."""
        first = self._recorded(recorder, name)
        yield "a cut", first
        moments = _moments(first)
        for at in sorted(self._rng.sample(moments, min(self._effort.followed, len(moments)))):
            yield "a kill, then a cut", self._followed(recorder, first, at)
        for _ in range(self._effort.repeated):
            yield "a cut, then another", self._repeated(recorder, first, self._rng.choice(moments))

    def _recorded(self, recorder: Recorder, name: str) -> Case:
        start = self._store(recorder, OPERATIONS[name][0])
        write_tree(recorder.work, start)
        operations = recorder.run(_WORKLOADS, "operate", operation=name)
        disk = _after(start, operations)
        _check_model(disk, recorder.work)
        before, after = self._judge.views(start)[0], self._judge.views(disk.seen())[0]
        return Case(name, start, operations, 0, lambda said: Promise((before, after), _final(said, (after,))))

    def _store(self, recorder: Recorder, store: str) -> Tree:
        if store not in self._stores:
            write_tree(recorder.work, {})
            recorder.run(_WORKLOADS, "build", store=store)
            self._stores[store] = read_tree(recorder.work)
        return self._stores[store]

    def _followed(self, recorder: Recorder, first: Case, at: int) -> Case:
        """The process is killed after so many operations, and another one goes on; nothing is synced in between."""
        done = first.operations[:at]
        disk = _after(first.start, done)
        then = self._going_on(recorder, disk.seen())
        moved = tuple(replace(op, began=op.began + at) if isinstance(op, Sync) else op for op in then)
        case = Case(f"{first.name}, killed after {at}", first.start, (*done, *moved), at, first.promise)
        return self._with_promise(case, first.promise(_said(done)), disk.seen(), _after(disk.seen(), then).seen())

    def _repeated(self, recorder: Recorder, first: Case, at: int) -> Case:
        """The power is cut after so many operations, and what the disk holds then is all durable."""
        done = first.operations[:at]
        disk = _after(first.start, done)
        start = disk.after_cut(cuts.at_random(disk.pending, self._rng).of(disk.pending))
        then = self._going_on(recorder, start)
        case = Case(f"{first.name}, cut after {at}", start, then, 0, first.promise)
        return self._with_promise(case, first.promise(_said(done)), start, _after(start, then).seen())

    def _going_on(self, recorder: Recorder, start: Tree) -> tuple[Operation, ...]:
        write_tree(recorder.work, start)
        return recorder.run(_WORKLOADS, "go_on")

    def _with_promise(self, case: Case, first: Promise, start: Tree, end: Tree) -> Case:
        (before, *before_indexed), (after, *after_indexed) = self._judge.views(start), self._judge.views(end)
        later = (before, after, *before_indexed, *after_indexed)

        def promise(said: tuple[str, ...]) -> Promise:
            if workloads.OPENED not in said:
                return Promise((*first.views, *later), tuple((name, (*views, *later)) for name, views in first.final))
            return Promise(later, _final(said[said.index(workloads.OPENED) + 1 :], (after, *after_indexed)))

        return replace(case, promise=promise)

    # --- judging ------------------------------------------------------------------------------------------------------

    def judge_case(self, kind: str, case: Case) -> None:
        """Cut the power at each moment of a case, and look at what is left."""
        began, recoveries = time.perf_counter(), self._judge.recoveries
        limit = self._effort.cuts if kind == "a cut" else self._effort.later_cuts
        for each in sorted({min(limit, 2), limit}):  # the plainest cuts first: they find most of what is wrong
            self._judge_cuts(kind, case, each)
        self.outcome.problems.update(f"{path} was written to" for path in self._judge.changed_pool())
        self.outcome.recoveries += self._judge.recoveries - recoveries
        self.outcome.seconds += time.perf_counter() - began

    def _judge_cuts(self, kind: str, case: Case, limit: int) -> None:
        promise = functools.cache(case.promise)
        for at, said, tree in self._states(case, limit):
            key = hash((said, frozenset((path, content and content.digest) for path, content in tree.items())))
            if key not in self._seen:
                self._seen.add(key)
                self.outcome.states[kind] += 1
                self._note(case, at, self._judge.problems(tree, promise(said)))
            if self._stop_early and self.outcome.violations:
                return

    def notices_omission(self, case: Case, at: int) -> bool:
        """Whether a promise is broken by some power cut if a sync makes nothing durable."""
        omitted = tuple(
            replace(operation, began=0) if number == at and isinstance(operation, Sync) else operation
            for number, operation in enumerate(case.operations)
        )
        states = self._states(replace(case, operations=omitted, begins=at + 1), 2)
        return any(self._judge.problems(tree, case.promise(said)) for _, said, tree in states)

    def _states(self, case: Case, limit: int) -> Iterator[tuple[int, tuple[str, ...], Tree]]:
        """How much was done, what was acknowledged by then, and what the disk holds after a power cut."""
        disk = _after(case.start, case.operations[: case.begins])
        said = _said(case.operations[: case.begins])
        for at in range(case.begins, len(case.operations) + 1):
            for cut in self._choose(disk.pending, limit):
                yield at, said, disk.after_cut(cut.of(disk.pending))
            if at < len(case.operations):
                operation = case.operations[at]
                disk.apply(operation)
                said += _said((operation,))

    def _choose(self, pending: Sequence[Change], limit: int) -> list[Cut]:
        """The first two are everything and nothing, which are always tried."""
        possible = Systematic(pending)
        if len(possible) <= limit:
            return list(possible)
        return [possible[at] for at in (0, 1, *self._rng.sample(range(2, len(possible)), limit - 2))]

    def _note(self, case: Case, at: int, problems: list[str]) -> None:
        if problems:
            self.outcome.violations += 1
            last = case.operations[at - 1] if at else None
            self.outcome.problems[f"{case.name}, after {last!r:.200} ({at}): {problems[0].strip()[-600:]}"] += 1


def _after(start: Tree, operations: Iterable[Operation]) -> Disk:
    disk = Disk(start)
    for operation in operations:
        disk.apply(operation)
    return disk


def _check_model(disk: Disk, directory: Path) -> None:
    """The model sees what the real file system has."""
    seen, real = (
        {path: content and content.digest for path, content in tree.items()}
        for tree in (disk.seen(), read_tree(directory))
    )
    differing = sorted(path for path in seen.keys() | real.keys() if seen.get(path, 0) != real.get(path, 0))
    assert not differing, f"the model differs from the file system in {differing}"


def _moments(case: Case) -> list[int]:
    """How many operations may be done when a process is killed: each number that makes a difference."""
    return [
        at for at, operation in enumerate(case.operations, start=1) if not isinstance(operation, Sync | Acknowledge)
    ]


def _said(operations: Iterable[Operation]) -> tuple[str, ...]:
    return tuple(operation.text for operation in operations if isinstance(operation, Acknowledge))


def _final(said: Iterable[str], views: tuple[View, ...]) -> tuple[tuple[str, tuple[View, ...]], ...]:
    return tuple((text, views) for text in said)
