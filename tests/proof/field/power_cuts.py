"""Power cuts on ext4, right after a save has returned."""

from __future__ import annotations

import os
from pathlib import Path

from tests.harness import loop_image
from tests.proof.field.found import look
from tests.proof.field.peers.peer import Peer
from tests.proof.field.registry import peer_named
from tests.proof.field.saved import FIRST, save
from tests.proof.field.tally import Counts, Outcomes, counted

__all__ = ["power_cuts", "unavailable"]


def unavailable() -> str | None:
    """Why there can be no power cuts here, or None."""
    reason = loop_image.unavailable(loop_image.EXT4)
    if reason is None and not loop_image.shuts_down(loop_image.EXT4):
        reason = "this kernel's ext4 cannot be shut down"
    return reason


def power_cuts(peer: str, trials: int) -> Counts:
    """The first step is saved and long on the disk; the second is saved, the save returns, the power fails."""
    who, outcomes = peer_named(peer), []
    for _ in range(trials):
        with loop_image.workshop() as directory:
            image = loop_image.make(directory / "disk.img", loop_image.EXT4)
            outcomes.append(_cut_after_save(who, image, directory / "mnt"))
    return counted(outcomes)


def _cut_after_save(peer: Peer, image: Path, point: Path) -> Outcomes:
    with loop_image.mounted(image, point):
        root = point / "root"
        root.mkdir()
        save(peer, root, FIRST)
        os.sync()
        save(peer, root, FIRST + 1)
        loop_image.cut_power(point)
    with loop_image.mounted(image, point):
        return look(peer, root).outcomes(FIRST + 1)
