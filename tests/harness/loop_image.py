"""File systems in files: made, mounted, cut off from their power, and mounted again. All of it needs root.

    with workshop() as directory:
        image = make(directory / "disk.img", EXT4)
        with mounted(image, directory / "mnt"):
            ...
            cut_power(directory / "mnt")    # nothing that is written from now on survives
        with mounted(image, directory / "mnt"):
            ...                             # what a computer finds when the power is back

A test that is killed leaves mounts behind. Each workshop therefore is a directory with a lock that its processes hold;
the next workshop unmounts and removes those that nobody holds any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "BTRFS",
    "EXT4",
    "XFS",
    "FileSystem",
    "clone",
    "cut_power",
    "make",
    "mounted",
    "reap",
    "shuts_down",
    "unavailable",
    "workshop",
]


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What an image shall hold.

    Attributes:
        kind: Its name for the kernel.
        mkfs: Further arguments of its mkfs.
        options: Options to mount it with, separated by commas.
        nbytes: The size of the image, which is sparse.
    """

    kind: str
    mkfs: tuple[str, ...] = ()
    options: str = ""
    nbytes: int = 320 * 1024 * 1024  # the least that XFS takes is 300 MiB

    def __str__(self) -> str:
        details = " ".join(filter(None, [*self.mkfs, self.options and f"-o {self.options}"]))
        return f"{self.kind} ({details})" if details else self.kind


EXT4, XFS, BTRFS = FileSystem("ext4"), FileSystem("xfs"), FileSystem("btrfs")

_PACKAGES = {"ext4": "e2fsprogs", "xfs": "xfsprogs", "btrfs": "btrfs-progs"}
_PREFIX = "mckpt-image-"
_PLACE = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()


# --- what there is ----------------------------------------------------------------------------------------------------


@functools.cache
def unavailable(file_system: FileSystem) -> str | None:
    """Why a file system cannot be mounted from an image here, or None. For ``pytest.skip``."""
    if os.geteuid() != 0:
        return "mounting an image needs root"
    if shutil.which(_mkfs(file_system)) is None:
        return f"{_mkfs(file_system)} is missing (Debian: {_PACKAGES[file_system.kind]})"
    try:
        with workshop() as directory, mounted(make(directory / "disk.img", file_system), directory / "mnt"):
            return None
    except subprocess.CalledProcessError as error:
        return f"{file_system} cannot be mounted from an image here: {error.stderr.strip()}"


def _mkfs(file_system: FileSystem) -> str:
    return f"mkfs.{file_system.kind}"


# --- images -----------------------------------------------------------------------------------------------------------


def make(image: Path, file_system: FileSystem) -> Path:
    """Create an image with an empty file system; returns its path."""
    with open(image, "xb") as file:
        os.truncate(file.fileno(), file_system.nbytes)
    _run(_mkfs(file_system), "-q", *file_system.mkfs, image)
    return image


@contextlib.contextmanager
def mounted(image: Path, point: Path, options: str = "") -> Iterator[Path]:
    """Mount an image for the length of a block; the directory is created if need be.

    The loop device is freed by the kernel when nothing is mounted from it any more.
    """
    point.mkdir(exist_ok=True)
    _run("mount", "-o", ",".join(filter(None, ["loop", options])), image, point)
    try:
        yield point
    finally:
        _run("umount", point)


_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32): EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN
_NO_LOG_FLUSH = struct.pack("I", 2)


def cut_power(point: Path) -> None:
    """Let a mounted file system lose all that is not on its disk yet; whatever is done to it afterwards fails.

    Its journal is not written out either: the next mount replays it as after a power cut.

    Raises:
        OSError: The file system does not know this; see `shuts_down`.
    """
    fd = os.open(point, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(fd, _SHUTDOWN, _NO_LOG_FLUSH)
    finally:
        os.close(fd)


@functools.cache
def shuts_down(file_system: FileSystem) -> bool:
    """Whether `cut_power` works on a file system."""
    with workshop() as directory, mounted(make(directory / "disk.img", file_system), directory / "mnt") as point:
        try:
            cut_power(point)
        except OSError:
            return False
        return True


_CLONE = 0x40049409  # _IOW(0x94, 9, int): FICLONE


def clone(source: Path, target: Path) -> None:
    """Make a file that shares its blocks with another one, as that is at one moment. Both lie on one XFS or btrfs.

    The file system locks the source against writes meanwhile, those of a loop device included.
    """
    with open(source, "rb") as old, open(target, "xb") as new:
        fcntl.ioctl(new.fileno(), _CLONE, old.fileno())


# --- workshops --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def workshop(place: str = _PLACE) -> Iterator[Path]:
    """A directory for images and mounts, which is gone afterwards, with all that is still mounted below it."""
    reap(place)
    directory, lock = _claim(place)
    try:
        yield directory
    finally:
        _remove(directory)
        os.close(lock)


def _claim(place: str) -> tuple[Path, int]:
    """A new directory, and the descriptor that locks it; children of a fork hold the lock, too, until they end."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        with contextlib.suppress(FileNotFoundError):  # another process may have reaped it before it was locked
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if directory.exists():
                return directory, lock
            os.close(lock)


def reap(place: str = _PLACE) -> None:
    """Remove the workshops of processes that were killed."""
    for directory in Path(place).glob(f"{_PREFIX}*"):
        with _ignoring_those_in_use(), _alone_in(directory):
            _remove(directory)


def _ignoring_those_in_use() -> contextlib.suppress:
    """Somebody uses it; a process that was killed is not quite gone; or somebody else reaps it, too."""
    return contextlib.suppress(BlockingIOError, subprocess.CalledProcessError, FileNotFoundError)


@contextlib.contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


def _remove(directory: Path) -> None:
    for point in _mount_points(directory):
        _run("umount", point)
    shutil.rmtree(directory)


def _mount_points(directory: Path) -> list[str]:
    """What is mounted below a directory, the latest first: it may lie in an earlier one."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [line.split(" ")[4] for line in file]
    return [point for point in reversed(points) if point.startswith(f"{directory}/")]


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
