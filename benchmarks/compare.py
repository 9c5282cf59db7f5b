"""Us and the peers side by side in one run, with the ceilings of the machine: the tables of docs/performance.md.

    python -m benchmarks.compare --size 4GiB [--repeats 5] [--only save,hot,...] [--peers torch,...] [--dir DIR]
                                 [--json FILE] [--plot FILE]

Ceilings first, then all in turn. Every answer is checked bit for bit. Exit code: 1 if a target is missed that the
ceilings of the machine allow.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks import plot, report, table
from benchmarks.harness import cpu_model
from benchmarks.models import llama_of
from benchmarks.peers.peer import Peer
from benchmarks.peers.registry import PEERS, Lineup, line_up
from benchmarks.run import CORES, Run
from benchmarks.sizes import parse_size
from benchmarks.workloads import ceilings, load, mapped, memory, opening, restore, save, small, stall
from model_checkpoint import _native

GROUPS: dict[str, Callable[[Run], None]] = {
    "save": save.measure,
    "hot": load.measure_hot,
    "cold": load.measure_cold,
    "mmap": mapped.measure,
    "restore": restore.measure,
    "stall": stall.measure,
    "memory": memory.measure,
    "small": small.measure,
    "open": opening.measure,
}


def main(argv: Sequence[str] | None = None, peers: Sequence[Peer] = PEERS) -> int:
    arguments = _parser(peers).parse_args(argv)
    Path("bench-data").mkdir(exist_ok=True)
    directory = arguments.dir or Path(tempfile.mkdtemp(dir="bench-data"))
    try:
        return compare(arguments, directory.resolve(), line_up(peers, arguments.peers, directory.resolve()))
    finally:
        if arguments.dir is None:
            shutil.rmtree(directory)


def _parser(peers: Sequence[Peer]) -> argparse.ArgumentParser:
    names = [peer.name for peer in peers]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=parse_size, default=parse_size("4GiB"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dir", type=Path, help="where to write; a fresh directory under ./bench-data by default")
    parser.add_argument("--only", type=_some_of(GROUPS), default=list(GROUPS), metavar=",".join(GROUPS))
    parser.add_argument("--peers", type=_some_of(names), default=names, metavar=",".join(names))
    parser.add_argument("--json", type=Path, help="write everything that was measured here")
    parser.add_argument("--plot", type=Path, help="draw the groups here, as .png or .svg (needs matplotlib)")
    return parser


def _some_of(names: Sequence[str] | dict[str, Callable[[Run], None]]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = [name for name in text.split(",") if name]
        if unknown := set(chosen) - set(names):
            raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(names)}")
        return chosen

    return parse


def compare(arguments: argparse.Namespace, directory: Path, lineup: Lineup) -> int:
    run = Run(llama_of(arguments.size), directory, arguments.repeats, lineup)
    print(f"{_about(run)}\n\n{table.LEGEND}")
    try:
        ceilings.measure(run)
        for group in arguments.only:
            GROUPS[group](run)
    finally:
        run.files.remove()
    print("\n".join(["\ntargets", *(f"  {target}" for target in run.targets)]))
    if arguments.json:
        report.write(run, arguments.json)
    if arguments.plot:
        plot.draw(run.results, arguments.plot, f"{_about(run).partition(chr(10))[0]}; {_amount(run)}")
    return int(any(target.verdict == "MISS" for target in run.targets))


def _amount(run: Run) -> str:
    return f"{run.nbytes / 1e9:.2f} GB of bfloat16 in {len(run.state)} tensors"


def _about(run: Run) -> str:
    lines = [
        f"{cpu_model()}, {CORES} cores; Linux {platform.release()}; torch {torch.__version__}",
        f"kernels {_native.kernels()}; {_amount(run)}",
        f"median of {run.repeats} alternating runs after a warm-up, ± half the spread",
        "peers: " + (", ".join(f"{name} {found}" for name, found in run.line_up.versions.items()) or "none"),
        *(f"  without {name}: {why}" for name, why in run.line_up.absent.items()),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
