"""The calls of ``os``, on paths of which no part is a symbolic link.

Whoever checks a directory and then uses its path leaves a moment in which somebody else who may write there can put a
link in its place, and lead what follows out of the store. Here no check is made. The directory that holds the object is
opened, following no link in any part of its path, and the call is made from that descriptor; the object itself is not
followed either, if it is a link.

Everything raises OSError, and, where a link stands in the way to the object, StorageError with ``errno.ELOOP``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from model_checkpoint import _native
from model_checkpoint.errors import StorageError

__all__ = [
    "chmod",
    "entries",
    "lstat",
    "mkdir",
    "names",
    "of",
    "open_file",
    "open_parent",
    "pinned",
    "remove_tree",
    "rename",
    "rmdir",
    "unlink",
]

_DESCRIPTORS = "/proc/self/fd"
_DEPTH = 32
_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def of(path: str | os.PathLike[str]) -> str:
    """The absolute path of an object whose directory is reached through links, perhaps; its own name stays.

    A directory that is `pinned` is where it is now; what has come there by the time that it is used is not followed.
    """
    directory, name = os.path.split(os.path.abspath(path))
    is_pinned = os.path.dirname(directory) == _DESCRIPTORS
    return os.path.join(os.readlink(directory) if is_pinned else os.path.realpath(directory), name)


def open_file(path: str, flags: int, mode: int = 0o666) -> int:
    """As ``os.open``."""
    with open_parent(path) as (parent, name):
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=parent)


def lstat(path: str) -> os.stat_result:
    with open_parent(path) as (parent, name):
        return os.stat(name, dir_fd=parent, follow_symlinks=False)


def chmod(path: str, mode: int) -> None:
    """Set the mode of a directory, or of a file that has no second name, which could be anywhere and anybody's."""
    fd = open_file(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            raise OSError(errno.EMLINK, "the file has another name", path)
        os.fchmod(fd, mode)
    finally:
        _close(fd)


def mkdir(path: str, mode: int = 0o777) -> None:
    with open_parent(path) as (parent, name):
        os.mkdir(name, mode, dir_fd=parent)


def unlink(path: str) -> None:
    with open_parent(path) as (parent, name):
        os.unlink(name, dir_fd=parent)


def rmdir(path: str) -> None:
    with open_parent(path) as (parent, name):
        os.rmdir(name, dir_fd=parent)


def rename(source: str, target: str) -> None:
    """As ``os.replace``."""
    with open_parent(source) as (old_parent, old_name), open_parent(target) as (new_parent, new_name):
        os.replace(old_name, new_name, src_dir_fd=old_parent, dst_dir_fd=new_parent)


def names(path: str) -> list[str]:
    """What is in a directory, sorted."""
    with _listed(path) as fd:
        return sorted(os.listdir(fd))


def entries(path: str) -> list[tuple[str, bool]]:
    """What is in a directory, sorted: each name, and whether it is one of a directory. A link is none."""
    with _listed(path) as fd, os.scandir(fd) as found:
        return sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)


def remove_tree(path: str) -> None:
    """Remove whatever is at a path, a directory with all in it. What vanishes meanwhile is as good as removed."""
    with contextlib.suppress(FileNotFoundError), open_parent(path) as (parent, name):
        while _remove(parent, name):
            pass


def _remove(parent: int, name: str, top: int | None = None, depth: int = 0) -> bool:
    """Remove an object; True if its lowest directories are in its highest one now, which is therefore still there."""
    try:
        fd = os.open(name, _LISTED, dir_fd=parent)
    except OSError as error:
        if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
            raise
        os.unlink(name, dir_fd=parent)
        return False
    try:
        is_unfinished = _clear(fd, fd if top is None else top, depth)
    finally:
        _close(fd)
    if top is not None or not is_unfinished:
        os.rmdir(name, dir_fd=parent)
    return is_unfinished


def _clear(fd: int, top: int, depth: int) -> bool:
    with os.scandir(fd) as found:
        inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    is_unfinished = False
    for name, is_directory in inside:
        with contextlib.suppress(FileNotFoundError):
            if not is_directory:
                os.unlink(name, dir_fd=fd)
            elif depth < _DEPTH:
                is_unfinished |= _remove(fd, name, top, depth + 1)
            else:  # nobody shall be able to make a tree that takes more descriptors than there are
                os.rename(name, os.urandom(16).hex(), src_dir_fd=fd, dst_dir_fd=top)
                is_unfinished = True
    return is_unfinished


@contextlib.contextmanager
def open_parent(path: str) -> Iterator[tuple[int, str]]:
    """A descriptor of the directory that holds an object, good for the calls that take a ``dir_fd``, and its name."""
    directory, name = os.path.split(path)
    fd = _opened(directory or ".")
    try:
        yield fd, name or "."
    finally:
        _close(fd)


@contextlib.contextmanager
def pinned(path: str) -> Iterator[str]:
    """Another path of an object, for those who take nothing else: no exchange of directories leads it elsewhere.

    Valid within the block and this process. Where there is no /proc, the path itself.
    """
    with open_parent(path) as (parent, name):
        directory = os.path.join(_DESCRIPTORS, str(parent))
        yield os.path.join(directory, name) if os.path.exists(directory) else path


@contextlib.contextmanager
def _listed(path: str) -> Iterator[int]:
    fd = _opened(path, readable=True)
    try:
        yield fd
    finally:
        _close(fd)


def _opened(directory: str, *, readable: bool = False) -> int:
    try:
        return _native.open_directory(directory, readable)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise StorageError("a symbolic link in the way", path=directory, errno=errno.ELOOP) from None


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):  # nothing was written through it
        os.close(fd)
