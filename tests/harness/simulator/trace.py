"""From what strace writes to operations on files.

strace writes every string in hexadecimal (``-xx``) and behind each descriptor its path (``-y``), so that a line can be
split at its commas. A call counts from the moment it has returned; calls of several threads are in this order.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tests.harness.simulator.operations import (
    WITHOUT_PROMISES,
    Acknowledge,
    Create,
    Operation,
    Remove,
    Rename,
    Resize,
    Sync,
    Write,
)

__all__ = ["CALLS", "parse"]

_LINE = re.compile(r"(\d+) +(?:<\.\.\. (\w+) resumed>)?(.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)")
_BEGUN = re.compile(r"(\w+)\((.*?),? <unfinished \.\.\.>$")
_OPENED = re.compile(r"\) += (\d+)<")


def parse(lines: Iterable[str], root: str, spoken: str) -> list[Operation]:
    """The operations below a directory.

    Args:
        lines: What strace has written.
        root: The directory; paths of operations are relative to it.
        spoken: The file to which the program writes what it acknowledges, a line each.

    Raises:
        ValueError: Something was done that the model does not know.
    """
    parser = _Parser(os.path.join(root, ""), spoken)
    for line in lines:
        parser.line(line.rstrip("\n"))
    return parser.operations


@dataclass(slots=True)
class _Parser:
    root: str
    spoken: str
    operations: list[Operation] = field(default_factory=list)
    begun: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By thread: the first part of the line of a call under way, and how many operations had ended before."""
    positions: dict[str, int] = field(default_factory=dict)
    """By descriptor: where its next plain write goes."""

    def line(self, line: str) -> None:
        match = _LINE.fullmatch(line)
        if match is None or match[3].startswith(("+++", "---")):
            return
        thread, resumed, text = match.groups()
        if unfinished := _BEGUN.fullmatch(text):
            self.begun[thread] = (f"{unfinished[1]}({unfinished[2]}", len(self.operations))
            return
        began = len(self.operations)
        if resumed:
            first, began = self.begun.pop(thread)
            text = first + ("" if text.lstrip().startswith(")") else ", ") + text.lstrip().removeprefix(",").lstrip()
        self.call(text, began)

    def call(self, text: str, began: int) -> None:
        match = _CALL.match(text)
        if match is None or match[3] == "?" or match[3].startswith("-"):
            return  # it failed, or never returned
        arguments = [part.strip() for part in match[2].split(", ")]
        if match[1] not in _HANDLERS:
            raise ValueError(f"the model knows no {match[1]}: {text[:200]}")
        for operation in _HANDLERS[match[1]](self, arguments, int(match[3])):
            self.operations.append(Sync(operation.path, began) if isinstance(operation, Sync) else operation)

    # --- paths --------------------------------------------------------------------------------------------------------

    def inside(self, path: str) -> str | None:
        """A path relative to the root; None for one that is not below it, or has no name any more, or no promise."""
        inside = f"{path}/".startswith(self.root) and "(deleted)" not in path
        if os.path.basename(path) in WITHOUT_PROMISES:
            return None
        return path[len(self.root) :] if inside else None

    def at(self, directory: str, name: str) -> str | None:
        return self.inside(os.path.normpath(os.path.join(_path_of(directory), _string(name))))

    def of(self, descriptor: str) -> str | None:
        return self.inside(_path_of(descriptor))

    # --- calls --------------------------------------------------------------------------------------------------------

    def openat(self, arguments: list[str], result: int) -> Iterator[Operation]:
        path, flags = self.at(*arguments[:2]), arguments[2]
        self.positions[str(result)] = 0
        if path is None:
            return
        if "O_APPEND" in flags:
            raise ValueError(f"the model knows no files that are appended to: {path}")
        if "O_CREAT" in flags:
            yield Create(path, is_directory=False)
        if "O_TRUNC" in flags:
            yield Resize(path, 0)

    def write(self, arguments: list[str], result: int) -> Iterator[Operation]:
        data = _bytes(arguments[1])[:result]
        number, path = arguments[0].partition("<")[0], _path_of(arguments[0])
        if path == self.spoken:
            yield from (Acknowledge(text) for text in data.decode().splitlines())
        elif (inside := self.inside(path)) is not None:
            yield Write(inside, self.positions[number], data)
            self.positions[number] += result

    def pwrite64(self, arguments: list[str], result: int) -> Iterator[Operation]:
        if (path := self.of(arguments[0])) is not None:
            yield Write(path, int(arguments[3]), _bytes(arguments[1])[:result])

    def ftruncate(self, arguments: list[str], _result: int) -> Iterator[Operation]:
        if (path := self.of(arguments[0])) is not None:
            yield Resize(path, int(arguments[1]))

    def fallocate(self, arguments: list[str], _result: int) -> Iterator[Operation]:
        if (path := self.of(arguments[0])) is not None:
            if arguments[1] != "0":
                raise ValueError(f"the model knows no fallocate of mode {arguments[1]}")
            yield Resize(path, int(arguments[2]) + int(arguments[3]), only_grow=True)

    def mkdir(self, arguments: list[str], _result: int) -> Iterator[Operation]:
        if (path := self.at("", arguments[0])) is not None:
            yield Create(path, is_directory=True)

    def mkdirat(self, arguments: list[str], _result: int) -> Iterator[Operation]:
        if (path := self.at(*arguments[:2])) is not None:
            yield Create(path, is_directory=True)

    def rename(self, arguments: list[str], _result: int) -> Iterator[Operation]:
        yield from self._rename(self.at("", arguments[0]), self.at("", arguments[1]))

    def renameat2(self, arguments: list[str], _result: int) -> Iterator[Operation]:
        yield from self._rename(self.at(*arguments[:2]), self.at(*arguments[2:4]))

    @staticmethod
    def _rename(source: str | None, target: str | None) -> Iterator[Operation]:
        if (source is None) != (target is None):
            raise ValueError(f"the model knows no rename into or out of its directory: {source}, {target}")
        if source is not None and target is not None:
            yield Rename(source, target)

    def unlink(self, arguments: list[str], _result: int) -> Iterator[Operation]:
        if (path := self.at("", arguments[0])) is not None:
            yield Remove(path)

    def unlinkat(self, arguments: list[str], _result: int) -> Iterator[Operation]:
        if (path := self.at(*arguments[:2])) is not None:
            yield Remove(path)

    def fsync(self, arguments: list[str], _result: int) -> Iterator[Operation]:
        if (path := self.of(arguments[0])) is not None:
            yield Sync(path, 0)

    def mmap(self, arguments: list[str], _result: int) -> Iterator[Operation]:
        if "PROT_WRITE" in arguments[2] and "MAP_SHARED" in arguments[3] and "<" in arguments[4]:
            path = self.of(arguments[4])
            if path is not None:
                raise ValueError(f"the model knows no writes through mappings: {path}")
        yield from ()

    def lseek(self, arguments: list[str], result: int) -> Iterator[Operation]:
        self.positions[arguments[0].partition("<")[0]] = result
        yield from ()


_HANDLERS: dict[str, Callable[[_Parser, list[str], int], Iterator[Operation]]] = {
    "openat": _Parser.openat,
    "write": _Parser.write,
    "pwrite64": _Parser.pwrite64,
    "ftruncate": _Parser.ftruncate,
    "fallocate": _Parser.fallocate,
    "mkdir": _Parser.mkdir,
    "mkdirat": _Parser.mkdirat,
    "rename": _Parser.rename,
    "renameat": _Parser.renameat2,
    "renameat2": _Parser.renameat2,
    "unlink": _Parser.unlink,
    "rmdir": _Parser.unlink,
    "unlinkat": _Parser.unlinkat,
    "fsync": _Parser.fsync,
    "fdatasync": _Parser.fsync,
    "mmap": _Parser.mmap,
    "lseek": _Parser.lseek,
}

# Calls that change files, too: if one of them appears, the model has to learn it.
_UNKNOWN = """open creat writev pwritev pwritev2 sendfile copy_file_range splice truncate link linkat
symlink symlinkat mknod mknodat msync sync syncfs sync_file_range io_uring_setup""".split()

CALLS = (*_HANDLERS, *_UNKNOWN)
"""What strace has to follow."""


def _path_of(descriptor: str) -> str:
    """The path that strace writes behind a descriptor; empty if there is none."""
    return _decode(descriptor.partition("<")[2].rpartition(">")[0])


def _string(argument: str) -> str:
    return os.fsdecode(_bytes(argument))


def _bytes(argument: str) -> bytes:
    if not (argument.startswith('"') and argument.endswith('"')):
        raise ValueError(f"strace has cut a string: {argument[-80:]}")
    return bytes.fromhex(argument[1:-1].replace("\\x", ""))


def _decode(text: str) -> str:
    """A path of strace's, of which only a final ``(deleted)`` is not in hexadecimal."""
    name, _, rest = text.partition(">")
    return os.fsdecode(bytes.fromhex(name.replace("\\x", ""))) + rest
