"""The last operations of a store, for people: ``.timings.jsonl`` in its root, docs/format.md, section 4.

It is no part of the truth. Lines are appended, one system call each, and never synced: after a power cut some are
gone, which costs nobody anything. A line that is torn, or that somebody else wrote, is skipped. No operation fails
because of this file, whatever it has become: a link, a directory, a full disk.
"""

from __future__ import annotations

import logging
import os
import stat
from collections import deque
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from model_checkpoint.errors import ConfigurationError, FormatError, IntegrityError, StorageError
from model_checkpoint.monitoring.timing import OperationTiming, timing_json
from model_checkpoint.utils import real_path, strict_json
from model_checkpoint.utils.clock import parse_rfc3339
from model_checkpoint.utils.file_lock import try_lock
from model_checkpoint.utils.regular_file import open_regular, read_fully

__all__ = ["TimingLog"]

_log = logging.getLogger("model_checkpoint")
_NAME = ".timings.jsonl"
_OLDER = ".timings.1.jsonl"
_ROTATE_AT = 1024 * 1024
_LINE_LIMIT = 64 * 1024
_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY


class TimingLog:
    """The operations of a store's processes, in at most about 2 MiB: a file, and the one before it.

    Args:
        root: The store's directory.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._path = os.path.join(os.path.realpath(root), _NAME)
        self._older = os.path.join(os.path.realpath(root), _OLDER)

    def append(self, timing: OperationTiming) -> None:
        """Note an operation. Where the file system refuses, it is not noted, and the log says so at DEBUG."""
        line = _encode(timing)
        if len(line) > _LINE_LIMIT:
            _log.debug("not noted in %s: a line of %d bytes", self._path, len(line))
            return
        try:
            self._write(line)
        except OSError as error:
            _log.debug("not noted in %s: %s", self._path, error)

    def read(
        self, *, experiment: str | None = None, kind: str | None = None, limit: int = 100
    ) -> tuple[OperationTiming, ...]:
        """The last operations, newest last.

        Args:
            experiment: Of which experiment; None for all.
            kind: Of which kind; None for all.
            limit: At most how many.

        Raises:
            ConfigurationError: ``limit`` is less than 1.
        """
        if limit < 1:
            raise ConfigurationError(f"limit is {limit}; it must be at least 1")
        found = (timing for path in (self._older, self._path) for timing in _timings(path))
        wanted = (
            timing
            for timing in found
            if (experiment is None or timing.experiment == experiment) and (kind is None or timing.kind == kind)
        )
        return tuple(deque(wanted, maxlen=limit))

    def _write(self, line: bytes) -> None:
        fd = self._open()
        try:
            os.write(fd, line if _ends_whole(fd) else b"\n" + line)
        finally:
            os.close(fd)

    def _open(self) -> int:
        fd = _open_to_append(self._path)
        try:
            is_full = os.fstat(fd).st_size >= _ROTATE_AT
            if is_full:
                self._rotate(fd)
        except OSError:
            os.close(fd)
            raise
        if not is_full:
            return fd
        os.close(fd)
        return _open_to_append(self._path)

    def _rotate(self, fd: int) -> None:
        """Make the full file the older one. Of several processes only one does it: it holds the file's lock."""
        if not try_lock(fd):  # it is being done; without locks, at worst the older one is lost
            return
        if os.path.samestat(os.fstat(fd), real_path.lstat(self._path)):  # else it has been done
            real_path.rename(self._path, self._older)


def _open_to_append(path: str) -> int:
    fd = real_path.open_file(path, _APPEND)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:  # with another name, it may be anybody's
            raise OSError(f"{path} is no regular file, or has another name")
    except OSError:
        os.close(fd)
        raise
    return fd


def _ends_whole(fd: int) -> bool:
    """Whether the file's last line is whole; what follows a torn one must not be torn with it."""
    size = os.fstat(fd).st_size
    return size == 0 or os.pread(fd, 1, size - 1) == b"\n"


def _timings(path: str) -> Iterator[OperationTiming]:
    for line in _tail(path).split(b"\n"):
        if len(line) <= _LINE_LIMIT and (timing := _decode(line, path)) is not None:
            yield timing


def _tail(path: str) -> bytes:
    """The end of a file, as much of it as we would have written; nothing if it cannot be read."""
    try:
        file = open_regular(path, nofollow=True)
        nbytes = min(file.nbytes, _ROTATE_AT + _LINE_LIMIT)
        return read_fully(file, nbytes, file.nbytes - nbytes)
    except (IntegrityError, StorageError) as error:
        _log.debug("no timings from %s: %s", path, error)
        return b""


def _encode(timing: OperationTiming) -> bytes:
    return strict_json.dump(timing_json(timing)).encode("ascii") + b"\n"


def _decode(line: bytes, path: str) -> OperationTiming | None:
    """A line's operation; None if the line is not one of ours."""
    if not line:
        return None
    try:
        return _checked(strict_json.parse(line, path=path))
    except (FormatError, AttributeError, KeyError, TypeError, ValueError):
        return None


def _checked(members: Any) -> OperationTiming:
    stages = {_text(name): _number(seconds) for name, seconds in members["stages"].items()}
    return OperationTiming(
        kind=_text(members["kind"]),
        experiment=None if members["experiment"] is None else _text(members["experiment"]),
        checkpoint=None if members["checkpoint"] is None else _text(members["checkpoint"]),
        step=None if members["step"] is None else _integer(members["step"]),
        at=parse_rfc3339(members["at"]),
        seconds=_number(members["seconds"]),
        stall_s=None if members["stall_s"] is None else _number(members["stall_s"]),
        nbytes=_integer(members["bytes"]),
        stages=MappingProxyType(stages),
    )


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError("not a text")
    return value


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("not an integer")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError("not a number")
    return float(value)
