"""Saves in a process whose written bytes are changed on their way to the kernel: one bit, after it was hashed.

Run as a script under ``LD_PRELOAD`` of what `build` makes; prints a JSON object for each place of a bit, see `Outcome`.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import model_checkpoint as mc

__all__ = ["PLACES", "Outcome", "build", "flipped_saves"]

MIB = 1024 * 1024
PLACES = ("tensor data", "header", "blob", "manifest")
FILES = {
    "tensor data": "model.safetensors",
    "header": "model.safetensors",
    "blob": "data.bin",
    "manifest": "manifest.json",
}


@dataclass(frozen=True)
class Outcome:
    """What became of saves with a flipped bit.

    Attributes:
        place: Where the bit was.
        tried: How many saves were tried.
        flipped: In how many a bit was really flipped.
        caught: How many failed by an error of integrity that names the file, before anything was visible.
        loadable: How many, if nobody reads back, made a checkpoint that loads although it is damaged.
    """

    place: str
    tried: int
    flipped: int
    caught: int
    loadable: int


def build(directory: Path) -> Path | None:
    """The library to preload, or None where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = directory / "flips.so"
    source = Path(__file__).with_suffix(".c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    return library


def flipped_saves(library: Path, count: int, *, verify_writes: bool) -> list[Outcome]:
    """Try so many saves with a flipped bit in each place."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(count), str(int(verify_writes))],
        env={**os.environ, "LD_PRELOAD": str(library)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Outcome(**json.loads(line)) for line in done.stdout.splitlines()]


class _Control(ctypes.Structure):
    _fields_ = (
        ("armed", ctypes.c_int),
        ("bit", ctypes.c_int),
        ("offset", ctypes.c_long),
        ("hits", ctypes.c_int),
        ("name", ctypes.c_char * 256),
    )


@functools.cache
def _control() -> _Control:
    return _Control.in_dll(ctypes.CDLL(None), "flips_control")


def _run(count: int, *, verify_writes: bool) -> Iterator[Outcome]:
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place, prefix="mckpt-flips-") as directory:
        root = Path(directory) / "runs"
        with mc.CheckpointManager(root, verify_writes=verify_writes, progress=False) as ckpts:
            rng = np.random.default_rng(3)
            ckpts.track(model={"w": rng.integers(0, 256, MIB + 70_001, np.uint8), "b": rng.random(10)})
            sound = _save(ckpts)
            sizes = {path.name: path.stat().st_size for path in (root / sound.path).iterdir()}
            begin = min(tensor.offset for tensor in mc.inspect(root / sound.path / "model.safetensors").tensors)
            for where in PLACES:
                limits = {"tensor data": (begin, sizes[FILES[where]]), "header": (0, begin)}
                yield _try(ckpts, root, where, count, limits.get(where, (0, sizes[FILES[where]] - 8)))


def _save(ckpts: mc.CheckpointManager) -> mc.CheckpointInfo:
    return ckpts.save(1, files={"data.bin": b"0123456789" * 50}, block=True).result()


def _try(ckpts: mc.CheckpointManager, root: Path, place: str, count: int, limits: tuple[int, int]) -> Outcome:
    draw, control, flipped, caught, loadable = random.Random(place), _control(), 0, 0, 0
    control.name = FILES[place].encode()
    for _ in range(count):
        control.offset, control.bit, control.hits = draw.randrange(*limits), draw.randrange(8), 0
        before = _visible(root)
        control.armed = 1
        try:
            saved = _save(ckpts)
        except mc.SaveError as error:
            control.armed = 0
            cause = error.__cause__
            is_named = isinstance(cause, mc.IntegrityError) and str(cause.path).endswith(FILES[place])
            caught += is_named and _visible(root) == before
        else:
            control.armed = 0
            loadable += _loads(ckpts, saved)
            shutil.rmtree(root / saved.path)
        flipped += control.hits > 0
    return Outcome(place, count, flipped, caught, loadable)


def _visible(root: Path) -> list[str]:
    """What a reader, or the next process, can see of saves."""
    return sorted(str(path) for pattern in ("default/step-*", ".staging/*") for path in root.glob(pattern))


def _loads(ckpts: mc.CheckpointManager, saved: mc.CheckpointInfo) -> bool:
    try:
        ckpts.load(saved.id)
    except mc.IntegrityError:
        return False
    return True


if __name__ == "__main__":
    for outcome in _run(int(sys.argv[1]), verify_writes=sys.argv[2] == "1"):
        print(json.dumps(asdict(outcome)))
