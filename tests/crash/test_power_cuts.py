"""Power cuts while runs save, on real file systems in images."""

from __future__ import annotations

import os
import platform

import pytest

import model_checkpoint as mc
from tests.harness.loop_image import workshop
from tests.harness.nursery import Nursery
from tests.harness.power_cut_disk import DISKS, Power
from tests.harness.sample_store import manager, recover, save_one

pytestmark = pytest.mark.crash

CUTS_PER_DISK = 5


@pytest.fixture(scope="module")
def nursery():
    with Nursery() as nursery:
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
        promise="What was acknowledged is there and whole, nothing is there by halves, and the next save works.",
        trials=len(cuts),
        unit="power cuts",
        violations=len(bad),
        detail=f"Linux {platform.release()}, {DISKS[disk]}; two processes that save, name, pin, clean up and restore; "
        f"{acknowledged} acknowledgements before the cuts",
    )
    assert not bad
    assert acknowledged > len(cuts)


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
