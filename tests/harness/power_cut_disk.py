"""Disks that lose their power at a moment, with what is not on them yet, and get it back.

There are two ways to cut it.

``shutdown``: the file system itself is told to stop at once (ext4, XFS). From that moment on it writes nothing, not
even its journal; the next mount replays what is on the disk. What had been asked for before and was under way may still
arrive.

``copy``: the image is copied while it is mounted and written to, and the copy is what is left (any file system; btrfs
knows no shutdown). The image lies on an XFS of its own, which makes the copy in one step by sharing blocks, and keeps
the loop device's writes out meanwhile: so the copy is what the disk held at one moment, each write that had been
finished and none that had not. That is what a power cut leaves of a disk that does not reorder its writes; the caches
of the file system under test, which were only in memory, are lost in full. What is not tried in either way is a disk
that loses or reorders what it has in a cache of its own although it was told to flush.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.harness import loop_image
from tests.harness.loop_image import BTRFS, EXT4, XFS, FileSystem

__all__ = ["DISKS", "Disk", "Power", "describe"]

_HOST = FileSystem("xfs", nbytes=8 * 1024**3)


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system, and how its power is cut."""

    file_system: FileSystem
    way: Literal["shutdown", "copy"]

    def __str__(self) -> str:
        return f"{self.file_system}, {_WAYS[self.way]}"

    def unavailable(self) -> str | None:
        """Why it cannot be had here, or None. For ``pytest.skip``."""
        reason = loop_image.unavailable(self.file_system)
        if reason is None and self.way == "copy":
            return loop_image.unavailable(_HOST)
        if reason is None and not loop_image.shuts_down(self.file_system):
            return f"this kernel cannot shut down a mounted {self.file_system.kind}"
        return reason


_WAYS = {"shutdown": "shut down", "copy": "copied while mounted"}

DISKS = {
    "ext4": Disk(EXT4, "shutdown"),
    "ext4, fast commits": Disk(FileSystem("ext4", mkfs=("-O", "fast_commit")), "shutdown"),
    "ext4, writeback": Disk(FileSystem("ext4", options="data=writeback"), "shutdown"),
    "xfs": Disk(XFS, "shutdown"),
    "xfs, copied": Disk(XFS, "copy"),
    "btrfs": Disk(BTRFS, "copy"),
}


def describe(disk: Disk) -> str:
    """A disk, in the words of the kernel that has it mounted."""
    with loop_image.workshop() as directory, Power.on(disk, directory) as power:
        return f"{platform.system()} {platform.release()}, {disk}, mounted {power.options}"


class Power:
    """A disk, mounted.

    Attributes:
        point: Where.
    """

    def __init__(self, disk: Disk, directory: Path) -> None:
        self._disk = disk
        self._directory = directory
        self._names = (directory / "disks" / f"{number}.img" for number in itertools.count())
        self._image = self._left = next(self._names)
        self._mount = ExitStack()
        self.point = directory / "mnt"

    @classmethod
    @contextmanager
    def on(cls, disk: Disk, directory: Path) -> Iterator[Power]:
        """A disk with a new file system, until the block ends; the directory is for its images."""
        with ExitStack() as stack:
            if disk.way == "copy":
                stack.enter_context(
                    loop_image.mounted(loop_image.make(directory / "host.img", _HOST), directory / "disks")
                )
            power = cls(disk, directory)
            power._image.parent.mkdir(exist_ok=True)
            loop_image.make(power._image, disk.file_system)
            power._turn_on()
            stack.callback(power._mount.close)
            yield power

    @property
    def options(self) -> str:
        """With which options the kernel says that it is mounted."""
        lines = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
        return next(options for _, point, _, options, *_ in lines if point == str(self.point))

    def sync(self) -> None:
        """Bring all to the disk, as the kernel does when it likes, and any other process may ask for."""
        fd = os.open(self.point, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(fd) == -1:
                raise OSError(ctypes.get_errno(), "syncfs", str(self.point))
        finally:
            os.close(fd)

    def cut(self) -> None:
        """Lose all that is not on the disk. What works on it may go on for a moment, and must end before `restore`."""
        if self._disk.way == "shutdown":
            loop_image.cut_power(self.point)
        else:
            self._left = next(self._names)
            loop_image.clone(self._image, self._left)

    def restore(self) -> None:
        """Mount what a cut has left."""
        self._mount.close()
        if self._left != self._image:
            self._image.unlink()
            self._image = self._left
        self._turn_on()

    def _turn_on(self) -> None:
        self._mount.enter_context(loop_image.mounted(self._image, self.point, self._disk.file_system.options))
