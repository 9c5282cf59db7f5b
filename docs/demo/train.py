"""Train a small network on the scikit-learn digits, with checkpoints. `run.py` kills it, resumes it, and tries others.

This is the loop that a user would write: everything about checkpoints is in the lines that mention `ckpts`.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import model_checkpoint as mc
from model_checkpoint.analytics.decision import Decision

EVALUATE_EVERY = 25
BATCH = 64


@dataclass(frozen=True)
class Settings:
    """What a run is made with.

    Attributes:
        experiment: Its name.
        steps: How many.
        rate: The learning rate.
        width: Of the hidden layers.
        save_when: When to save, as text.
        patience: After how many evaluations without an improvement to stop.
        trace: A file for when each step was logged, or None.
    """

    experiment: str
    steps: int = 400
    rate: float = 1e-3
    width: int = 1024
    save_when: str = f"every(steps={EVALUATE_EVERY})"
    patience: int = 1000
    trace: Path | None = None


@dataclass(frozen=True)
class Finished:
    """What became of a run.

    Attributes:
        experiment: Its name.
        step: The last one.
        stop: Whether it was stopped, and why.
        saves: How many there were.
        waited: The share of the time that the loop waited for them, by its own clock.
        overhead: The same by the manager, which adds by how much steps were slower beside a save.
        seconds: How long it trained.
    """

    experiment: str
    step: int
    stop: Decision
    saves: int
    waited: float
    overhead: float
    seconds: float


class Trace:
    """Says in a file when each step was logged, for whoever kills the run and wants to know what that cost."""

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)

    def write(self, step: int) -> None:
        if self._file is not None:
            os.pwrite(self._file, struct.pack("<d", time.time()), 8 * step)

    @staticmethod
    def read(path: Path) -> dict[int, float]:
        """When each step was logged, in seconds since 1970."""
        times = struct.iter_unpack("<d", path.read_bytes())
        return {step: at for step, (at,) in enumerate(times) if at}


class Stopwatch:
    """How long a loop waits for saves.

    Attributes:
        saves: How many there were.
    """

    def __init__(self) -> None:
        self.saves = 0
        self._began_at = self._call_at = time.perf_counter()
        self._waited_s = 0.0

    def begin(self) -> None:
        """Note that a call begins that may save."""
        self._call_at = time.perf_counter()

    def waited(self) -> None:
        """Note that the call has saved, and ended."""
        self.saves += 1
        self._waited_s += time.perf_counter() - self._call_at

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began_at

    @property
    def share(self) -> float:
        return self._waited_s / self.seconds


class Batches:
    """Shuffled minibatches without end, which can say where they are and go on from there."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.images, self.labels = images, labels
        self.order = torch.randperm(len(labels))
        self.position = 0

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        if self.position + BATCH > len(self.order):
            self.order, self.position = torch.randperm(len(self.labels)), 0
        rows = self.order[self.position : self.position + BATCH]
        self.position += BATCH
        return self.images[rows], self.labels[rows]

    def state_dict(self) -> dict[str, Any]:
        return {"order": self.order, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.order, self.position = state["order"].clone(), state["position"]


def digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The 1,797 handwritten digits that scikit-learn ships, the last fifth held out."""
    data = load_digits()
    images = torch.from_numpy(data.images).float().flatten(1) / 16
    labels = torch.from_numpy(data.target).long()
    cut = len(labels) * 4 // 5
    return images[:cut], labels[:cut], images[cut:], labels[cut:]


def network(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(64, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
    )


def evaluate(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """What the held-out digits say."""
    model.eval()
    with torch.no_grad():
        logits = model(images)
    model.train()
    loss = nn.functional.cross_entropy(logits, labels).item()
    return {"val_loss": loss, "val_accuracy": (logits.argmax(1) == labels).float().mean().item()}


def latency_ms(model: nn.Module, images: torch.Tensor) -> float:
    """How long the model takes for all held-out digits: the median of nine times, in milliseconds."""

    def once() -> float:
        start = time.perf_counter()
        model(images)
        return time.perf_counter() - start

    model.eval()
    with torch.no_grad():
        seconds = [once() for _ in range(9)]
    model.train()
    return statistics.median(seconds) * 1e3


def train(root: Path, settings: Settings) -> Finished:
    torch.set_num_threads(1)
    for seed in (random.seed, np.random.seed, torch.manual_seed):  # the content includes all random state
        seed(0)
    images, labels, val_images, val_labels = digits()
    model = network(settings.width)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    batches = Batches(images, labels)
    trace = Trace(settings.trace)
    watch = Stopwatch()

    with mc.CheckpointManager(
        root,
        experiment=settings.experiment,
        monitor="val_loss",
        config={"learning_rate": settings.rate, "width": settings.width},
        keep=mc.Keep.last(3) | mc.Keep.best(2),
        save_when=mc.SaveWhen.parse(settings.save_when),
        stop_when=mc.EarlyStopping(mc.BestModelSelector.by("val_loss"), patience=settings.patience),
    ) as ckpts:
        ckpts.track(model=model, optimizer=optimizer, scheduler=scheduler, data=batches)
        report = ckpts.resume()
        print(report, flush=True)
        for step in range(report.next_step, settings.steps + 1):
            x, y = next(batches)
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            values = {"loss": loss.item()}
            if step % EVALUATE_EVERY == 0:
                values |= evaluate(model, val_images, val_labels)
                values["latency_ms"] = latency_ms(model, val_images)

            trace.write(step)
            watch.begin()
            done = ckpts.step(step, values)
            if done.save:
                watch.waited()
                print(f"step {step}", flush=True)
            if done.stop:
                break
        return Finished(settings.experiment, step, done.stop, watch.saves, watch.share, ckpts.overhead, watch.seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--experiment", default="digits")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--trace", type=Path, default=None)
    arguments = vars(parser.parse_args())
    print(train(arguments.pop("root"), Settings(**arguments)))
