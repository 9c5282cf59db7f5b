"""SIGKILL: at any moment, and at each system call that changes something."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from pathlib import Path

from tests.harness import strace
from tests.proof.field.found import look
from tests.proof.field.peers.peer import Peer
from tests.proof.field.registry import peer_named
from tests.proof.field.saved import FIRST, Saved, one_save, save, saved_once
from tests.proof.field.state import state_at
from tests.proof.field.tally import Counts, Outcomes, counted

__all__ = ["kills_at_calls", "kills_at_random"]

_SAVES_BEFORE_A_KILL = 3


def kills_at_random(peer: str, trials: int) -> Counts:
    """A process saves one step after the other and is killed at a random moment of it."""
    who, rng = peer_named(peer), random.Random(trials)
    with saved_once(who) as saved:
        with saved.copy() as root:
            began = time.monotonic()
            save(who, root, FIRST + 1)
            longest = _SAVES_BEFORE_A_KILL * (time.monotonic() - began)
        outcomes = []
        for _ in range(trials):
            with saved.copy() as root:
                outcomes.append(_after(who, root, _save_until_killed(who, root, rng.uniform(0, longest))))
        return counted(outcomes)


def kills_at_calls(peer: str, trials: int) -> Counts:
    """A process saves one step and is killed before the k-th system call that changes something."""
    who = peer_named(peer)
    with saved_once(who) as saved:
        with saved.copy() as root:
            total = len(strace.follow(one_save(who, root), _kill(at=0)).calls)
        chosen = _spread(total, trials)
        outcomes = [_killed_at(who, saved, k) for k in chosen]
    return counted(outcomes, exhaustive=len(chosen) == total)


def _spread(total: int, trials: int) -> list[int]:
    """So many of the numbers 1 to ``total``, evenly."""
    return sorted({1 + index * (total - 1) // max(1, min(trials, total) - 1) for index in range(min(trials, total))})


def _killed_at(peer: Peer, saved: Saved, k: int) -> Outcomes:
    with saved.copy() as root:
        trace = strace.follow(one_save(peer, root), _kill(at=k))
        return _after(peer, root, FIRST if trace.injected else FIRST + 1)


def _kill(at: int) -> strace.Injection:
    return strace.Injection(strace.Kill(), at=at, which=strace.changes)


def _after(peer: Peer, root: Path, acknowledged: int) -> Outcomes:
    """What the next process finds, and whether it can go on."""
    outcomes = look(peer, root).outcomes(acknowledged)
    step = acknowledged + 10
    try:
        save(peer, root, step)
    except RuntimeError:
        return outcomes | {"next save fails"}
    found = look(peer, root)
    return outcomes if found.step == step and not found.refused else outcomes | {"next save fails"}


# --- at random --------------------------------------------------------------------------------------------------------


def _save_until_killed(peer: Peer, root: Path, seconds: float) -> int:
    """Let a child save for a while; returns the last step that it acknowledged."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _save_for_ever(peer, root, writing)
    os.close(writing)
    try:
        if os.read(reading, 1) != b"\n":
            raise ChildProcessError(f"{peer.name} cannot save")
        time.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with open(reading, encoding="ascii") as acknowledgements:
        complete = [line for line in acknowledgements if line.endswith("\n")]
    return int(complete[-1]) if complete else FIRST


def _save_for_ever(peer: Peer, root: Path, writing: int) -> None:
    try:
        with peer.saving(root) as save_step:
            os.write(writing, b"\n")
            for step in itertools.count(FIRST + 1):
                save_step(step, state_at(step))
                os.write(writing, b"%d\n" % step)
    finally:
        os._exit(1)
