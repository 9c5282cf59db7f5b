"""Peak resident memory beyond the data, each action in a process of its own.

python -m benchmarks.workloads.memory save|load|background DIRECTORY BYTES
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

import model_checkpoint as mc
from benchmarks.files import unlink
from benchmarks.harness import peak_memory, reset_peak_memory
from benchmarks.models import llama_of, size_of
from benchmarks.run import Run
from benchmarks.target import Target


def measure(run: Run) -> None:
    run.files.path("safetensors")
    print("\nmemory beyond the data", flush=True)
    for action in MEASURES:
        command = [sys.executable, "-m", __spec__.name, action, str(run.directory), str(run.nbytes)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        run.require(Target(f"memory beyond the data: {action}", int(done.stdout) / 2**20, 64, "MiB", at_least=False))


def of_load(directory: Path, _nbytes: int) -> int:
    before = reset_peak_memory()
    state = mc.load_file(directory / "model.safetensors")
    return peak_memory() - before - size_of(state)


def of_save(directory: Path, nbytes: int) -> int:
    state = llama_of(nbytes)
    before = reset_peak_memory()
    mc.save_file(state, directory / "memory.safetensors")
    peak = peak_memory()
    unlink(directory / "memory.safetensors")
    return peak - before


def of_background(directory: Path, nbytes: int) -> int:
    """Beyond the data and its snapshot."""
    state = llama_of(nbytes)
    root = directory / "memory-runs"
    _background_save(root, 0, {"w": torch.zeros(1 << 20)})
    before = reset_peak_memory()
    _background_save(root, 1, state)
    peak = peak_memory()
    unlink(root)
    return peak - before - size_of(state)


def _background_save(root: Path, step: int, state: dict[str, torch.Tensor]) -> None:
    with mc.CheckpointManager(root, experiment="memory", cache=None, progress=False) as ckpts:
        ckpts.track(model=state)
        ckpts.save(step).result()


MEASURES = {"save": of_save, "load": of_load, "background": of_background}


def main(action: str, directory: Path, nbytes: int) -> None:
    """Print the bytes of one action."""
    warm = directory / "warm.safetensors"
    mc.save_file({"w": torch.zeros(1 << 20)}, warm)  # imports and pools are not what is measured
    mc.load_file(warm)
    unlink(warm)
    print(MEASURES[action](directory, nbytes))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
