"""A sweep: several learning rates and widths, compared; and a run that saves within a budget."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path

from console import claim, mckpt, say
from train import Finished, Settings, train

import model_checkpoint as mc
from model_checkpoint.analytics.shape import find_plateau
from model_checkpoint.database.listing import Listing

__all__ = ["budget", "find_shapes", "front", "sweep"]

STEPS = 400
GRID = ((1e-3, 1024), (1e-2, 1024), (1e-4, 1024), (1e-3, 256), (1e-3, 32))
SHARE = 0.02


def _quietly(root: Path, settings: Settings) -> Finished:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return train(root, settings)


@contextlib.contextmanager
def _workers(count: int) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def sweep(root: Path) -> list[Finished]:
    """Train with each setting, as many at a time as there are cores; all in one store."""
    runs = [
        Settings(f"rate-{rate:g}-width-{width}", STEPS, rate, width, "every(steps=100) | improved()", patience=4)
        for rate, width in GRID
    ]
    count = min(len(os.sched_getaffinity(0)), len(runs))
    with _workers(count) as pool:
        found = list(pool.map(_quietly, [root] * len(runs), runs))
    for one in found:
        how = f"stopped: {one.stop.reasons[0]}" if one.stop else "went to its end"
        print(f"{one.experiment:22} {one.saves:3} saves, {one.step} of {STEPS} steps, {how}")
    stopped = [one for one in found if one.stop]
    claim(bool(stopped), "early stopping stops a run")
    claim(len(stopped) < len(found), "and lets others go on")
    return found


def find_shapes(root: Path, experiments: Sequence[str]) -> None:
    """Say which curves have become flat, and when."""
    flat = 0
    with mc.MetricsReader.open(root) as reader:
        for experiment in experiments:
            found = find_plateau(*reader.curve(experiment, "val_loss"))
            if found is not None and found.since_step > 0:
                print(f"{experiment:22} val_loss is flat since step {found.since_step}, at {found.level:.4f}")
                flat += 1
    claim(flat > 0, "a plateau is found")


def front(root: Path, experiments: Sequence[str]) -> None:
    """The checkpoints of all runs that no other beats in loss and latency."""
    with Listing.open(root) as listing:
        checkpoints = {info.id: info for name in experiments for info in listing.list(name)}
    selector = mc.BestModelSelector.pareto(mc.Goal("val_loss"), mc.Goal("latency_ms"))
    found = sorted(selector.rank(checkpoints.values()), key=lambda one: one.values["latency_ms"])
    print(f"{len(found)} of {len(checkpoints)} checkpoints, the fastest first (latency: 360 digits, one core):")
    for one in found:
        name = f"{checkpoints[one.id].experiment}:{one.step}"
        print(f"  {name:28} val_loss {one.values['val_loss']:.4f}  latency {one.values['latency_ms']:7.3f} ms")
    claim(len(found) > 1, "no checkpoint is the best in both")
    losses = [one.values["val_loss"] for one in found]
    claim(all(slower < faster for faster, slower in pairwise(losses)), "on the front, what is slower is better")


def budget(root: Path, steps: int) -> str:
    """Train alone, saving as often as 2 % of the time pay for, and measure what that takes."""
    say(f"9. Save as often as {SHARE:.0%} of the time pay for: SaveWhen.budget({SHARE:g})")
    with _workers(1) as pool:
        found = pool.submit(_quietly, root, Settings("budget", steps, save_when=f"budget({SHARE:g})")).result()
    print(f"saves in {found.seconds:.1f} s of training: {found.saves}, the first at once, to see what one costs")
    print(f"training waited for them {found.waited:.2%} of its time, by the loop's own clock")
    print(f"with steps that were slower beside a save, for whatever reason: {found.overhead:.2%}")
    claim(found.waited <= SHARE, f"training waits no more than {SHARE:.0%} of its time")
    claim(found.saves > 0, "and pays for a save")
    mckpt(root, "replay", "budget", "--mtbf", f"{found.seconds / 2:.0f}s", "--restart", "2s", "--trials", "10")
    return f"budget of {SHARE:.0%}: waited {found.waited:.2%} of the time for {found.saves} saves"
