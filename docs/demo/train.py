"""Train a small network on the scikit-learn digits, with checkpoints. `run.py` kills and resumes it.

This is the loop that a user would write: everything about checkpoints is in the lines that mention `ckpts`.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import model_checkpoint as mc

SAVE_EVERY = 25
BATCH = 64


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


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(64, 1024), nn.ReLU(), nn.Dropout(0.2), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10)
    )


def evaluate(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        logits = model(images)
    model.train()
    loss = nn.functional.cross_entropy(logits, labels).item()
    return {"val_loss": loss, "val_accuracy": (logits.argmax(1) == labels).float().mean().item()}


def train(root: Path, experiment: str, steps: int) -> None:
    torch.set_num_threads(1)
    for seed in (random.seed, np.random.seed, torch.manual_seed):  # the content includes all random state
        seed(0)
    images, labels, val_images, val_labels = digits()
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    batches = Batches(images, labels)

    with mc.CheckpointManager(
        root, experiment=experiment, monitor="val_loss", mode="min", keep=mc.Keep.last(3) | mc.Keep.best(2)
    ) as ckpts:
        ckpts.track(model=model, optimizer=optimizer, scheduler=scheduler, data=batches)
        report = ckpts.resume()
        print(report, flush=True)
        for step in range(report.next_step, steps):
            x, y = next(batches)
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            ckpts.log(step, loss=loss.item())
            if (step + 1) % SAVE_EVERY == 0:
                ckpts.save(step, metrics=evaluate(model, val_images, val_labels))
                print(f"step {step}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--experiment", default="digits")
    parser.add_argument("--steps", type=int, default=400)
    arguments = parser.parse_args()
    train(arguments.root, arguments.experiment, arguments.steps)
