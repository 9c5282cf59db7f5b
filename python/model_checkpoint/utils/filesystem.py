"""What kind of file system a path lies on, and how much room it has."""

from __future__ import annotations

import os
from dataclasses import dataclass

from model_checkpoint.errors import StorageError

__all__ = ["FileSystem", "file_system_of", "free_bytes"]

_NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse", "glusterfs", "gpfs", "lustre"}
) | frozenset({"ncpfs", "nfs", "nfs4", "orangefs", "panfs", "pvfs2", "smb3", "smbfs"})
_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.lxcfs", "fuse.mergerfs", "fuse.portal"})
_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A mounted file system.

    Attributes:
        kind: Its name for the kernel: ``ext4``, ``nfs4``, ``fuse.sshfs``; ``unknown`` where /proc is missing.
        mount_point: Where it is mounted.
        is_network: Whether other hosts may see it, so that locks and shared memory cannot be relied on. A user-space
            file system counts as one unless it is known to be local.
    """

    kind: str
    mount_point: str
    is_network: bool


def file_system_of(path: str | os.PathLike[str], *, mountinfo: str = "/proc/self/mountinfo") -> FileSystem:
    """The file system that a path lies on, or would lie on once created."""
    target = os.path.realpath(path)
    try:
        with open(mountinfo, encoding="utf-8", errors="surrogateescape") as file:
            mounts = [_parse(line) for line in file]
    except FileNotFoundError:
        return FileSystem("unknown", "/", is_network=False)
    inside = [mount for mount in mounts if _contains(mount[0], target)]
    # A later mount hides an earlier one at the same place, and max() returns the first of equals: search backwards.
    point, kind = max(reversed(inside), key=lambda mount: len(mount[0]), default=("/", "unknown"))
    return FileSystem(kind, point, _is_network(kind))


def free_bytes(path: str | os.PathLike[str]) -> int:
    """Bytes that an unprivileged process may still write there.

    Raises:
        StorageError: The path does not exist or cannot be asked.
    """
    try:
        stat = os.statvfs(path)
    except OSError as error:
        raise StorageError.from_os_error(error, "cannot ask for free space", path=os.fspath(path)) from error
    return stat.f_bavail * stat.f_frsize


def _parse(line: str) -> tuple[str, str]:
    """Mount point and type of a line such as ``36 35 98:0 /root /mnt rw shared:1 - ext3 /dev/root rw``."""
    left, _, right = line.partition(" - ")
    point = left.split(" ")[4]
    for escape, character in _ESCAPES:
        point = point.replace(escape, character)
    return point, right.split(" ")[0]


def _contains(mount_point: str, path: str) -> bool:
    return path == mount_point or path.startswith(mount_point.rstrip("/") + "/")


def _is_network(kind: str) -> bool:
    return kind in _NETWORK or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE)
