"""Files that somebody truncates while they are being read: an exception, never SIGBUS, and never zeros.

The work is done by child processes, this file run as a script: what should be an exception may end a process.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from model_checkpoint import _native, load, load_file, save, save_file, verify
from model_checkpoint.errors import CorruptionError, IntegrityError
from model_checkpoint.storage.safetensors.plain_file import PlainFile

PAGE = 4096
ROWS = 700_001  # no multiple of anything


def tensors() -> dict[str, torch.Tensor]:
    """Without a zero byte, so that what was lost shows."""
    made = np.random.default_rng(1).integers(1, 256, 4 * ROWS, np.uint8)
    return {
        "a": torch.from_numpy(made.view(np.int32)),
        "b": torch.from_numpy(made.copy()),
        "c": torch.from_numpy(made[:777].copy()),
    }


SAVED = tensors()


def check(loaded: dict[str, torch.Tensor]) -> None:
    assert all(torch.equal(loaded[name], SAVED[name]) for name in SAVED), "other bytes than were saved"


@dataclass(frozen=True)
class Scene:
    """Files of their own for each trial, and what is shrunk of them."""

    directory: Path

    @property
    def file(self) -> Path:
        return self.directory / "now.safetensors"

    @property
    def checkpoint(self) -> Path:
        return self.directory / "now"

    def prepare(self) -> None:
        save_file(SAVED, self.directory / "saved.safetensors")
        save({"model": SAVED}, self.directory / "saved")

    def renew(self) -> None:
        shutil.copyfile(self.directory / "saved.safetensors", self.file)
        shutil.rmtree(self.checkpoint, ignore_errors=True)
        shutil.copytree(self.directory / "saved", self.checkpoint)
        self.stored.chmod(0o644)

    @property
    def stored(self) -> Path:
        return self.checkpoint / "model.safetensors"


# --- what is done meanwhile: each returns what is to be touched when it is over ---------------------------------------


def owned(scene: Scene) -> None:
    check(load_file(scene.file))


def mapped(scene: Scene) -> None:
    load_file(scene.file, mmap=True)  # whoever touches its views now has been warned


def mapped_arrays(scene: Scene) -> None:
    load_file(scene.file, mmap=True, framework="numpy", verify="fast")


def verified(scene: Scene) -> None:
    verify(scene.file)


def whole(scene: Scene) -> None:
    check(load(scene.checkpoint)["model"])


def in_place(scene: Scene) -> None:
    into = {"model": {name: torch.zeros_like(value) for name, value in SAVED.items()}}
    load(scene.checkpoint, into=into)
    check(into["model"])


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for name, value in SAVED.items():
            self.register_buffer(name, torch.zeros_like(value))


def into_a_module(scene: Scene) -> None:
    model = Model()
    load(scene.checkpoint, into={"model": model})
    check(model.state_dict())


def copied(scene: Scene) -> None:
    views = load_file(scene.file, mmap=True)
    save_file(views, scene.directory / "copy.safetensors")
    check(load_file(scene.directory / "copy.safetensors"))


WORK: dict[str, Callable[[Scene], None]] = {
    work.__name__: work for work in (owned, mapped, mapped_arrays, verified, whole, in_place, into_a_module, copied)
}


def race(scene: Scene, trials: int) -> None:
    """Truncate at random moments to random lengths, while the work is going on; print how often that was noticed."""
    chance, noticed = random.Random(trials), collections.Counter()
    usual = {name: duration_of(work, scene) for name, work in WORK.items()}
    for name, work in itertools.islice(itertools.cycle(WORK.items()), trials):
        print(f"{name} …", file=sys.stderr, flush=True)  # the last line of a process that was killed
        scene.renew()
        with shrinking(scene, name, chance, usual[name]):
            try:
                work(scene)
            except IntegrityError as error:
                assert error.path or error.tensor in SAVED, error  # noqa: PT017 - a script
                noticed[name] += 1
    print(", ".join(f"{name} {count}" for name, count in noticed.items()))


@contextlib.contextmanager
def shrinking(scene: Scene, name: str, chance: random.Random, usual: float) -> Iterator[None]:
    victim = scene.stored if name in ("whole", "in_place", "into_a_module") else scene.file
    length = chance.randrange(victim.stat().st_size)
    if name == "copied":  # a page that is half lost reads as zeros, to this process as to any other
        length -= length % PAGE
    delay = chance.uniform(0, usual)
    shrinker = threading.Thread(target=lambda: (time.sleep(delay), os.truncate(victim, length)))
    shrinker.start()
    yield
    shrinker.join()


def duration_of(work: Callable[[Scene], None], scene: Scene) -> float:
    scene.renew()
    start = time.perf_counter()
    work(scene)
    return time.perf_counter() - start


def after_the_check(scene: Scene, kept: int) -> None:
    """Truncate between the verification of the mapping and the copy, which is the only other pass."""
    verify_mapping = PlainFile.map

    def shrink(self, names, check):
        memory = verify_mapping(self, names, check)
        os.truncate(scene.stored, scene.stored.stat().st_size - kept if kept < PAGE else PAGE * 3)
        return memory

    PlainFile.map = shrink
    for target in ({name: torch.zeros_like(value) for name, value in SAVED.items()}, Model()):
        scene.renew()
        with pytest.raises(CorruptionError, match=r"shr[au]nk|length"):
            load(scene.checkpoint, into={"model": target})


def from_foreign_maps(scene: Scene) -> None:
    """An array of numpy.memmap is saved, hashed and copied while its file has lost most of it."""
    path = scene.directory / "foreign"
    path.write_bytes(os.urandom(PAGE * 100))
    array = np.memmap(path, np.uint8, mode="r+")
    os.truncate(path, PAGE)
    dest = np.zeros_like(array)
    for work in (
        lambda: save_file({"w": array}, scene.directory / "copy.safetensors"),
        lambda: save({"model": {"w": array}}, scene.directory / "other"),
        lambda: _native.sha256(array),
        lambda: _native.crc32c(array),
        lambda: _native.copy_buffers(dest, [0], [array]),
        lambda: _native.copy_each([array], [dest]),
    ):
        with pytest.raises(CorruptionError, match="shrunk"):
            work()
    assert not (scene.directory / "other").exists()


def unguarded(scene: Scene) -> None:
    """What is outside of a call of ours stays fatal."""
    scene.renew()
    views = load_file(scene.file, mmap=True)
    os.truncate(scene.file, PAGE)
    views["a"].flatten()[-1].item()  # in one thread: a second fault ends the process while the first is reported


def main(name: str, directory: str, *numbers: str) -> None:
    scene = Scene(Path(directory))
    scene.prepare()
    acts = {act.__name__: act for act in (race, after_the_check, from_foreign_maps, unguarded)}
    acts[name](scene, *map(int, numbers))


if __name__ == "__main__":
    main(*sys.argv[1:])


# --- the tests --------------------------------------------------------------------------------------------------------


def run(directory: Path, *arguments: object, faulthandler: bool = False) -> subprocess.CompletedProcess[str]:
    options = ["-X", "faulthandler"] if faulthandler else []
    command = [sys.executable, *options, __file__, arguments[0], str(directory), *map(str, arguments[1:])]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def test_a_file_that_shrinks_meanwhile_is_an_exception(memory_path, trials, evidence):
    """Whatever is being done with a file that is truncated, it succeeds with the right bytes or raises."""
    count = trials(ci=24, proof=200, full=1000)
    done = run(memory_path, "race", count, faulthandler=True)
    evidence(
        threat="a file truncated while it is loaded, mapped, verified, loaded in place or copied from",
        promise="The call raises an error that names the file or the tensor, or returns the bytes that were saved: "
        "never SIGBUS, never zeros.",
        trials=count,
        unit="truncations",
        violations=int(done.returncode != 0),
        detail=f"noticed in time: {done.stdout.strip()}",
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert "Fatal" not in done.stderr


@pytest.mark.parametrize("kept", [100, PAGE])
def test_a_file_that_shrinks_between_check_and_copy_is_an_exception(memory_path, kept):
    """load(into=) raises where pages are lost (SIGBUS) and where the end of the last page became zeros."""
    done = run(memory_path, "after_the_check", kept)
    assert done.returncode == 0, (done.returncode, done.stderr)


def test_memory_mapped_by_others_is_an_exception_too(memory_path):
    """Saving, hashing and copying an array whose own file has shrunk raises, and leaves no checkpoint."""
    done = run(memory_path, "from_foreign_maps")
    assert done.returncode == 0, (done.returncode, done.stderr)


@pytest.mark.parametrize("faulthandler", [False, True])
def test_what_is_not_ours_stays_as_it_was(memory_path, faulthandler):
    """A program that reads a view of lost bytes itself dies of SIGBUS, and Python's faulthandler says where."""
    done = run(memory_path, "unguarded", faulthandler=faulthandler)
    assert done.returncode == -signal.SIGBUS
    assert ("Fatal Python error: Bus error" in done.stderr) == faulthandler
