"""Train, kill the training in the middle of a save, and see what that has cost."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from console import claim
from train import EVALUATE_EVERY, Trace

from model_checkpoint.analytics.reader import MetricsReader
from model_checkpoint.database.listing import Listing

__all__ = ["start_training", "train_and_kill", "what_was_lost"]

FLUSH_S = 1.0
WRITE_S = 0.5  # that a write may take


@dataclass(frozen=True)
class Killed:
    """Attributes:
    at: When, in seconds since 1970.
    logged: When each step was logged, on the same clock.
    saving: The step that was being saved.
    """

    at: float
    logged: dict[int, float]
    saving: int

    @property
    def step(self) -> int:
        """The last step that was logged."""
        return max(self.logged)


def start_training(root: Path, experiment: str, steps: int, trace: Path | None = None) -> subprocess.Popen[str]:
    script = Path(__file__).with_name("train.py")
    command = [sys.executable, str(script), str(root), "--experiment", experiment, "--steps", str(steps)]
    command += [] if trace is None else ["--trace", str(trace)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def train_and_kill(root: Path, experiment: str, steps: int, after_step: int) -> Killed:
    """Train, and send SIGKILL while a save is being written."""
    trace = root.parent / "trace"
    process = start_training(root, experiment, steps, trace)
    saving = _wait_for_step(process, after_step)
    staging = root / ".staging"
    deadline = time.monotonic() + 60
    while not any(staging.glob("*/*.safetensors")):
        claim(time.monotonic() < deadline and process.poll() is None, "a save is seen in flight")
    time.sleep(random.uniform(0, 0.005))
    killed_at = time.time()
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = [path.name for path in staging.iterdir() if path.is_dir()]
    killed = Killed(killed_at, Trace.read(trace), saving)
    print(f"killed with SIGKILL after step {killed.step}; half-written and invisible: .staging/{', '.join(left)}")
    return killed


def _wait_for_step(process: subprocess.Popen[str], at_least: int) -> int:
    """The first step from this one on whose save the training announces."""
    assert process.stdout is not None
    step = -1
    while step < at_least:
        line = process.stdout.readline()
        claim(bool(line), "training does not end before it is killed")
        if line.startswith("step "):
            step = int(line.split()[1])
    return step


def what_was_lost(root: Path, experiment: str, killed: Killed) -> None:
    """Say what the kill has cost, and that it is no more than what was promised."""
    with Listing.open(root) as listing:
        newest = listing.latest(experiment)
    claim(newest is not None, "a checkpoint is left")
    assert newest is not None
    lost, since_save = killed.step - newest.step, killed.step - killed.saving
    print(f"steps lost: {lost}. Saves are {EVALUATE_EVERY} apart; the killed one had begun {since_save} steps before")
    claim(lost <= EVALUATE_EVERY + since_save, "a kill loses what was done since the last save that was durable")

    with MetricsReader.open(root) as reader:
        steps, _ = reader.curve(experiment, "loss")
    gone = [at for step, at in killed.logged.items() if step > steps[-1]]
    oldest = f", the oldest {killed.at - gone[0]:.2f} s before the kill" if gone else ""
    print(f"logged metrics lost: those of {len(gone)} of {len(killed.logged)} steps{oldest}")
    seconds = killed.at - min(gone, default=killed.at)
    claim(seconds <= FLUSH_S + WRITE_S, "a kill loses a second of metrics, and what was being written")
