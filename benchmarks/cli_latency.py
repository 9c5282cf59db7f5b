"""How long `mckpt ls` takes as a whole process, on a store of 200 checkpoints, beside a bare Python in the same run.

    python -m benchmarks.cli_latency [--repeats 20]

The target is 150 ms, on a machine that starts Python in about 10 ms.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.harness import Contender, Sample, alternate

CHECKPOINTS = 200
TARGET_S = 0.150


def build_store(root: Path) -> None:
    """Two experiments with a policy and a metric, as a training would leave them."""
    import numpy as np

    from model_checkpoint import CheckpointManager, Keep

    state = {"weight": np.zeros(1000, np.float32)}
    for experiment in ("digits", "gpt2"):
        open_manager = partial(CheckpointManager, root, experiment=experiment, monitor="val_loss", progress=False)
        with open_manager() as manager:
            manager.track(model=state)
            for step in range(CHECKPOINTS // 2):
                manager.save(step, metrics={"val_loss": 1 / (step + 1), "accuracy": step / CHECKPOINTS})
        open_manager(keep=Keep.last(3) | Keep.best(2) | Keep.every(10)).close()


def process(name: str, *words: str, expected: str = "", times: int = 0) -> Contender:
    """A process that must succeed and print something so many times."""

    def run() -> object:
        return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True).stdout

    def check(answer: object) -> None:
        if times and str(answer).count(expected) != times:
            raise RuntimeError(f"{name} did not print {expected!r} {times} times")

    return Contender(name, run, check=check)


def report(samples: dict[str, Sample]) -> None:
    for name, sample in samples.items():
        fastest = min(sample.seconds)
        print(f"{name:<15}  median {sample.median * 1e3:6.1f} ms   fastest {fastest * 1e3:6.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    repeats: int = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "runs"
        build_store(root)
        command = ("-m", "model_checkpoint.cli", "-C", str(root))
        contenders = [
            process("python -c pass", "-c", "pass"),
            process("mckpt ls --all", *command, "ls", "--all", expected=" committed\n", times=CHECKPOINTS),
            process("mckpt ls --json", *command, "ls", "--json", expected='"ref"', times=CHECKPOINTS // 2),
        ]
        samples = alternate(contenders, nbytes=0, repeats=repeats)
    report(samples)
    slowest = max(sample.median for sample in samples.values())
    print(f"target {TARGET_S * 1e3:.0f} ms: {'met' if slowest <= TARGET_S else 'MISSED'}")
    sys.exit(slowest > TARGET_S)


if __name__ == "__main__":
    main()
