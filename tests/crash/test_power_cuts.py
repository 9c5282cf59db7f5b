"""Power cuts while runs save, on real file systems in images."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import model_checkpoint as mc
from tests.harness.loop_image import reap, workshop
from tests.harness.nursery import Nursery
from tests.harness.operations import OPERATIONS
from tests.harness.power_cut_disk import DISKS, Power, describe
from tests.harness.sample_store import manager, recover, save_one

pytestmark = pytest.mark.crash

REPOSITORY = Path(__file__).parents[2]
CUTS_PER_DISK = 5
MOMENTS_PER_DISK = 20
NOTICED_EVERYWHERE = (
    "the files of tensors",
    "the manifest",
    "annotations and settings",
    "SQLite's files (synchronous=OFF)",
)
NOTICED_ON_BTRFS = ("both parent directories", "all three directories")
PROMISE = "What was acknowledged is there and whole, nothing is there by halves, and the next save works."


@pytest.fixture(scope="module")
def nursery():
    with Nursery() as nursery:
        nursery.ask("tests.harness.kills", "warm_up")
        yield nursery


def require(disk):
    reason = DISKS[disk].unavailable()
    if reason is not None:
        pytest.skip(reason)


def cuts_of(nursery, disk, wanted, **options):
    """So many power cuts, on as many new disks as it takes."""
    cuts, seed = [], 0
    while len(cuts) < wanted:
        count = min(CUTS_PER_DISK, wanted - len(cuts))
        arguments = {"disk": disk, "seed": seed, "cuts": count, **options}
        cuts += nursery.ask("tests.harness.power_cut", "cut_again_and_again", **arguments)
        seed += 1
    return cuts


@pytest.mark.parametrize("disk", DISKS)
def test_power_cuts_lose_nothing_that_was_acknowledged(nursery, disk, trials, evidence):
    """Cut at any moment, a store opens again and has all that was acknowledged, whole, and nothing by halves."""
    wanted = trials(ci=6, proof=60, full=300) if disk == "ext4" else trials(ci=0, proof=15, full=100)
    if not wanted:
        pytest.skip(f"the power of {disk} is cut from --scale=proof on")
    require(disk)
    cuts = cuts_of(nursery, disk, wanted)
    bad = [cut["problems"] for cut in cuts if cut["problems"]]
    acknowledged = sum(cut["acknowledged"] for cut in cuts)
    evidence(
        threat=f"power cuts at random moments, {disk}",
        promise=PROMISE,
        trials=len(cuts),
        unit="power cuts",
        violations=len(bad),
        detail=f"{describe(DISKS[disk])}; one or two processes that save, name, pin, clean up and restore; "
        f"{acknowledged} acknowledgements before the cuts",
    )
    assert not bad
    assert acknowledged > len(cuts)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_power_cuts_after_each_sync_and_rename_leave_one_state_or_the_next(nursery, operation, trials, evidence):
    """Cut on ext4 right after each sync and each rename of an operation, and after its end, a store is as promised."""
    wanted = trials(ci=0, proof=4, full=1000)
    if not wanted:
        pytest.skip("the power is cut after syncs and renames from --scale=proof on")
    require("ext4")
    module = "tests.harness.power_cut_calls"
    count = nursery.ask(module, "count", disk="ext4", operation=operation)
    moments = range(1, 1 + count)[:: -(-count // wanted)]
    problems = []
    for first in range(0, len(moments), MOMENTS_PER_DISK):
        some = moments[first : first + MOMENTS_PER_DISK]
        arguments = {"disk": "ext4", "operation": operation, "moments": [*some], "timeout_s": 300}
        problems += nursery.ask(module, "cut_at", **arguments)
    bad = {moment: found for moment, found in zip(moments, problems, strict=True) if found}
    evidence(
        threat=f"power cuts right after syncs and renames of {operation}",
        promise=PROMISE,
        trials=len(moments),
        unit="power cuts",
        violations=len(bad),
        detail=describe(DISKS["ext4"]),
        exhaustive=len(moments) == count,
    )
    assert not bad


# What is noticed where. A missing sync of a directory needs a file system that does not sync it on other occasions.
@pytest.mark.parametrize(
    ("omission", "disk"),
    [(omission, disk) for omission in NOTICED_EVERYWHERE for disk in ("ext4", "xfs", "btrfs")]
    + [(omission, "btrfs") for omission in NOTICED_ON_BTRFS],
)
def test_a_missing_sync_is_noticed(nursery, omission, disk, trials, evidence):
    """Runs that do not sync what they should lose something, or have it by halves, within a few power cuts."""
    wanted = trials(ci=0, proof=60, full=60)
    if not wanted:
        pytest.skip("syncs are left out from --scale=proof on")
    require(disk)
    tried = 0
    for seed in range(wanted):
        arguments = {"disk": disk, "seed": seed, "cuts": 1, "omission": omission}
        (cut,) = nursery.ask("tests.harness.power_cut", "cut_again_and_again", **arguments)
        tried += 1
        if cut["problems"]:
            break
    evidence(
        threat=f"saves that do not sync {omission}, on {disk}",
        promise="The test of power cuts notices.",
        trials=tried,
        unit="power cuts",
        violations=0 if cut["problems"] else 1,
        detail=describe(DISKS[disk]),
    )
    assert cut["problems"]


def test_what_a_killed_test_has_mounted_is_unmounted_by_the_next(tmp_path):
    """The lock of its workshop ends with it."""
    require("ext4")
    script = """
import os, signal, sys
from tests.harness.loop_image import EXT4, make, mounted, workshop

with workshop(sys.argv[1]) as directory, mounted(make(directory / "disk.img", EXT4), directory / "mnt"):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=REPOSITORY, check=False)
    (left,) = tmp_path.iterdir()
    assert (left / "mnt").is_mount()
    reap(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_what_was_said_of_a_purged_checkpoint_does_not_come_back_with_the_power():
    """On btrfs, an unlink may be undone by a power cut although later changes of other directories are not."""
    require("btrfs")
    with workshop() as directory, Power.on(DISKS["btrfs"], directory) as power:
        root = str(power.point / "runs")
        with manager(root) as ckpts:
            for step in range(4):
                save_one(ckpts, step, tags={"some": "text"}).result()
            os.sync()
            ckpts.prune(dry_run=False, keep=mc.Keep.last(1))
            power.cut()
        power.restore()
        recover(root)
        assert [len(list((power.point / "runs/exp").glob(each))) for each in ("step-*", ".annotations/*.json")] == [
            1,
            1,
        ]
