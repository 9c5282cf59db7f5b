"""A disk that does only what POSIX promises, and what it may hold after a power cut.

The semantics are the weakest ones of ALICE (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014):

- Nothing is durable before an ``fsync``, and what is pending may reach the disk in any order, or not at all.
- ``fsync`` of a file makes its bytes and its size durable, not its name.
- ``fsync`` of a directory makes the names in it durable, not its own name, nor the bytes of its files.
- Creating, removing and renaming are each atomic. A rename is durable when both directories are synced; until then it
  may be undone even if one of them was, so that neither sync can be spared.
- A write is not atomic. Any of its sectors or pages may be missing; a file that it would have made longer may have the
  new size, and zeros where the bytes should be.

Files and directories are numbered, as inodes are, so that what happens to one of them after it was renamed is told from
what happens to another one that has its former name. Modes and times are no part of the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tests.harness.simulator.operations import Acknowledge, Create, Operation, Remove, Rename, Resize, Sync, Write

__all__ = ["WHOLE", "Change", "Content", "Disk", "Naming", "Part", "Resizing", "Tree", "Writing"]

_ROOT = 0
_Name = tuple[int, str]
"""A directory, and a name in it."""


class Content:
    """The bytes of a file."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @cached_property
    def digest(self) -> bytes:
        return hashlib.sha256(self.data).digest()


Tree = Mapping[str, Content | None]
"""What a disk holds: the content of each file by its path, None for a directory."""


@dataclass(frozen=True, slots=True)
class Part:
    """What of a write reaches the disk.

    Attributes:
        kept: Ranges of its bytes; None for all.
        grows: Whether the file gets the size that it would have with all of them.
    """

    kept: tuple[tuple[int, int], ...] | None = None
    grows: bool = True


WHOLE = Part()


@dataclass(frozen=True, slots=True, eq=False)
class Naming:
    """A change of names: an inode gets a name, or, where ``new`` is None, loses the one that it has.

    Attributes:
        at: The number of its operation.
        inode: Which file or directory.
        old: Its name before.
        new: Its name from now on.
        unsynced: The directories that have to be synced before this is durable.
    """

    at: int
    inode: int
    old: _Name | None
    new: _Name | None
    unsynced: set[int]


@dataclass(frozen=True, slots=True, eq=False)
class Writing:
    """A change of a file's bytes."""

    at: int
    inode: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Resizing:
    """A change of a file's size."""

    at: int
    inode: int
    size: int
    only_grow: bool


Change = Naming | Writing | Resizing


@dataclass(slots=True)
class _Names:
    """Which inode has which name."""

    of: dict[int, _Name] = field(default_factory=dict)
    at: dict[_Name, int] = field(default_factory=dict)

    def copy(self) -> _Names:
        return _Names(dict(self.of), dict(self.at))

    def apply(self, change: Naming) -> None:
        if change.new is not None:
            self.put(change.inode, change.new)
        elif change.old is not None and self.at.get(change.old) == change.inode:
            self._forget(change.inode)

    def put(self, inode: int, name: _Name) -> None:
        if name in self.at:
            self._forget(self.at[name])
        self._forget(inode)
        self.of[inode], self.at[name] = name, inode

    def _forget(self, inode: int) -> None:
        name = self.of.pop(inode, None)
        if name is not None:
            del self.at[name]


class Disk:
    """What is durable, and what is pending.

    Args:
        tree: What there is at first, all of it durable.

    Attributes:
        pending: What is done and not durable, in order.
    """

    def __init__(self, tree: Tree) -> None:
        self.pending: list[Change] = []
        self._durable, self._seen = _Names(), _Names()
        self._contents: dict[int, Content | None] = {_ROOT: None}
        """What is durable of each file; None for directories."""
        self._versions: dict[tuple[object, ...], Content] = {}
        self._count = 0
        for path, content in sorted(tree.items()):
            name = self._name(path)
            inode = self._new(content)
            self._durable.put(inode, name)
            self._seen.put(inode, name)

    # --- what the running system does ---------------------------------------------------------------------------------

    def apply(self, operation: Operation) -> None:
        """Do an operation."""
        match operation:
            case Create(path, is_directory):
                self._create(self._name(path), is_directory=is_directory)
            case Remove(path):
                self._rename(self._name(path), None)
            case Rename(source, target):
                self._rename(self._name(source), self._name(target))
            case Write(path, offset, data):
                self.pending.append(Writing(self._count, self._find(path), offset, data))
            case Resize(path, size, only_grow):
                self.pending.append(Resizing(self._count, self._find(path), size, only_grow))
            case Sync(path, began):
                self._sync(self._find(path), began)
            case Acknowledge():
                pass
        self._count += 1

    def _create(self, name: _Name, *, is_directory: bool) -> None:
        if name not in self._seen.at:
            inode = self._new(None if is_directory else Content(b""))
            self._pend(Naming(self._count, inode, None, name, {name[0]}))

    def _rename(self, old: _Name, new: _Name | None) -> None:
        directories = {old[0]} if new is None else {old[0], new[0]}
        self._pend(Naming(self._count, self._seen.at[old], old, new, directories))

    def _pend(self, change: Naming) -> None:
        self._seen.apply(change)
        self.pending.append(change)

    def _sync(self, inode: int, began: int) -> None:
        """Make durable what an fsync that began after so many operations has to make durable."""
        if self._contents[inode] is None:
            self._sync_names(inode, began)
        else:
            synced = [change for change in self._of_file(inode) if change.at < began]
            self._contents[inode] = self._content(inode, [(change, WHOLE) for change in synced])
            self.pending = [change for change in self.pending if change not in synced]

    def _sync_names(self, directory: int, began: int) -> None:
        for change in [change for change in self.pending if isinstance(change, Naming) and change.at < began]:
            change.unsynced.discard(directory)
            if not change.unsynced:
                self._durable.apply(change)
                self.pending.remove(change)

    def _of_file(self, inode: int) -> list[Writing | Resizing]:
        return [change for change in self.pending if not isinstance(change, Naming) and change.inode == inode]

    def _new(self, content: Content | None) -> int:
        inode = len(self._contents)
        self._contents[inode] = content
        return inode

    def _name(self, path: str) -> _Name:
        directory, _, name = path.rpartition("/")
        return self._find(directory), name

    def _find(self, path: str) -> int:
        """The inode that the running system sees at a path."""
        inode = _ROOT
        for name in path.split("/") if path else ():
            inode = self._seen.at[inode, name]
        return inode

    # --- what a power cut leaves --------------------------------------------------------------------------------------

    def seen(self) -> Tree:
        """What the running system sees."""
        return self.after_cut([(change, WHOLE) for change in self.pending])

    def after_cut(self, reached: Iterable[tuple[Change, Part]]) -> Tree:
        """What there is if of all that is pending only this has reached the disk; in the order of `pending`."""
        names = self._durable.copy()
        data: dict[int, list[tuple[Writing | Resizing, Part]]] = {}
        for change, part in reached:
            if isinstance(change, Naming):
                names.apply(change)
            else:
                data.setdefault(change.inode, []).append((change, part))
        return dict(self._walk(names, data))

    def _walk(
        self, names: _Names, data: Mapping[int, list[tuple[Writing | Resizing, Part]]]
    ) -> Iterable[tuple[str, Content | None]]:
        """What can be reached from the root."""
        paths: dict[int, str | None] = {_ROOT: ""}

        def path_of(inode: int) -> str | None:
            if inode not in paths:
                paths[inode] = None  # a directory without a name, or in itself
                if inode in names.of:
                    directory, name = names.of[inode]
                    above = path_of(directory)
                    paths[inode] = None if above is None else f"{above}{name}/"
            return paths[inode]

        for inode, (directory, name) in names.of.items():
            above = path_of(directory)
            if above is not None:
                yield f"{above}{name}", self._content(inode, data.get(inode, ()))

    def _content(self, inode: int, reached: Iterable[tuple[Writing | Resizing, Part]]) -> Content | None:
        durable = self._contents[inode]
        changes = tuple(reached)
        if durable is None or not changes:
            return durable
        key = (durable, *changes)
        if key not in self._versions:
            self._versions[key] = Content(_changed(durable.data, changes))
        return self._versions[key]


def _changed(data: bytes, changes: Iterable[tuple[Writing | Resizing, Part]]) -> bytes:
    result = bytearray(data)
    for change, part in changes:
        if isinstance(change, Writing):
            _write(result, change, part)
        elif change.size > len(result):
            result.extend(bytes(change.size - len(result)))
        elif not change.only_grow:
            del result[change.size :]
    return bytes(result)


def _write(result: bytearray, change: Writing, part: Part) -> None:
    kept = ((0, len(change.data)),) if part.kept is None else part.kept
    ends = [end for _, end in kept] + ([len(change.data)] if part.grows else [])
    if ends:
        result.extend(bytes(max(0, change.offset + max(ends) - len(result))))
    for begin, end in kept:
        result[change.offset + begin : change.offset + end] = change.data[begin:end]
