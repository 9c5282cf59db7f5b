"""The demo: train, kill in the middle of a save, resume bit for bit, verify, pick the best, open it without us.

make demo          or          python docs/demo/run.py [ROOT]
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
STEPS = 400


def say(title: str) -> None:
    print(f"\n\033[1m== {title}\033[0m" if sys.stdout.isatty() else f"\n== {title}", flush=True)


def mckpt(root: Path, *words: str) -> str:
    """Run the command line as a user would, show it, and return what it printed."""
    print(f"$ mckpt {' '.join(words)}", flush=True)
    command = [sys.executable, "-m", "model_checkpoint.cli", "-C", str(root), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout.rstrip(), done.stderr.rstrip(), sep="\n" if done.stderr else "")
    if done.returncode != 0:
        raise SystemExit(f"mckpt {' '.join(words)} ended with {done.returncode}")
    return done.stdout


def start_training(root: Path, experiment: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "train.py"), str(root), "--experiment", experiment, "--steps", str(STEPS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def train_to_the_end(root: Path, experiment: str) -> str:
    """Train without a break; returns what the training printed first: its resume report."""
    process = start_training(root, experiment)
    output, _ = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"training ended with {process.returncode}")
    return output.partition("\nstep ")[0]


def train_and_kill(root: Path, experiment: str, after_step: int) -> int:
    """Train, and send SIGKILL while a save is being written; returns the last step that was announced."""
    process = start_training(root, experiment)
    assert process.stdout is not None
    step = -1
    while step < after_step:
        line = process.stdout.readline()
        if not line:
            raise SystemExit("training ended before it could be killed")
        if line.startswith("step "):
            step = int(line.split()[1])
    staging = root / ".staging"
    deadline = time.monotonic() + 60
    while not any(staging.glob("*/*.safetensors")):
        if time.monotonic() > deadline or process.poll() is not None:
            raise SystemExit("no save was seen in flight")
    time.sleep(random.uniform(0, 0.005))
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = [path.name for path in staging.iterdir() if path.is_dir()]
    print(f"killed with SIGKILL after step {step}; half-written and invisible: .staging/{', '.join(left)}")
    return step


def open_without_us(directory: Path) -> float:
    """Read the weights with the safetensors package alone and measure their accuracy."""
    sys.path.insert(0, str(HERE))
    import torch
    from safetensors.torch import load_file
    from train import digits, evaluate, network

    model = network()
    model.load_state_dict(load_file(directory / "model.safetensors"))
    torch.set_num_threads(1)
    _, _, images, labels = digits()
    return evaluate(model, images, labels)["val_accuracy"]


def load_speed(directory: Path) -> tuple[float, float]:
    """Megabytes of a checkpoint, and the median seconds of five verified loads of it."""
    import statistics

    import model_checkpoint as mc

    def once() -> float:
        start = time.perf_counter()
        mc.load(directory)
        return time.perf_counter() - start

    megabytes = sum(path.stat().st_size for path in directory.iterdir()) / 1e6
    return megabytes, statistics.median(once() for _ in range(5))


def main(root: Path) -> None:
    import model_checkpoint as mc

    say("1. Train on 1,437 handwritten digits without a break (the reference)")
    start = time.perf_counter()
    print(train_to_the_end(root, "reference"))
    print(f"{STEPS} steps in {time.perf_counter() - start:.1f} s")

    say("2. The same training, killed in the middle of a save")
    train_and_kill(root, "digits", after_step=STEPS // 2)

    say("3. Start it again: it finds the last good checkpoint and goes on")
    print(train_to_the_end(root, "digits"))

    say("4. Is the result the same, bit for bit?")
    with (
        mc.CheckpointManager(root, experiment="reference") as reference,
        mc.CheckpointManager(root, experiment="digits") as resumed,
    ):
        a, b, best = reference.latest, resumed.latest, resumed.best
    assert a is not None
    assert b is not None
    assert best is not None
    print(f"reference  {a.ref:32} content {a.content}\nresumed    {b.ref:32} content {b.content}")
    if a.content != b.content:
        raise SystemExit("the resumed run differs from the reference")
    print("identical: weights, optimizer, scheduler, data order and random state")

    say("5. What is kept, and why")
    mckpt(root, "ls", "digits")

    say("6. Verify every byte of every checkpoint")
    mckpt(root, "verify", "--all")

    say("7. The best one, opened by the safetensors package without us")
    mckpt(root, "best", "digits")
    accuracy = open_without_us(root / best.path)
    print(f"accuracy on the held-out fifth: {accuracy:.1%} (recorded at the save: {best.metrics['val_accuracy']:.1%})")
    if abs(accuracy - best.metrics["val_accuracy"]) > 1e-6:
        raise SystemExit("the weights do not give the recorded accuracy")

    megabytes, seconds = load_speed(root / best.path)
    say("Summary")
    print(f"killed mid-save, resumed bit-exactly, {len(json.dumps(best.content)) - 2} hex digits of content agree")
    print(f"best: step {best.step}, val_loss {best.metrics['val_loss']:.4f}, accuracy {accuracy:.1%}")
    print(f"verified load of {megabytes:.0f} MB: {seconds * 1e3:.0f} ms ({megabytes / 1e3 / seconds:.1f} GB/s)")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory(prefix="mckpt-demo-") as directory:
            main(Path(directory) / "runs")
