"""The demo: train, kill in the middle of a save, resume bit for bit, verify, pick the best, open it without us; then a
sweep, its comparison and report, and saving within a budget. What is claimed is checked: the demo fails otherwise.

make demo          or          python docs/demo/run.py [ROOT]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from console import claim, mckpt, say
from kill import start_training, train_and_kill, what_was_lost

STEPS = 400
BUDGET_STEPS = 600


def train_to_the_end(root: Path, experiment: str) -> str:
    """Train without a break; returns what the training printed first: its resume report."""
    process = start_training(root, experiment, STEPS)
    output, _ = process.communicate()
    claim(process.returncode == 0, f"training ends well, not with {process.returncode}")
    return output.partition("\nstep ")[0]


def killed_and_resumed(root: Path) -> None:
    import model_checkpoint as mc

    say("1. Train on 1,437 handwritten digits without a break (the reference)")
    start = time.perf_counter()
    print(train_to_the_end(root, "reference"))
    print(f"{STEPS} steps in {time.perf_counter() - start:.1f} s, start of the process included")

    say("2. The same training, killed in the middle of a save")
    killed = train_and_kill(root, "digits", STEPS, after_step=STEPS // 2)
    what_was_lost(root, "digits", killed)

    say("3. Start it again: it finds the last good checkpoint and goes on")
    print(train_to_the_end(root, "digits"))

    say("4. Is the result the same, bit for bit?")
    with (
        mc.CheckpointManager(root, experiment="reference") as reference,
        mc.CheckpointManager(root, experiment="digits") as resumed,
    ):
        a, b = reference.info("latest"), resumed.info("latest")
    print(f"reference  {a.ref:32} content {a.content}\nresumed    {b.ref:32} content {b.content}")
    claim(a.step == b.step == STEPS and a.content == b.content, "the resumed run is the reference")
    print("identical: weights, optimizer, scheduler, data order and random state")


def looked_at(root: Path) -> str:
    """Returns a line for the summary."""
    from model_checkpoint.database.listing import Listing

    say("5. What is kept, and why")
    mckpt(root, "ls", "digits")

    say("6. Verify every byte of every checkpoint")
    mckpt(root, "verify", "--all")

    say("7. The best one, opened by the safetensors package without us")
    mckpt(root, "best", "digits")
    with Listing.open(root) as listing:
        best = listing.resolve("digits:best")
    accuracy, recorded = open_without_us(root / best.path), best.metrics["val_accuracy"]
    print(f"accuracy on the held-out fifth: {accuracy:.1%} (recorded at the save: {recorded:.1%})")
    claim(abs(accuracy - recorded) < 1e-6, "the weights give the recorded accuracy")
    megabytes, seconds = load_speed(root / best.path)
    speed = f"{seconds * 1e3:.0f} ms ({megabytes / 1e3 / seconds:.1f} GB/s)"
    return (
        f"best: step {best.step}, val_loss {best.metrics['val_loss']:.4f}; verified load of {megabytes:.0f} MB: {speed}"
    )


def open_without_us(directory: Path) -> float:
    """Read the weights with the safetensors package alone and measure their accuracy."""
    import torch
    from safetensors.torch import load_file
    from train import Settings, digits, evaluate, network

    torch.set_num_threads(1)
    model = network(Settings("digits").width)
    model.load_state_dict(load_file(directory / "model.safetensors"))
    _, _, images, labels = digits()
    return evaluate(model, images, labels)["val_accuracy"]


def load_speed(directory: Path) -> tuple[float, float]:
    """Megabytes of a checkpoint, and the median seconds of five verified loads of it."""
    import model_checkpoint as mc

    def once() -> float:
        start = time.perf_counter()
        mc.load(directory)
        return time.perf_counter() - start

    megabytes = sum(path.stat().st_size for path in directory.iterdir()) / 1e6
    return megabytes, statistics.median(once() for _ in range(5))


def swept(root: Path) -> str:
    """Returns a line for the summary."""
    from sweep import find_shapes, front, sweep

    say("8. A sweep over learning rates and widths, with early stopping")
    runs = sweep(root)
    names = [run.experiment for run in runs]
    print()
    mckpt(root, "compare", *names)
    print()
    find_shapes(root, names)
    print()
    front(root, names)
    page = Path(tempfile.gettempdir()) / "mckpt-demo.html"
    print()
    mckpt(root, "report", *names, "digits", "--html", str(page))
    claim(page.stat().st_size > 0, "the report is a page")
    stopped = sum(bool(run.stop) for run in runs)
    return f"sweep of {len(runs)} runs, {stopped} of them stopped early; look at it in a browser: {page}"


def main(root: Path) -> None:
    from sweep import budget

    began_at = time.perf_counter()
    killed_and_resumed(root)
    lines = ["killed in the middle of a save, resumed bit for bit", looked_at(root), swept(root)]
    lines.append(budget(root, BUDGET_STEPS))
    say(f"Summary, after {time.perf_counter() - began_at:.0f} s")
    print(*lines, sep="\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory(prefix="mckpt-demo-") as directory:
            main(Path(directory) / "runs")
