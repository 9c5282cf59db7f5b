"""Ten gigabytes, every byte verified: how many seconds, and which machines need one.

    python -m benchmarks.ten_gigabytes [--size 10GB] [--cores 1,2] [--repeats 3] [--dir DIR] [--json FILE]

Builds a checkpoint and loads it mapped, into memory of its own, in place, and into a GPU where there is one, from the
page cache and from storage. Each measurement is a process of its own that may use so many cores and no more. Rates
of one core, measured alike, are what the model (benchmarks/load_time.py) predicts the times from: with more cores it
has seen nothing of what it predicts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import model_checkpoint as mc
from benchmarks.harness import cpu_model
from benchmarks.load_time import INFINITE, LoadTime, in_turn
from benchmarks.models import llama_of, size_of
from benchmarks.sizes import parse_size

CLAIM_BYTES, CLAIM_SECONDS = 10_000_000_000, 1.0
CORE_WORK = {  # beside hashing, for each byte
    "mapped": (),
    "owned": ("make pages", "cached read"),
    "in place": ("cached read",),
    "gpu": ("cached read",),
}
STORAGE = {"NVMe, PCIe 4": 7.0, "NVMe, PCIe 5": 14.0, "4 x NVMe, PCIe 4": 28.0, "page cache": INFINITE}
CORES = (2, 4, 8, 16, 32)
CONSIDERED = tuple(sorted(os.sched_getaffinity(0)))


@dataclass(frozen=True, slots=True)
class Comparison:
    """A measured load beside its prediction, in seconds."""

    mode: str
    cache: str
    cores: int
    measured: float
    predicted: float
    bound: str

    @property
    def error(self) -> float:
        """How much longer (or, below zero, shorter) than was predicted."""
        return self.measured / self.predicted - 1


@dataclass(frozen=True, slots=True)
class Place:
    """A checkpoint to load, and one of as many tensors with next to no bytes."""

    checkpoint: Path
    hollow: Path
    nbytes: int
    repeats: int


def build(directory: Path, nbytes: int, repeats: int) -> Place:
    state = llama_of(nbytes)
    full, hollow = directory / "checkpoint", directory / "hollow"
    mc.save({"model": state}, full)
    mc.save({"model": {name: torch.zeros(1, dtype=tensor.dtype) for name, tensor in state.items()}}, hollow)
    return Place(full, hollow, size_of(state), repeats)


def child(cores: int, *words: str) -> Any:
    """What benchmarks.verified_load prints in a process that has ``cores`` cores."""
    pinned = ["taskset", "-c", ",".join(map(str, CONSIDERED[:cores]))] if shutil.which("taskset") else []
    command = [*pinned, sys.executable, "-m", "benchmarks.verified_load", *words]
    environment = {**os.environ, "MCKPT_THREADS": str(cores), "OMP_NUM_THREADS": str(cores)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def median_seconds(place: Place, checkpoint: Path, mode: str, cache: str, cores: int) -> float:
    seconds: list[float] = child(cores, "load", mode, cache, str(checkpoint), str(place.repeats))
    return statistics.median(seconds)


def load_time(rates: dict[str, float], mode: str, cache: str, fixed: float) -> LoadTime:
    """The model of one way to load, from the rates of one core."""
    work = [name for name in CORE_WORK[mode] if cache == "hot" or name != "cached read"]  # else the device writes
    return LoadTime(
        core=in_turn(rates["hash"], *(rates[name] for name in work)),
        storage=rates["direct read"] if cache == "cold" else INFINITE,
        bus=rates["host to device"] if mode == "gpu" else INFINITE,
        fixed=fixed,
    )


def comparisons(place: Place, cores: Sequence[int], rates: dict[str, float]) -> Iterator[Comparison]:
    for mode in CORE_WORK:
        if mode == "gpu" and "host to device" not in rates:
            print("  gpu: torch sees no CUDA device")
            continue
        for cache in ("hot", "cold"):
            if (lack := shortage(place.nbytes, mode, cache)) is not None:
                print(f"  {mode}, {cache}: {lack}")
                continue
            for count in cores:
                fixed = median_seconds(place, place.hollow, mode, "hot", count)
                model = load_time(rates, mode, cache, fixed)
                measured = median_seconds(place, place.checkpoint, mode, cache, count)
                predicted = model.seconds(place.nbytes, count)
                yield Comparison(mode, cache, count, measured, predicted, model.bound(count))


def shortage(nbytes: int, mode: str, cache: str) -> str | None:
    """Why memory does not suffice for the file in the page cache, the tensors, and what the process needs besides."""
    needed = nbytes * ((cache == "hot") + (mode in {"owned", "in place"})) + (1 << 30)
    with open("/proc/meminfo", encoding="ascii") as file:
        available = next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable"))
    if needed <= available:
        return None
    return f"needs {needed / 1e9:.0f} GB of memory, and {available / 1e9:.0f} GB are available"


def machines(rates: dict[str, float], mode: str, fixed: float) -> list[str]:
    """Predicted seconds for the claim, by cores like this one's and by storage."""
    lines = [f"  {'':20}" + "".join(f"{f'{cores} cores':>11}" for cores in CORES) + "   cores for one second"]
    for name, storage in STORAGE.items():
        cache = "hot" if storage == INFINITE else "cold"
        model = load_time({**rates, "direct read": storage}, mode, cache, fixed)
        enough = model.cores_for(CLAIM_BYTES, CLAIM_SECONDS)
        cells = "".join(f"{model.seconds(CLAIM_BYTES, cores):9.2f} s" for cores in CORES)
        lines.append(f"  {name:20}{cells}   {'no number: ' + model.bound(10**6) if enough is None else enough}")
    return lines


def report(place: Place, cores: Sequence[int]) -> dict[str, Any]:
    """Measure, print, and return what was measured."""
    print(f"{cpu_model()}, {len(CONSIDERED)} cores; {place.nbytes / 1e9:.2f} GB; median of {place.repeats} loads\n")
    found = {count: child(count, "rates", str(place.checkpoint), str(place.repeats)) for count in {1, *cores}}
    for count, rates in sorted(found.items()):
        print(f"  {count} cores: " + ", ".join(f"{name} {rate:.2f} GB/s" for name, rate in rates.items()))
    one = {**found[1], "direct read": max(rates["direct read"] for rates in found.values())}
    print(f"\n  {'verified load':22} {'cores':>5} {'measured':>10} {'predicted':>10} {'error':>7}  waits for")
    rows = []
    for row in comparisons(place, cores, one):
        rows.append(row)
        figures = f"{row.cores:5} {row.measured:8.3f} s {row.predicted:8.3f} s {row.error:+7.0%}  {row.bound}"
        print(f"  {f'{row.mode}, {row.cache}':22} {figures}", flush=True)
    for mode in [mode for mode in CORE_WORK if mode != "gpu" or "host to device" in one]:
        fixed = median_seconds(place, place.hollow, mode, "hot", max(cores))
        print(f"\npredicted: 10 GB verified, {mode}, with cores like these; fixed cost {fixed * 1e3:.1f} ms")
        print("\n".join(machines(one, mode, fixed)), flush=True)
    return {"cpu": cpu_model(), "nbytes": place.nbytes, "rates": found, "loads": [asdict(row) for row in rows]}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ten_gigabytes", description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=parse_size, default=CLAIM_BYTES)
    parser.add_argument("--cores", type=lambda text: [int(part) for part in text.split(",")], metavar="1,2")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dir", type=Path, default=Path("bench-data"), help="where to write; ./bench-data by default")
    parser.add_argument("--json", type=Path, help="write what was measured here")
    arguments = parser.parse_args(argv)
    cores = arguments.cores or [count for count in (1, 2) if count <= len(CONSIDERED)]
    if max(cores) > len(CONSIDERED):
        parser.error(f"there are {len(CONSIDERED)} cores")
    arguments.dir.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.dir) as directory:
        measured = report(build(Path(directory).resolve(), arguments.size, arguments.repeats), cores)
    if arguments.json:
        arguments.json.write_text(json.dumps(measured, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
