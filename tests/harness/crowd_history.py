"""What a crowd has written down, read as a history and judged; and the store that it left, compared with that."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_checkpoint.checkpoint.reindex import reindex
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.storage.checkpoint_dir import verify
from model_checkpoint.types import CheckpointInfo, CheckpointState
from tests.harness.crowd import EXPERIMENTS, TRASH_S
from tests.harness.history import NEVER, Flag, Register, Span, numbering_problems, presence_problems
from tests.harness.nursery import isolated

__all__ = ["IN_ORDER", "Deed", "catalog_problems", "history_problems", "judge", "read_diaries", "unexpected"]

IN_ORDER = {
    "CheckpointNotFoundError",  # somebody else has just deleted it
    "CheckpointInUseError",
    "CheckpointExistsError",
}
"""Errors that a crowd must expect of a sound store."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One operation.

    Attributes:
        name: Which.
        arguments: What it was given.
        span: When it was done; it never ends if it failed or its process died.
        result: What came of it; None if it did not end well.
        error: The name of the exception's type if it failed, and its text.
    """

    name: str
    arguments: dict[str, Any]
    span: Span
    result: Any = None
    error: tuple[str, str] | None = None

    @property
    def is_known(self) -> bool:
        """Whether it ended well."""
        return self.span.end < NEVER


def read_diaries(directory: str) -> list[Deed]:
    """All that a crowd did. The last line of somebody who was killed may be torn."""
    return [deed for path in sorted(Path(directory).glob("*.diary")) for deed in _read(path)]


def _read(path: Path) -> Iterator[Deed]:
    begun: tuple[str, dict[str, Any], int] | None = None
    for line in path.read_text().splitlines():
        try:
            what, _, at, *rest = json.loads(line)
        except ValueError:
            continue
        if what == "begin":
            begun = (rest[0], rest[1], at)
            continue
        assert begun is not None
        (name, arguments, begin), begun = begun, None
        if what == "end":
            yield Deed(name, arguments, Span(begin, at), rest[0])
        else:
            yield Deed(name, arguments, Span(begin, NEVER), error=(rest[0], rest[1]))
    if begun is not None:
        yield Deed(begun[0], begun[1], Span(begun[2], NEVER))


def unexpected(deeds: Iterable[Deed]) -> Iterator[str]:
    """Errors that a sound store does not raise."""
    for deed in deeds:
        if deed.error is not None and deed.error[0] not in IN_ORDER:
            yield f"{deed.name} {deed.arguments}: {': '.join(deed.error)}"


def history_problems(deeds: list[Deed]) -> Iterator[str]:
    """Why what was seen is not what was done, in any order."""
    saves = {deed.result[0]: deed for deed in deeds if deed.name == "save" and deed.is_known}
    yield from numbering_problems({name: (deed.result[1], deed.span) for name, deed in saves.items()})
    lists = [deed for deed in deeds if deed.name == "list" and deed.is_known]
    yield from _presence(deeds, saves, lists)
    yield from _values(deeds, lists, "tag", 4)
    yield from _values(deeds, lists, "measure", 5)
    yield from _pins(deeds, lists)
    yield from _names(deeds, lists)
    yield from _order_seen(lists)


def _presence(deeds: list[Deed], saves: dict[str, Deed], lists: list[Deed]) -> Iterator[str]:
    """Checkpoints are in a list from the end of their save to the beginning of their deletion, and no others are."""
    unknown = [deed for deed in deeds if deed.name == "save" and not deed.is_known]
    flags: dict[str, dict[str, Flag]] = defaultdict(dict)
    where: dict[str, str] = {}
    for name, deed in saves.items():
        where[name] = deed.arguments["experiment"]
        flags[where[name]][name] = Flag(f"checkpoint {name[:8]}")
        flags[where[name]][name].write(True, deed.span)
    for deed in lists:  # what nobody acknowledged belongs to somebody who was killed while saving
        for name, *_ in deed.result:
            if name not in where:
                where[name] = deed.arguments["experiment"]
                flags[where[name]][name] = Flag(f"checkpoint {name[:8]}, which nobody acknowledged,")
                for save in unknown:
                    if save.arguments["experiment"] == where[name]:
                        flags[where[name]][name].write(True, save.span)
    for deed in deeds:
        if deed.name in {"delete", "restore"} and deed.result != "kept" and deed.arguments["id"] in where:
            flag = flags[where[deed.arguments["id"]]][deed.arguments["id"]]
            span = deed.span if deed.result != "maybe" else Span(deed.span.begin, NEVER)
            flag.write(deed.name == "restore", span)
    for experiment, known in flags.items():
        reads = [
            (frozenset(row[0] for row in deed.result), deed.span)
            for deed in lists
            if deed.arguments["experiment"] == experiment
        ]
        yield from presence_problems(known, reads)


def _values(deeds: list[Deed], lists: list[Deed], writer: str, column: int) -> Iterator[str]:
    """Tags and late metrics are registers."""
    registers: dict[str, Register] = {}
    for deed in deeds:
        if deed.name == writer:
            name = deed.arguments["id"]
            register = registers.setdefault(name, Register(f"the {writer} of {name[:8]}"))
            register.write(deed.arguments["value"], deed.span)
    for deed in lists:
        for row in deed.result:
            if row[0] in registers:
                registers[row[0]].read(row[column], deed.span)
    for register in registers.values():
        yield from register.problems()


def _pins(deeds: list[Deed], lists: list[Deed]) -> Iterator[str]:
    pins: dict[str, Flag] = {}
    for deed in deeds:
        if deed.name == "pin":
            name = deed.arguments["id"]
            pins.setdefault(name, Flag(f"the pin of {name[:8]}")).write(deed.arguments["pinned"], deed.span)
    for deed in lists:
        for name, _, pinned, *_ in deed.result:
            if name in pins and not pins[name].explains(pinned, deed.span):
                yield f"{pins[name].name} was seen as {pinned}, which no order explains"


def _names(deeds: list[Deed], lists: list[Deed]) -> Iterator[str]:
    """Whether a checkpoint has a name: until another one of its experiment gets it, or it is taken away."""
    experiments = {row[0]: deed.arguments["experiment"] for deed in lists for row in deed.result}
    given: dict[tuple[Any, str], list[Deed]] = defaultdict(list)
    for deed in deeds:
        if deed.name in {"alias", "unalias"}:
            where = deed.arguments.get("experiment") or experiments.get(deed.arguments["id"])
            given[where, deed.arguments["alias"]].append(deed)
    flags: dict[tuple[str, str], Flag] = {}
    for deed in lists:
        for name, _, _, aliases, *_ in deed.result:
            for alias in aliases:
                if (name, alias) not in flags:
                    flags[name, alias] = _name_flag(name, alias, given[experiments[name], alias])
                if not flags[name, alias].explains(True, deed.span):
                    yield f"{flags[name, alias].name} was seen, and no order explains it"


def _name_flag(name: str, alias: str, given: Iterable[Deed]) -> Flag:
    flag = Flag(f"the name {alias} of {name[:8]}")
    for deed in given:
        flag.write(deed.arguments.get("id") == name, deed.span)
    return flag


def _order_seen(lists: list[Deed]) -> Iterator[str]:
    """Every list is in the order of commits, newest first, and no checkpoint's number ever changes."""
    numbers: dict[str, int] = {}
    for deed in lists:
        seqs = [row[1] for row in deed.result]
        if seqs != sorted(set(seqs), reverse=True):
            yield f"a list has the numbers {seqs}"
        for name, seq, *_ in deed.result:
            if numbers.setdefault(name, seq) != seq:
                yield f"{name} was number {numbers[name]} and then {seq}"


# --- the store afterwards ---------------------------------------------------------------------------------------------


def catalog_problems(root: str, deeds: list[Deed], experiments: Iterable[str]) -> list[str]:
    """What is wrong with the store: its catalog as it was left, and then compared with its files."""
    problems = list(_unsound(root))
    time.sleep(TRASH_S)  # what is in the trash has expired, and goes when the store is opened, not while it is compared
    with Workspace.open(root) as workspace:
        for experiment in experiments:
            workspace.join(experiment, monitor="loss", mode="min", keep=None)
            workspace.agree(experiment)
        kept = {info.id: info for info in workspace.catalog.list(states=tuple(CheckpointState))}
        problems += _lost(kept, deeds)
        for info in kept.values():
            if info.state is CheckpointState.COMMITTED:
                verify(workspace.store.directory(info))
        saved = Counter(entry.checkpoint for entry in workspace.catalog.history() if entry.action == "save")
        problems += [
            f"{deed.result[0]} is {saved[deed.result[0]]} times in the log"
            for deed in deeds
            if deed.name == "save" and deed.is_known and saved[deed.result[0]] != 1
        ]
    found = reindex(root)
    problems += [f"{item.path}: {item.reason}" for item in found.quarantined]
    with Workspace.open(root) as workspace:
        rebuilt = {info.id: info for info in workspace.catalog.list(states=tuple(CheckpointState))}
    for name in kept.keys() | rebuilt.keys():
        if _comparable(kept.get(name)) != _comparable(rebuilt.get(name)):
            problems.append(f"the catalog says {kept.get(name)!r}, and the files say {rebuilt.get(name)!r}")
    staging = os.path.join(root, ".staging")
    if os.path.isdir(staging) and os.listdir(staging):
        problems.append(f"left behind: {os.listdir(staging)}")
    return problems


def _comparable(info: CheckpointInfo | None) -> CheckpointInfo | None:
    """Of what is in the trash, only that it is there: whoever restores it reads what was said of it."""
    if info is None or info.state is CheckpointState.COMMITTED:
        return info
    return dataclasses.replace(info, pinned=False, aliases=(), tags={}, metrics={}, verified_at=None)


def _unsound(root: str) -> Iterator[str]:
    """What SQLite itself says, before anything of ours has looked."""
    connection = sqlite3.connect(os.path.join(root, "catalog.db"))
    try:
        for pragma in ("integrity_check", "foreign_key_check"):
            rows = [row for row in connection.execute(f"PRAGMA {pragma}") if row != ("ok",)]
            yield from (f"PRAGMA {pragma}: {row}" for row in rows)
    except sqlite3.DatabaseError as error:
        yield f"PRAGMA integrity_check: {error}"
    finally:
        connection.close()


def _lost(kept: dict[str, Any], deeds: list[Deed]) -> Iterator[str]:
    """Acknowledged checkpoints that nobody began to delete and that are not there."""
    doomed = {deed.arguments["id"] for deed in deeds if deed.name == "delete"}
    for deed in deeds:
        if deed.name == "save" and deed.is_known and deed.result[0] not in doomed:
            info = kept.get(deed.result[0])
            if info is None or info.state is not CheckpointState.COMMITTED or info.digest != deed.result[2]:
                yield f"the checkpoint {deed.result[0]} was acknowledged, and is {info and info.state}"


def judge(root: str, diaries: str) -> list[str]:
    """`catalog_problems`, in a child of a nursery: it may have threads."""
    found: list[str] = isolated(lambda: catalog_problems(root, read_diaries(diaries), EXPERIMENTS)[:50])
    return found
