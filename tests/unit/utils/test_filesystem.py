from __future__ import annotations

import pytest

from model_checkpoint.errors import StorageError
from model_checkpoint.utils.filesystem import FileSystem, file_system_of, free_bytes

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /data rw - nfs4 server:/export rw
31 30 8:2 / /data/local rw master:2 - xfs /dev/sdb rw
32 22 0:41 / /mnt/two\\040words rw - fuse.sshfs host: rw
33 22 0:42 / /mnt/overlay rw - fuse.fuse-overlayfs x rw
34 22 0:43 / /over rw - ext4 /dev/sdc rw
35 34 0:44 / /over rw - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/me", FileSystem("ext4", "/", is_network=False)),
        ("/data", FileSystem("nfs4", "/data", is_network=True)),
        ("/database", FileSystem("ext4", "/", is_network=False)),
        ("/data/local/deep/er", FileSystem("xfs", "/data/local", is_network=False)),
        ("/mnt/two words/x", FileSystem("fuse.sshfs", "/mnt/two words", is_network=True)),
        ("/mnt/overlay/x", FileSystem("fuse.fuse-overlayfs", "/mnt/overlay", is_network=False)),
        ("/over/x", FileSystem("cifs", "/over", is_network=True)),
    ],
)
def test_the_innermost_and_latest_mount_decides(tmp_path, path, expected):
    """Nested, over-mounted and escaped mount points are told apart; user-space ones count as remote unless known."""
    (tmp_path / "mountinfo").write_text(MOUNTS)
    assert file_system_of(path, mountinfo=str(tmp_path / "mountinfo")) == expected


def test_this_machines_file_systems_are_found(tmp_path):
    """The real table has an entry for every path, existing or not."""
    assert file_system_of("/proc").kind == "proc"
    assert file_system_of(tmp_path / "not" / "yet").kind != "unknown"
    assert file_system_of("/", mountinfo=str(tmp_path / "none")) == FileSystem("unknown", "/", is_network=False)


def test_free_space_is_what_the_system_says(tmp_path):
    """Bytes, and an error for what does not exist."""
    assert free_bytes(tmp_path) > 0
    with pytest.raises(StorageError):
        free_bytes(tmp_path / "none")
