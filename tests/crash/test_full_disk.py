"""A disk that fills up, at every level: before, while and after a checkpoint is written."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import faults, loop_image
from tests.harness.faults_full_disk import WARNED
from tests.harness.nursery import Nursery

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(faults.unavailable() is not None, reason=str(faults.unavailable())),
]

_MODULE = "tests.harness.faults_full_disk"
_PATIENCE_S = 60 * 60


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery(LD_PRELOAD=faults.library()) as process:
        yield process


@pytest.fixture
def disk() -> Iterator[Path]:
    """A file system of 16 MiB; needs root."""
    with loop_image.workshop() as directory:
        point = directory / "disk"
        point.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", point]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting a small file system needs root")
        yield point


def test_a_full_disk_refuses_a_save_and_harms_nothing(disk, nursery, trials, evidence):
    """With room for nothing, a little more each time, up to room for all: saved whole, or refused and nothing left."""
    stride_kib = trials(ci=1100, proof=256, full=64)
    found = {warned: nursery.ask(_MODULE, "fill", disk=str(disk), warned=warned, first_kib=0, stride_kib=stride_kib,
                                 timeout_s=_PATIENCE_S) for warned in WARNED}  # fmt: skip
    problems = [problem for sweep in found.values() for problem in sweep["problems"]]
    refused = {warned: sweep["refused"] for warned, sweep in found.items()}
    evidence(
        threat=f"a disk that is full at every level of filling, {stride_kib} KiB apart, of a checkpoint of 3.4 MiB",
        promise=(
            "The save succeeds, or raises DiskFullError and leaves nothing; older checkpoints and the catalog are "
            "readable on the full disk, and with room again the next save works."
        ),
        trials=sum(sweep["trials"] for sweep in found.values()),
        unit="fill levels",
        violations=len(problems),
        detail="; ".join(f"a commit that {warned}: {count} refused" for warned, count in refused.items()),
    )
    assert problems == []
    assert min(refused.values()) >= 2


def test_a_quota_that_is_enforced_late_is_noticed(memory_path, nursery, trials, evidence):
    """EDQUOT only when a file is synced or closed, as on NFS: every such call of a save, with and without a store."""
    stride = trials(ci=9, proof=2, full=1)
    found = nursery.ask(
        "tests.harness.faults_trial", "sweep_late_quota", base=str(memory_path), stride=stride, timeout_s=_PATIENCE_S
    )
    evidence(
        threat="a quota that is enforced only when a file is synced or closed, at every such call of a save",
        promise="The save raises DiskFullError and leaves nothing, unless what could not be written was not needed.",
        trials=found["trials"],
        unit="failed calls",
        violations=len(found["problems"]),
        detail=f"{found['raised']} reported",
    )
    assert found["problems"] == []
    assert found["raised"] > 0
