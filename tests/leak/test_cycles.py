"""Many cycles of all that a manager does, well or badly, in one process: what is held at the end is what was held."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path
from unittest import mock

import pytest
import torch

import model_checkpoint as mc
from model_checkpoint import _native

pytestmark = pytest.mark.leak

WARM_UP = 10
MOST_GROWTH_BYTES = 2 * 2**20


def _cycle(root: Path, step: int) -> None:
    """Open, save well and badly, load in every way and badly, and close."""
    model = torch.nn.Linear(64, 64)
    with mc.CheckpointManager(root, keep=mc.Keep.last(2)) as ckpts:
        ckpts.track(model=model)
        info = ckpts.save(step).result()
        with (
            mock.patch.object(_native, "write_segments", side_effect=mc.StorageError("I/O error", path="x", errno=5)),
            pytest.raises(mc.SaveError),
        ):
            ckpts.save(step + 1).result()
        ckpts.load()
        ckpts.load(mmap=True)
        ckpts.load(into={"model": model})
        damaged = min(Path(ckpts.root, info.path).rglob("*.safetensors"))
        with damaged.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            byte = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([byte[0] ^ 1]))
        with pytest.raises(mc.IntegrityError):
            ckpts.load(info.id)


def _held(root: Path) -> dict[str, int]:
    """What this process holds, by kind."""
    gc.collect()  # the database's own objects may wait for it
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "maps of our files": Path("/proc/self/maps").read_text(encoding="utf-8").count(str(root)),
        "children": len(children),
        "temporary files": len(list(root.glob(".staging/*"))),
    }


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _growth(resident: list[int]) -> int:
    """How much more the last third takes than the second, on average; in the first one allocators and caches fill."""
    third = len(resident) // 3
    return sum(resident[-third:]) // third - sum(resident[third : 2 * third]) // third


def test_cycles_leave_nothing_behind(tmp_path, trials, evidence):
    """Descriptors, threads, maps, children and temporary files are as many as before, and memory does not grow."""
    cycles, root = trials(ci=30, proof=200, full=1000), tmp_path / "runs"
    for step in range(WARM_UP):
        _cycle(root, step)
    before, resident = _held(root), []
    for step in range(WARM_UP, WARM_UP + cycles):
        _cycle(root, step)
        resident.append(_resident_bytes())
    after = _held(root)
    growth = _growth(resident)
    problems = [f"{kind}: {before[kind]}, then {count}" for kind, count in after.items() if count > before[kind]]
    if growth > MOST_GROWTH_BYTES:
        problems.append(f"resident memory grew by {growth} bytes from the second third to the last")
    evidence(
        threat="a process that opens, saves, fails to save, loads owned, mapped and in place, fails to load a damaged "
        "file, and closes, over and over",
        promise="It holds no more descriptors, threads, maps, children or temporary files than before, and its "
        "resident memory does not grow.",
        trials=cycles,
        unit="cycles",
        violations=len(problems),
        detail=f"memory of the last third against the second: {growth / 2**10:+.0f} KiB",
    )
    assert problems == []
