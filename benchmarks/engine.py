"""Us and the peers side by side in one run, with the ceilings of the machine: the table of docs/performance.md.

    python -m benchmarks.engine --size 4GiB [--repeats 5] [--dir DIR] [--only save,hot,...] [--json FILE]

Every answer is checked bit for bit. The exit code is 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from torch.distributed.checkpoint.state_dict_saver import async_save

import model_checkpoint as mc
from benchmarks import ceilings
from benchmarks.harness import (
    Contender,
    Sample,
    alternate,
    cpu_model,
    drop_cache,
    peak_memory,
    reset_peak_memory,
    settle,
    warm_cache,
)
from benchmarks.models import assert_equal, llama_of, many_small, size_of
from model_checkpoint import _native
from model_checkpoint.storage.safetensors.plain_file import open_plain


@dataclass(frozen=True, slots=True)
class Target:
    """One promise: what was measured, against what, and the least (or most) that is acceptable."""

    what: str
    value: float
    bound: float
    unit: str
    at_least: bool = True

    @property
    def met(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"{'ok  ' if self.met else 'MISS'}  {self.what:62} {self.value:8.2f} {self.unit:3} {sign} {self.bound:g}"


@dataclass
class Bench:
    """The state of one run: the model, the directory, and what has been measured."""

    state: dict[str, torch.Tensor]
    directory: Path
    repeats: int
    samples: dict[str, Sample] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nbytes = size_of(self.state)
        self.ours = self.directory / "ours.safetensors"
        self.pickle = self.directory / "torch.pt"
        self.theirs = self.directory / "theirs.safetensors"

    def compare(self, group: str, contenders: list[Contender], nbytes: int | None = None) -> dict[str, Sample]:
        """Measure contenders in turn, print their rows, and remember the samples."""
        print(f"\n{group}", flush=True)
        samples = alternate(contenders, nbytes or self.nbytes, self.repeats)
        for name, sample in samples.items():
            self.samples[f"{group}: {name}"] = sample
            print(
                f"  {name:52} {sample.rate:7.2f} GB/s  {sample.median * 1e3:9.1f} ms  ±{sample.spread / 2:4.0%}",
                flush=True,
            )
        return samples

    def require(self, what: str, value: float, bound: float, unit: str = "x", *, at_least: bool = True) -> None:
        target = Target(what, value, bound, unit, at_least)
        self.targets.append(target)
        print(f"  {target}", flush=True)

    def written(self) -> None:
        """Make sure that the files that the loads read exist."""
        if not self.ours.exists():
            mc.save_file(self.state, self.ours)
        if not self.pickle.exists():
            torch.save(self.state, self.pickle)
        if not self.theirs.exists():
            safetensors.torch.save_file(self.state, self.theirs)


def _unlink(*paths: Path) -> Callable[[], None]:
    def remove() -> None:
        for path in paths:
            path.unlink(missing_ok=True)
        os.sync()

    return remove


def bench_save(bench: Bench) -> None:
    """Durable, hashed save against peers that neither sync nor hash, and against raw direct writes."""
    raw = bench.directory / "raw"
    memory = ceilings.aligned_memory(bench.nbytes // ceilings.BLOCK * ceilings.BLOCK)

    def verified(answer: object) -> None:
        assert isinstance(answer, mc.Receipt)
        if mc.verify(bench.ours).digest != answer.digest:
            raise AssertionError("the receipt's digest is not the file's")

    def torch_save_synced() -> None:
        torch.save(bench.state, bench.pickle)
        fd = os.open(bench.pickle, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)

    samples = bench.compare(
        "save",
        [
            Contender(
                "raw O_DIRECT write + fsync, 2 threads", lambda: ceilings.direct_write(raw, memory, 2), _unlink(raw)
            ),
            Contender(
                "raw O_DIRECT write + fsync, 4 threads", lambda: ceilings.direct_write(raw, memory, 4), _unlink(raw)
            ),
            Contender(
                "model_checkpoint.save_file (SHA-256, fsync)",
                lambda: mc.save_file(bench.state, bench.ours),
                _unlink(bench.ours, raw),
                verified,
            ),
            Contender(
                "torch.save (no hash, no fsync)", lambda: torch.save(bench.state, bench.pickle), _unlink(bench.pickle)
            ),
            Contender("torch.save + fsync", torch_save_synced, _unlink(bench.pickle)),
            Contender(
                "safetensors.save_file (no hash, no fsync)",
                lambda: safetensors.torch.save_file(bench.state, bench.theirs),
                _unlink(bench.theirs),
            ),
        ],
    )
    raw.unlink(missing_ok=True)
    memory.close()
    ours = samples["model_checkpoint.save_file (SHA-256, fsync)"]
    ceiling = max(sample.rate for name, sample in samples.items() if name.startswith("raw"))
    theirs = max(sample.rate for name, sample in samples.items() if name.startswith("torch.save"))
    bench.require("durable hashed save / torch.save (its better row)", ours.rate / theirs, 2.5)
    bench.require("durable hashed save / raw O_DIRECT write", ours.rate / ceiling, 0.75)


def _load_contenders(bench: Bench, before: Callable[[Path], Callable[[], None]]) -> list[Contender]:
    def check(answer: object) -> None:
        assert_equal(answer, bench.state)

    def cloned() -> dict[str, torch.Tensor]:
        with safetensors.safe_open(bench.theirs, "pt") as file:
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a mapping

    return [
        Contender(
            "model_checkpoint.load_file (SHA-256 checked)",
            lambda: mc.load_file(bench.ours, verify="full"),
            before(bench.ours),
            check,
        ),
        Contender(
            "model_checkpoint.load_file, verify='none'",
            lambda: mc.load_file(bench.ours, verify="none"),
            before(bench.ours),
            check,
        ),
        Contender("torch.load (unchecked)", lambda: torch.load(bench.pickle), before(bench.pickle), check),
        Contender("safetensors safe_open + clone (unchecked)", cloned, before(bench.theirs), check),
    ]


def bench_hot(bench: Bench) -> None:
    """Load into owned memory from the page cache, which holds one file at a time: three would leave little memory."""
    bench.written()
    model = {name: torch.zeros_like(tensor) for name, tensor in bench.state.items()}
    checkpoint = bench.directory / "checkpoint"
    mc.save({"model": bench.state}, checkpoint)
    component = checkpoint / "model.safetensors"

    def only(path: Path) -> Callable[[], None]:
        def prepare() -> None:
            for other in {bench.ours, bench.pickle, bench.theirs, component} - {path}:
                drop_cache(other)
            warm_cache(path)

        return prepare

    restored = Contender(
        "model_checkpoint.load(into=model) (SHA-256 checked)",
        lambda: mc.load(checkpoint, into={"model": model}),
        only(component),
        lambda _report: assert_equal(model, bench.state),
    )
    samples = bench.compare("load, hot", [*_load_contenders(bench, only), restored])
    shutil.rmtree(checkpoint)
    theirs = samples["torch.load (unchecked)"].rate
    for name in ("load_file", "load(into=model)"):
        ours = samples[f"model_checkpoint.{name} (SHA-256 checked)"].rate
        bench.require(f"hot verified {name} / torch.load", ours / theirs, 2.0)


def bench_cold(bench: Bench) -> None:
    """Load into owned memory with the page cache dropped before every run."""
    bench.written()
    memory = ceilings.aligned_memory(bench.nbytes // ceilings.BLOCK * ceilings.BLOCK)
    raw = Contender(
        "raw O_DIRECT read, 4 threads",
        lambda: ceilings.direct_read(bench.ours, memory, 4),
        lambda: drop_cache(bench.ours),
    )
    samples = bench.compare("load, cold", [raw, *_load_contenders(bench, lambda path: lambda: drop_cache(path))])
    memory.close()
    ours = samples["model_checkpoint.load_file (SHA-256 checked)"]
    theirs, ceiling = samples["torch.load (unchecked)"], samples["raw O_DIRECT read, 4 threads"]
    bench.require("cold verified load / raw O_DIRECT read", ours.rate / ceiling.rate, 0.75)
    bench.require(
        "cold verified load / torch.load", ours.rate / theirs.rate, min(4.0, 0.75 * ceiling.rate / theirs.rate)
    )


def bench_mmap(bench: Bench) -> None:
    """Zero-copy load, every byte verified, against our kernel over memory that is warm and mapped."""
    bench.written()
    warm_cache(bench.ours)
    plain = open_plain(bench.ours)
    header = plain.header
    entries = header.entries.values()
    with bench.ours.open("rb") as file:
        mapping = _native.map_file(file.fileno(), plain.path, header.file_bytes)
    spans = (
        [header.data_offset + entry.begin for entry in entries],
        [entry.nbytes for entry in entries],
        [*header.entries],
    )
    first_chunks = [header.first_chunks[name] for name in header.entries]
    table = header.table
    assert table is not None

    def kernel() -> None:
        _native.verify_mapping(mapping, plain.path, *spans, table=table, first_chunks=first_chunks)

    samples = bench.compare(
        "load, mmap=True",
        [
            Contender("hashing ceiling: our kernel, warm mapped memory", kernel),
            Contender(
                "model_checkpoint.load_file(mmap=True), SHA-256 checked",
                lambda: mc.load_file(bench.ours, mmap=True, verify="full"),
                check=lambda answer: assert_equal(answer, bench.state),
            ),
        ],
    )
    ceiling, ours = samples.values()
    bench.require("mmap verified load / hashing ceiling", ours.rate / ceiling.rate, 0.85)


def bench_open(bench: Bench) -> None:
    """Unverified mmap open of a 10 GB file."""
    path = bench.directory / "ten-gigabytes.safetensors"
    shape = (2048, 4096)
    count = 10_000_000_000 // (2 * shape[0] * shape[1]) + 1
    zero = torch.zeros(shape, dtype=torch.bfloat16)
    mc.save_file({f"layer.{i}.weight": zero.clone() if i == 0 else zero + i for i in range(count)}, path)
    nbytes = path.stat().st_size

    def opened(answer: object) -> None:
        assert isinstance(answer, dict)
        assert len(answer) == count
        assert float(answer[f"layer.{count - 1}.weight"][0, 0]) == float(torch.tensor(count - 1, dtype=torch.bfloat16))

    samples = bench.compare(
        f"open {nbytes / 1e9:.1f} GB, mmap=True, verify='none'",
        [Contender("model_checkpoint.load_file", lambda: mc.load_file(path, mmap=True, verify="none"), check=opened)],
        nbytes,
    )
    path.unlink()
    bench.require(
        "unverified mmap open of 10 GB", samples["model_checkpoint.load_file"].median * 1e3, 50, "ms", at_least=False
    )


def bench_stall(bench: Bench) -> None:
    """How long a background save holds the training loop."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")
    torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    root = bench.directory / "runs"
    stalls: dict[str, list[float]] = {"ours": [], "dcp": []}
    with mc.CheckpointManager(root, experiment="stall", keep=mc.Keep.last(1), cache=None, progress=False) as ckpts:
        ckpts.track(model=bench.state)
        for turn in range(bench.repeats + 2):
            settle()
            start = time.perf_counter()
            handle = ckpts.save(turn)
            ours = time.perf_counter() - start
            handle.result()
            ckpts.wait()
            shutil.rmtree(bench.directory / "dcp", ignore_errors=True)
            settle()
            start = time.perf_counter()
            future = async_save(bench.state, checkpoint_id=bench.directory / "dcp")
            theirs = time.perf_counter() - start
            assert isinstance(future, Future)
            future.result()
            if turn >= 2:  # the first saves allocate what later ones reuse
                stalls["ours"].append(ours)
                stalls["dcp"].append(theirs)
        assert_equal(ckpts.load("latest")["model"], bench.state)
    torch.distributed.destroy_process_group()
    shutil.rmtree(root)
    shutil.rmtree(bench.directory / "dcp")
    print("\nstall of a background save")
    samples = {name: Sample(tuple(seconds), bench.nbytes) for name, seconds in stalls.items()}
    for name, sample in samples.items():
        bench.samples[f"stall: {name}"] = sample
        print(f"  {name:52} {sample.rate:7.2f} GB/s  {sample.median * 1e3:9.1f} ms  ±{sample.spread / 2:4.0%}")
    bench.require("rate of the copy that save() waits for", samples["ours"].rate, 10, "GB/s")
    bench.require("stall of DCP async_save / ours", samples["dcp"].median / samples["ours"].median, 4.0)


def bench_small(bench: Bench) -> None:
    """100,000 small tensors."""
    state = many_small(100_000)
    path = bench.directory / "small.safetensors"
    theirs = bench.directory / "small-theirs.safetensors"
    samples = bench.compare(
        "100,000 small tensors",
        [
            Contender("model_checkpoint.save_file", lambda: mc.save_file(state, path)),
            Contender(
                "model_checkpoint.load_file (SHA-256 checked)",
                lambda: mc.load_file(path, verify="full"),
                check=lambda answer: assert_equal(answer, state),
            ),
            Contender("safetensors.save_file", lambda: safetensors.torch.save_file(state, theirs)),
            Contender("safetensors.load_file", lambda: safetensors.torch.load_file(theirs)),
        ],
        size_of(state),
    )
    save, load = (samples[f"model_checkpoint.{name}"] for name in ("save_file", "load_file (SHA-256 checked)"))
    bench.require("save 100,000 tensors", save.median, 3, "s", at_least=False)
    bench.require("load 100,000 tensors, verified", load.median, 3, "s", at_least=False)


def bench_memory(bench: Bench) -> None:
    """Peak resident memory beyond the data, in a process of its own."""
    print("\nmemory beyond the data")
    bench.written()
    for action in ("save", "load", "background"):
        command = [sys.executable, "-m", "benchmarks.engine", "--measure-memory", action, "--dir", str(bench.directory)]
        done = subprocess.run([*command, "--size", str(bench.nbytes)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        bench.require(f"memory beyond the data: {action}", int(done.stdout) / 2**20, 64, "MiB", at_least=False)


def measure_memory(action: str, directory: Path, nbytes: int) -> int:
    """Bytes of peak resident memory beyond the data (and, in the background, the snapshot) of one action."""
    small = {"w": torch.zeros(1 << 20)}
    mc.save_file(small, directory / "warm.safetensors")  # imports and pools are not what is measured
    mc.load_file(directory / "warm.safetensors")
    if action == "load":
        before = reset_peak_memory()
        state = mc.load_file(directory / "ours.safetensors")
        return peak_memory() - before - size_of(state)
    state = llama_of(nbytes)
    if action == "save":
        before = reset_peak_memory()
        mc.save_file(state, directory / "memory.safetensors")
        return peak_memory() - before
    with mc.CheckpointManager(directory / "memory-runs", experiment="memory", cache=None, progress=False) as ckpts:
        ckpts.track(model=small)
        ckpts.save(0).result()
    with mc.CheckpointManager(directory / "memory-runs", experiment="memory", cache=None, progress=False) as ckpts:
        ckpts.track(model=state)
        before = reset_peak_memory()
        ckpts.save(1).result()
        peak = peak_memory()
    shutil.rmtree(directory / "memory-runs")
    return peak - before - size_of(state)


GROUPS: dict[str, Callable[[Bench], None]] = {
    "save": bench_save,
    "hot": bench_hot,
    "cold": bench_cold,
    "mmap": bench_mmap,
    "stall": bench_stall,
    "memory": bench_memory,
    "small": bench_small,
    "open": bench_open,
}


def parse_size(text: str) -> int:
    """Bytes of ``"4GiB"``, ``"500MB"`` or a plain number."""
    for suffix, factor in (("GiB", 2**30), ("MiB", 2**20), ("GB", 10**9), ("MB", 10**6)):
        if text.endswith(suffix):
            return int(float(text.removesuffix(suffix)) * factor)
    return int(text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=parse_size, default=parse_size("4GB"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dir", type=Path, help="where to write; a fresh directory under ./bench-data by default")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(GROUPS), metavar=",".join(GROUPS))
    parser.add_argument("--json", type=Path, help="write samples and targets here")
    parser.add_argument("--measure-memory", choices=("save", "load", "background"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure_memory:
        print(measure_memory(arguments.measure_memory, arguments.dir, arguments.size))
        return 0
    Path("bench-data").mkdir(exist_ok=True)
    directory = arguments.dir or Path(tempfile.mkdtemp(dir="bench-data"))
    try:
        return run(arguments, directory.resolve())
    finally:
        if arguments.dir is None:
            shutil.rmtree(directory)


def run(arguments: argparse.Namespace, directory: Path) -> int:
    bench = Bench(llama_of(arguments.size), directory, arguments.repeats)
    versions = f"torch {torch.__version__}, safetensors {safetensors.__version__}, Python {platform.python_version()}"
    print(f"{cpu_model()}, {os.cpu_count()} CPUs; Linux {platform.release()}; {versions}")
    print(f"kernels {_native.kernels()}; {bench.nbytes / 1e9:.2f} GB of bfloat16 in {len(bench.state)} tensors")
    print(f"median of {bench.repeats} alternating runs after a warm-up, ± half the spread")
    for group in arguments.only:
        GROUPS[group](bench)
    print("\ntargets")
    for target in bench.targets:
        print(f"  {target}")
    if arguments.json:
        samples = {name: {"rate": sample.rate, **asdict(sample)} for name, sample in bench.samples.items()}
        targets = [{"met": target.met, **asdict(target)} for target in bench.targets]
        arguments.json.write_text(json.dumps({"cpu": cpu_model(), "samples": samples, "targets": targets}, indent=1))
    return 0 if all(target.met for target in bench.targets) else 1


if __name__ == "__main__":
    sys.exit(main())
