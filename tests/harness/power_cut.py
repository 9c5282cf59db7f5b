"""Cutting the power while processes save, and seeing what the next ones find. Runs in a nursery; see `nursery`."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any
from unittest import mock

from model_checkpoint import _native
from tests.harness.loop_image import workshop
from tests.harness.nursery import isolated
from tests.harness.power_cut_disk import DISKS, Power
from tests.harness.power_cut_judge import judge, look
from tests.harness.power_cut_omissions import OMISSIONS
from tests.harness.power_cut_run import Run, running
from tests.harness.power_cut_script import part, write_script
from tests.harness.sample_store import EXPERIMENTS, STORES, View

__all__ = ["Cut", "cut_again_and_again"]

_ACTS = 60
"""The length of a script; one that ends before the power does is nothing bad."""

_MOST_ACTS = 16
"""How many acts are acknowledged before the power fails, at most; then it fails at once, or a little later."""

_NEXT_ACTS_S = 0.05
"""How much later, at most."""

_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Cut:
    """What came of one power cut.

    Attributes:
        acknowledged: How many acts had been acknowledged before it.
        underway: How many were being done.
        problems: What was wrong when the power was back.
    """

    acknowledged: int
    underway: int
    problems: list[str]


def cut_again_and_again(disk: str, seed: int, cuts: int, omission: str = "nothing") -> list[dict[str, Any]]:
    """Let runs save on a new disk, cut its power, and let the next runs go on with what is left, again and again.

    Args:
        disk: A name in `DISKS`.
        seed: What the runs do, and when the power fails, follows from it.
        cuts: How often the power is cut. A store in which something is wrong is not used again: there may be fewer.
        omission: What the runs do not sync: a name in `OMISSIONS`.

    Returns:
        A `Cut` for each time, as a dict.
    """
    rng = random.Random(seed)
    with workshop() as directory, Power.on(DISKS[disk], directory) as power:
        root = str(power.point / "runs")
        isolated(STORES["usual"], root)
        view = isolated(look, root)
        done = []
        for _ in range(cuts):
            cut, view = _cut(power, root, view, rng, omission)
            done.append(asdict(cut))
            if cut.problems:
                break
        return done


def _cut(power: Power, root: str, view: View, rng: random.Random, omission: str) -> tuple[Cut, View]:
    alone = rng.random() < 0.3  # the syncs of one process may stand in for missing ones of another
    scripts = [write_script(view, experiment, rng, _ACTS) for experiment in EXPERIMENTS[: 1 if alone else None]]
    said = power.point.parent / "said"
    said.mkdir(exist_ok=True)
    how_often = rng.choice([0.0, 0.5])

    def prepare() -> None:
        OMISSIONS[omission]()
        _write_all_out_before_renames(power, how_often)

    with running(scripts, root, said, prepare) as runs:
        _wait_for(runs, rng.randint(0, _MOST_ACTS))
        time.sleep(rng.choice([0.0, rng.uniform(0, _NEXT_ACTS_S)]))
        before = [run.progress() for run in runs]  # what is said later counts as begun: it may need no sync, or be late
        power.cut()
    power.restore()
    windows = {experiment: [part(view, experiment)] for experiment in EXPERIMENTS}
    windows |= {
        run.script.experiment: run.script.window(progress.acknowledged, run.progress().begun)
        for run, progress in zip(runs, before, strict=True)
    }
    problems, view = isolated(judge, root, windows)
    failed = [progress.error for progress in before if progress.error]
    acknowledged = sum(progress.acknowledged for progress in before)
    underway = sum(progress.begun - progress.acknowledged for progress in before)
    return Cut(acknowledged, underway, [*failed, *problems]), view


def _write_all_out_before_renames(power: Power, how_often: float) -> None:
    """Let the kernel write everything out, as it may at any moment, right before some renames of this process.

    What the process has not asked for yet is on the disk then. What it does not sync afterwards stays older than that.
    """
    chance = random.Random(os.getpid())

    def disturbed(rename: Callable[..., Any]) -> Callable[..., Any]:
        def sync_and_rename(*paths: str, **directories: int) -> Any:
            if chance.random() < how_often:
                power.sync()
            return rename(*paths, **directories)

        return sync_and_rename

    for owner, name in ((_native, "rename_noreplace"), (os, "replace")):
        mock.patch.object(owner, name, disturbed(getattr(owner, name))).start()


def _wait_for(runs: list[Run], acknowledged: int) -> None:
    """Wait until so many acts are acknowledged, or a run has failed."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        progress = [run.progress() for run in runs]
        if sum(each.acknowledged for each in progress) >= acknowledged or any(each.error for each in progress):
            return
        time.sleep(0.0005)
    raise TimeoutError(f"{acknowledged} acts take longer than {_PATIENCE_S} s")
