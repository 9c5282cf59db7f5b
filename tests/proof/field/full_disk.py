"""Disks that fill up: at every level, does a save say so, and does it leave the checkpoint before alone?"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.harness import loop_image
from tests.proof.field.found import look
from tests.proof.field.peers.peer import Peer
from tests.proof.field.registry import peer_named
from tests.proof.field.saved import FIRST, Saved, nbytes, save, saved_once
from tests.proof.field.tally import Counts, Outcomes, counted

__all__ = ["full_disks", "unavailable"]

_CLEAR = ("No space left", "ENOSPC", "DiskFullError", "Disk quota", "errno=28", "disk full")
_SLACK = 256 * 1024


def unavailable() -> str | None:
    return None if os.geteuid() == 0 else "mounting a small file system needs root"


def full_disks(peer: str, trials: int) -> Counts:
    """One trial for each amount of free space, from none to a little more than a save needs."""
    who, outcomes = peer_named(peer), []
    with saved_once(who) as saved:
        need = nbytes(saved.root) + _SLACK
        for level in range(trials):
            with loop_image.workshop() as directory:
                outcomes.append(_save_with(who, saved, directory / "mnt", free=need * level // trials, need=need))
    return counted(outcomes)


def _save_with(peer: Peer, saved: Saved, point: Path, *, free: int, need: int) -> Outcomes:
    """Save to a file system that has so many bytes left."""
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={4 * need}", "tmpfs", point], check=True)
    root = point / "root"
    shutil.copytree(saved.root, root)
    _leave(point, free)
    before = nbytes(root)
    outcomes = _save(peer, root)
    found = look(peer, root)
    outcomes |= found.outcomes(FIRST + 1 if "saved" in outcomes else FIRST)
    if "saved" not in outcomes and nbytes(root) > before + _SLACK // 2:
        outcomes.add("leftovers")
    (point / "ballast").unlink()
    return outcomes


def _leave(point: Path, free: int) -> None:
    with open(point / "ballast", "wb") as ballast:
        os.posix_fallocate(ballast.fileno(), 0, os.statvfs(point).f_bavail * os.statvfs(point).f_frsize - free)


def _save(peer: Peer, root: Path) -> Outcomes:
    try:
        save(peer, root, FIRST + 1)
    except RuntimeError as error:
        says_so = any(word in str(error) for word in _CLEAR)
        return {"failed"} if says_so else {"failed", "unclear error"}
    return {"saved"}
