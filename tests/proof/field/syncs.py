"""Which files and directories one save syncs."""

from __future__ import annotations

import os
from collections import Counter

from tests.harness import strace
from tests.proof.field.registry import peer_named
from tests.proof.field.saved import one_save, saved_once
from tests.proof.field.tally import Counts

__all__ = ["syncs"]

_SYNCS = strace.named("fsync", "fdatasync", "syncfs", "sync_file_range", "msync", "sync")


def syncs(peer: str, trials: int) -> Counts:
    """The calls that sync files, and those that sync directories, in one save after the first."""
    who, seen = peer_named(peer), Counter()

    def note(call: strace.Call) -> bool:
        if _SYNCS(call):
            seen["directories" if os.path.isdir(call.file) else "files"] += 1
        return False

    with saved_once(who) as saved, saved.copy() as root:
        strace.follow(one_save(who, root), strace.Injection(strace.Kill(), at=0, which=note))
    return Counts(trials=1, outcomes={"directories": seen["directories"], "files": seen["files"]}, exhaustive=True)
