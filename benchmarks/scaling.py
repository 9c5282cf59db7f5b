"""How saves, loads and snapshots scale: with threads, with the size of a tensor, and with the number of tensors.

    python -m benchmarks.scaling [--size 1GiB] [--only threads,tensor,count] [--repeats 3] [--dir DIR]

Loads are from a page cache that is warm, and verified; every answer is checked bit for bit.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

import model_checkpoint as mc
from benchmarks.harness import Contender, Sample, alternate, cpu_model, warm_cache
from benchmarks.models import assert_equal, llama_of, size_of
from benchmarks.sizes import parse_size
from model_checkpoint import _native
from model_checkpoint.storage.safetensors.gather import gather
from model_checkpoint.storage.safetensors.writer import prepare

State = dict[str, torch.Tensor]

THREADS = (1, 2, 4, 8, 16)
TENSOR_BYTES = (1 << 10, 1 << 14, 1 << 18, 1 << 22, 1 << 26, 1 << 30)
COUNTS = (1, 10, 100, 1_000, 10_000, 100_000)
SMALL_BYTES = 1024
OPERATIONS = ("save_file", "load_file", "mmap=True", "verify", "snapshot")


@dataclass(frozen=True, slots=True)
class Case:
    """One row of a table.

    Attributes:
        label: What varies.
        state: What is saved.
        threads: The budget of threads.
    """

    label: str
    state: State
    threads: int


def cases_of_threads(nbytes: int) -> Iterator[Case]:
    """The same model with more and more threads; more than there are cores are marked."""
    cores = len(os.sched_getaffinity(0))
    state = llama_of(nbytes)
    for threads in THREADS:
        yield Case(f"{threads} thread{'s' * (threads > 1)}{' *' * (threads > cores)}", state, threads)


def cases_of_tensor(nbytes: int) -> Iterator[Case]:
    """A single tensor, from 1 KiB up to the size given."""
    for size in [*(size for size in TENSOR_BYTES if size < nbytes), nbytes]:
        yield Case(f"1 x {_readable(size)}", {"weight": _random(size)}, _native.get_threads())


def cases_of_count(nbytes: int) -> Iterator[Case]:
    """More and more tensors of 1 KiB."""
    for count in COUNTS:
        if count * SMALL_BYTES > nbytes:
            return
        parts = _random(count * SMALL_BYTES).split(SMALL_BYTES // 2)
        state = {f"part.{index}": part.clone() for index, part in enumerate(parts)}
        yield Case(f"{count} x {_readable(SMALL_BYTES)}", state, _native.get_threads())


def _random(nbytes: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.empty(nbytes // 2, dtype=torch.bfloat16).normal_(generator=generator)


def _readable(nbytes: int) -> str:
    for suffix, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if nbytes >= factor:
            return f"{nbytes / factor:g} {suffix}"
    return f"{nbytes} B"


@contextmanager
def thread_budget(threads: int) -> Iterator[None]:
    before = _native.get_threads()
    _native.set_threads(threads)
    try:
        yield
    finally:
        _native.set_threads(before)


def contenders(state: State, path: Path) -> list[Contender]:
    """The operations on one state, in the order of `OPERATIONS`."""

    def check(answer: object) -> None:
        assert_equal(answer, state)

    def warm() -> None:
        warm_cache(path)

    gathered = gather(state)
    offsets = prepare(gathered.specs).layout.offsets
    arena = memoryview(_native.Arena(max(end + spec.nbytes for end, spec in zip(offsets, gathered.specs, strict=True))))

    def snapshot_is_right(_answer: object) -> None:
        for tensor, spec, offset in zip(state.values(), gathered.specs, offsets, strict=True):
            copied = torch.frombuffer(arena, dtype=torch.uint8, count=spec.nbytes, offset=offset)
            if not torch.equal(copied, tensor.view(torch.uint8).flatten()):
                raise AssertionError(f"the snapshot of {spec.name} differs")

    return [
        Contender("save_file", lambda: mc.save_file(state, path), check=lambda _answer: check(mc.load_file(path))),
        Contender("load_file", lambda: mc.load_file(path, verify="full"), warm, check),
        Contender("mmap=True", lambda: mc.load_file(path, verify="full", mmap=True), warm, check),
        Contender("verify", lambda: mc.verify(path), warm),
        Contender("snapshot", lambda: gathered.copy_to(arena, offsets), check=snapshot_is_right),
    ]


def measure(case: Case, directory: Path, repeats: int) -> dict[str, Sample]:
    with thread_budget(case.threads):
        return alternate(contenders(case.state, directory / "state.safetensors"), size_of(case.state), repeats)


def row(case: Case, samples: dict[str, Sample]) -> str:
    """GB/s where seconds would say little, seconds where there are few bytes."""
    cells = []
    for operation in OPERATIONS:
        sample = samples[operation]
        few = sample.nbytes < 1 << 24
        cells.append(f"{sample.median * 1e3:8.2f} ms  " if few else f"{sample.rate:8.2f} GB/s")
    return f"{case.label:22}" + " ".join(cells)


GROUPS: dict[str, Callable[[int], Iterator[Case]]] = {
    "threads": cases_of_threads,
    "tensor": cases_of_tensor,
    "count": cases_of_count,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=parse_size, default=parse_size("1GiB"))
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(GROUPS), metavar=",".join(GROUPS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dir", type=Path, help="where to write; a fresh directory under ./bench-data by default")
    arguments = parser.parse_args()
    Path("bench-data").mkdir(exist_ok=True)
    print(
        f"{cpu_model()}, {len(os.sched_getaffinity(0))} cores; median of {arguments.repeats}; * more threads than cores"
    )
    with tempfile.TemporaryDirectory(dir=arguments.dir or "bench-data") as directory:
        for group in arguments.only:
            print(f"\n{group:22}" + " ".join(f"{operation:>13}" for operation in OPERATIONS))
            for case in GROUPS[group](arguments.size):
                print(row(case, measure(case, Path(directory), arguments.repeats)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
