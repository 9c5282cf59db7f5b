"""Restores into a GPU and background saves out of one: us, the peers, and the ceilings of the machine in one run.

    python -m benchmarks.gpu_restore [--size 10GB] [--repeats 5] [--device cuda:0] [--only hot,...] [--json FILE]
    python -m benchmarks.gpu_restore --dry-run          # what would be run here, and which peers are missing

All but torch.load read the same file. Every answer is compared on the device, bit for bit. Before each run the
allocator of the device gives its memory back, so that nobody finds what another one has left. The device must hold the
model four times, and the page cache three files of its size. Exit code: 1 if a target is missed, 2 without a CUDA
device.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import math
import mmap
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch.distributed.checkpoint.staging import BlockingAsyncStager
from torch.distributed.checkpoint.state_dict_saver import async_save

import model_checkpoint as mc
from benchmarks import ceilings
from benchmarks.harness import Contender, Sample, alternate, cpu_model, drop_cache, settle, warm_cache
from benchmarks.models import assert_equal, llama_of, size_of
from benchmarks.sizes import parse_size
from benchmarks.target import Target
from model_checkpoint import _native

State = dict[str, torch.Tensor]

PIECE = 32 << 20
PINNED_BYTES = 1 << 30
STREAMS = (1, 4)
PEERS = ("fastsafetensors", "runai_model_streamer")
OURS = "model_checkpoint.load_file, every SHA-256 checked"
SAFETENSORS = "safetensors load_file (unchecked)"


@dataclass
class Run:
    """What is compared, where, and what came of it.

    Attributes:
        state: The model, on the device; empty in a dry run.
    """

    device: torch.device
    directory: Path
    repeats: int
    state: State = field(default_factory=dict)
    samples: dict[str, Sample] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nbytes = size_of(self.state)
        self.plain = self.directory / "model.safetensors"
        self.pickle = self.directory / "model.pt"
        self.checkpoint = self.directory / "checkpoint"

    def write(self) -> None:
        """The files that are loaded."""
        mc.save_file(self.state, self.plain)
        torch.save(self.state, self.pickle)
        mc.save({"model": self.state}, self.checkpoint)

    def measure(self, group: str, contenders: list[Contender], ceiling: float = math.nan) -> dict[str, Sample]:
        """Run contenders in turn and print a row for each; ``ceiling`` is in GB/s."""
        print(f"\n{group:56}     GB/s          ms        share of the ceiling", flush=True)
        samples = alternate([self._settled(contender) for contender in contenders], self.nbytes, self.repeats)
        for name, sample in samples.items():
            self.note(f"{group}: {name}", sample, ceiling)
        return samples

    def note(self, name: str, sample: Sample, ceiling: float) -> None:
        self.samples[name] = sample
        share = "" if math.isnan(ceiling) else f"{sample.rate / ceiling:6.0%}"
        row = (
            f"  {name.partition(': ')[2]:54} {sample.rate:8.2f}  {sample.median * 1e3:10.1f} ±{sample.spread / 2:4.0%}"
        )
        print(f"{row}  {share}", flush=True)

    def require(self, what: str, value: float, bound: float, unit: str = "x", *, at_least: bool = True) -> None:
        self.targets.append(Target(what, value, bound, unit, at_least))

    def best(self, group: str) -> float:
        """The highest rate of a group in GB/s; not a number if it was not measured."""
        rates = [sample.rate for name, sample in self.samples.items() if name.startswith(group)]
        return max(rates, default=math.nan)

    def _settled(self, contender: Contender) -> Contender:
        def before() -> None:
            torch.cuda.empty_cache()
            contender.before()
            torch.cuda.synchronize(self.device)

        def run() -> object:
            answer = contender.run()
            torch.cuda.synchronize(self.device)
            return answer

        return Contender(contender.name, run, before, contender.check)


class Bus:
    """Copies between page-locked host memory and a device, in pieces that take turns on several streams."""

    def __init__(self, device: torch.device, nbytes: int) -> None:
        size = -(-min(nbytes, PINNED_BYTES) // PIECE) * PIECE
        self._host = torch.empty(size, dtype=torch.uint8, pin_memory=True)
        self._memory = torch.empty(nbytes, dtype=torch.uint8, device=device)
        self._streams = [torch.cuda.Stream(device) for _ in range(max(STREAMS))]

    def copy(self, streams: int, *, to_device: bool) -> None:
        """Enqueue copies of all the device's memory; the caller synchronizes."""
        for index, piece in enumerate(self._memory.split(PIECE)):
            start = index * PIECE % len(self._host)
            place = self._host[start : start + len(piece)]
            source, dest = (place, piece) if to_device else (piece, place)
            with torch.cuda.stream(self._streams[index % streams]):
                dest.copy_(source, non_blocking=True)


class FastSafetensors:
    """Its tensors lie in memory that its loader frees, so that the loader lives until they are checked."""

    def __init__(self, path: Path, device: torch.device) -> None:
        self._path, self._device = path, device
        self._open: list[Any] = []

    def load(self) -> State:
        module = importlib.import_module("fastsafetensors")
        loader = module.SafeTensorsFileLoader(module.SingleGroup(), str(self._device), nogds=True)
        self._open.append(loader)
        loader.add_filenames({0: [str(self._path)]})
        buffers = loader.copy_files_to_device()
        self._open.append(buffers)
        return {name: buffers.get_tensor(name) for name in loader.get_keys()}

    def release(self) -> None:
        while self._open:
            self._open.pop().close()


def runai_load(path: Path, device: torch.device) -> State:
    module = importlib.import_module("runai_model_streamer")
    with module.SafetensorsStreamer() as streamer:
        streamer.stream_file(str(path))
        return {name: tensor.to(device) for name, tensor in streamer.get_tensors()}


def missing_peers() -> list[str]:
    return [name for name in PEERS if importlib.util.find_spec(name) is None]


def restores(run: Run, prepare: Callable[[Path], None]) -> list[Contender]:
    """Every way to get the model into the device; ``prepare`` sets the page cache for one file."""
    device, plain, pickle = run.device, run.plain, run.pickle
    component = run.checkpoint / "model.safetensors"
    model = {name: torch.zeros_like(tensor) for name, tensor in run.state.items()}
    fast = FastSafetensors(plain, device)

    def check(answer: object) -> None:
        assert_equal(answer, run.state)

    def check_and_release(answer: object) -> None:
        check(answer)
        fast.release()

    def restored(_report: object) -> None:
        check(model)
        for tensor in model.values():
            tensor.zero_()

    def reads(
        name: str, path: Path, load: Callable[[], object], verdict: Callable[[object], None] = check
    ) -> Contender:
        return Contender(name, load, lambda: prepare(path), verdict)

    rows = [
        reads(OURS, plain, lambda: mc.load_file(plain, device=device, verify="full")),
        reads(
            "model_checkpoint.load_file, verify='fast'",
            plain,
            lambda: mc.load_file(plain, device=device, verify="fast"),
        ),
        reads(
            "model_checkpoint.load_file, verify='none'",
            plain,
            lambda: mc.load_file(plain, device=device, verify="none"),
        ),
        reads(
            "model_checkpoint.load(into=model), checked",
            component,
            lambda: mc.load(run.checkpoint, into={"model": model}),
            restored,
        ),
        reads(SAFETENSORS, plain, lambda: safetensors.torch.load_file(plain, device=str(device))),
        reads("torch.load(map_location) (unchecked)", pickle, lambda: torch.load(pickle, map_location=device)),
        reads(
            "torch.load(map_location, mmap=True) (unchecked)",
            pickle,
            lambda: torch.load(pickle, map_location=device, mmap=True),
        ),
    ]
    if "fastsafetensors" not in missing_peers():
        rows.append(reads("fastsafetensors, no GDS (unchecked)", plain, fast.load, check_and_release))
    if "runai_model_streamer" not in missing_peers():
        rows.append(reads("Run:ai model streamer (unchecked)", plain, lambda: runai_load(plain, device)))
    return rows


def bench_ceilings(run: Run) -> None:
    """What the bus and the cores can do."""
    bench_bus(run)
    warm_cache(run.plain)
    with run.plain.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping:
        name = f"our kernel, {_native.get_threads()} threads, mapped memory"
        run.measure("hashing", [Contender(name, lambda: _native.digest_chunks([mapping]))])


def bench_bus(run: Run) -> None:
    bus = Bus(run.device, run.nbytes)
    for group, to_device in (("host to device", True), ("device to host", False)):
        copies = [
            Contender(f"{count} stream{'s' * (count > 1)}", partial(bus.copy, count, to_device=to_device))
            for count in STREAMS
        ]
        run.measure(f"{group}, page-locked", copies)


def bench_hot(run: Run) -> None:
    """Into the device from the page cache."""
    bus, hashing = run.best("host to device"), run.best("hashing")
    samples = run.measure("load, hot", restores(run, warm_cache), bus)
    ours = samples[OURS].rate
    run.require("10 GB, verified, hot, at the rate measured", 10 / ours, 1, "s", at_least=False)
    run.require("hot verified load / safetensors", ours / samples[SAFETENSORS].rate, 2)
    if not math.isnan(bus):
        run.require("hot verified load / the lower of bus and hashing", ours / min(bus, hashing), 0.7)


def bench_cold(run: Run) -> None:
    """Into the device from storage, against direct reads into the host's memory."""
    memory = ceilings.aligned_memory(run.nbytes // ceilings.BLOCK * ceilings.BLOCK)
    name = "raw O_DIRECT read, 4 threads"
    raw = Contender(name, lambda: ceilings.direct_read(run.plain, memory, 4), lambda: drop_cache(run.plain))
    ceiling = run.measure("direct read", [raw])[name].rate
    memory.close()
    run.measure("load, cold", restores(run, drop_cache), ceiling)


def bench_stall(run: Run) -> None:
    """How long a background save holds the training loop, against the rate of the bus."""
    first, later = _stalls(run)
    print(f"\n{'stall of a background save':56}     GB/s          ms        share of the ceiling")
    for kind, stalls in ((", the first, which locks memory", first), ("", later)):
        for name, seconds in stalls.items():
            run.note(f"stall: {name}{kind}", Sample(tuple(seconds), run.nbytes), run.best("device to host"))
    ours, *peers = (statistics.median(seconds) for seconds in later.values())
    run.require("stall of the better DCP async_save / ours", min(peers) / ours, 6)


def _stalls(run: Run) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds by name, ours first: of the first saves, and of those that find memory to use again."""
    root, theirs = run.directory / "runs", run.directory / "dcp"
    first: dict[str, list[float]] = {}
    later: dict[str, list[float]] = {}
    with (
        _process_group(),
        mc.CheckpointManager(root, experiment="stall", keep=mc.Keep.last(1), progress=False) as ckpts,
    ):
        ckpts.track(model=run.state)
        stager = BlockingAsyncStager(cache_staged_state_dict=True)
        saves: dict[str, Callable[[int], Any]] = {
            "model_checkpoint, manager.save": ckpts.save,
            "DCP async_save": lambda _: async_save(run.state, checkpoint_id=theirs),
            "DCP async_save, page-locked and cached": lambda _: async_save(
                run.state, checkpoint_id=theirs, async_stager=stager
            ),
        }
        for turn in range(run.repeats + 2):
            for name, save in saves.items():
                shutil.rmtree(theirs, ignore_errors=True)
                seconds = _stall_of(run, partial(save, turn))
                ckpts.wait()
                if turn != 1:
                    (later if turn else first).setdefault(name, []).append(seconds)
        saved = ckpts.load("latest")["model"]
        assert_equal({name: tensor.to(run.device) for name, tensor in saved.items()}, run.state)
    return first, later


def _stall_of(run: Run, save: Callable[[], Any]) -> float:
    """Seconds until a save returns; its writing is waited for afterwards."""
    settle()
    torch.cuda.synchronize(run.device)
    start = time.perf_counter()
    handle = save()
    seconds = time.perf_counter() - start
    assert isinstance(handle, mc.SaveHandle | Future)
    handle.result()
    return seconds


@contextmanager
def _process_group() -> Iterator[None]:
    """What DCP asks for, of one process; found by a file, so that no port is needed."""
    with tempfile.TemporaryDirectory() as directory:
        torch.distributed.init_process_group("gloo", init_method=f"file://{directory}/group", rank=0, world_size=1)
        try:
            yield
        finally:
            torch.distributed.destroy_process_group()


GROUPS: dict[str, Callable[[Run], None]] = {
    "ceilings": bench_ceilings,
    "hot": bench_hot,
    "cold": bench_cold,
    "stall": bench_stall,
}


def why_not() -> str | None:
    """Why nothing can be measured here."""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} was built without CUDA"
    return None if torch.cuda.is_available() else "torch sees no CUDA device"


def dry_run(run: Run, groups: list[str]) -> None:
    print(f"of {', '.join(groups)}, loads by:")
    for contender in restores(run, warm_cache):
        print(f"  {contender.name}")
    for name in missing_peers():
        print(f"  not installed: {name}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_restore", description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=parse_size, default=parse_size("10GB"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda:0"))
    parser.add_argument("--dir", type=Path, help="where to write; a fresh directory under ./bench-data by default")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(GROUPS), metavar=",".join(GROUPS))
    parser.add_argument("--json", type=Path, help="write samples and targets here")
    parser.add_argument("--dry-run", action="store_true", help="list what would be run, and run nothing")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.only) - set(GROUPS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    if arguments.dry_run:
        dry_run(Run(arguments.device, Path("bench-data"), arguments.repeats), arguments.only)
        return 0
    if (reason := why_not()) is not None:
        print(f"this needs a CUDA device, and {reason}; --dry-run lists what would be run", file=sys.stderr)
        return 2
    Path("bench-data").mkdir(exist_ok=True)
    directory = arguments.dir or Path(tempfile.mkdtemp(dir="bench-data"))
    try:
        return measure(arguments, directory.resolve())
    finally:
        if arguments.dir is None:
            shutil.rmtree(directory)


def measure(arguments: argparse.Namespace, directory: Path) -> int:
    device: torch.device = arguments.device
    state = {name: tensor.to(device) for name, tensor in llama_of(arguments.size).items()}
    run = Run(device, directory, arguments.repeats, state)
    gpu = torch.cuda.get_device_name(device)
    print(f"{gpu}; {cpu_model()}, {len(os.sched_getaffinity(0))} CPUs; Linux {platform.release()}")
    print(f"torch {torch.__version__}, safetensors {safetensors.__version__}; missing: {missing_peers() or 'no peer'}")
    print(f"{run.nbytes / 1e9:.2f} GB of bfloat16 in {len(state)} tensors; median of {run.repeats} alternating runs")
    run.write()
    for group in arguments.only:
        GROUPS[group](run)
    print("\ntargets")
    for target in run.targets:
        print(f"  {target}")
    if arguments.json:
        samples = {name: {"rate": sample.rate, **asdict(sample)} for name, sample in run.samples.items()}
        targets = [{"met": target.met, **asdict(target)} for target in run.targets]
        report = {"gpu": gpu, "cpu": cpu_model(), "missing": missing_peers(), "samples": samples, "targets": targets}
        arguments.json.write_text(json.dumps(report, indent=1))
    return 0 if all(target.met for target in run.targets) else 1


if __name__ == "__main__":
    sys.exit(main())
