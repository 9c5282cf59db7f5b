"""Cutting the power while processes save, and seeing what the next ones find. Runs in a nursery; see `nursery`."""

from __future__ import annotations

import random
import time
from dataclasses import asdict, dataclass
from typing import Any

from tests.harness.loop_image import workshop
from tests.harness.nursery import isolated
from tests.harness.power_cut_disk import DISKS, Power
from tests.harness.power_cut_judge import judge, look
from tests.harness.power_cut_omissions import OMISSIONS
from tests.harness.power_cut_run import Progress, running
from tests.harness.power_cut_script import write_script
from tests.harness.sample_store import EXPERIMENTS, STORES, View

__all__ = ["Cut", "cut_again_and_again"]

_ACTS = 60
"""The length of a script; one that ends before the power does is nothing bad."""

_LONGEST_S = 0.4
"""How long runs work before the power fails, at most."""


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
    scripts = [write_script(view, experiment, rng, _ACTS) for experiment in EXPERIMENTS]
    said = power.point.parent / "said"
    said.mkdir(exist_ok=True)
    with running(scripts, root, said, OMISSIONS[omission]) as runs:
        time.sleep(rng.uniform(0, _LONGEST_S))
        before = [run.progress() for run in runs]
        power.cut()
    after = [run.progress() for run in runs]
    power.restore()
    windows = {
        run.script.experiment: run.script.window(_durable(power, *pair), pair[1].begun)
        for run, *pair in zip(runs, before, after, strict=True)
    }
    problems, view = isolated(judge, root, windows)
    failed = [progress.error for progress in before if progress.error]
    acknowledged = sum(progress.acknowledged for progress in before)
    underway = sum(progress.begun - progress.acknowledged for progress in before)
    return Cut(acknowledged, underway, [*failed, *problems]), view


def _durable(power: Power, before: Progress, after: Progress) -> int:
    """How many acts of a run were acknowledged, and so have to be there.

    Whatever is acknowledged after a shutdown was synced before: nothing can be synced any more. A copy, however, may be
    older than what a run has said meanwhile.
    """
    return after.acknowledged if power.is_final else before.acknowledged
