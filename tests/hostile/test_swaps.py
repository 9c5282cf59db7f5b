"""Somebody who may write to a store exchanges its directories and files for links, while we work in it."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from model_checkpoint.errors import CheckpointError
from model_checkpoint.storage.checkpoint_dir import read_state, verify_contents
from model_checkpoint.storage.commit import Draft
from model_checkpoint.storage.durable import make_directories
from model_checkpoint.storage.good_copies import GoodCopies
from model_checkpoint.storage.staged_files import BackendFile, blob_files, component_files
from model_checkpoint.storage.state_tree import flatten
from model_checkpoint.storage.store import Store
from model_checkpoint.types import CheckpointInfo, ExperimentInfo
from model_checkpoint.utils.clock import utc_now
from tests.harness import canary
from tests.harness.canary import Guard
from tests.harness.swapper import Swapper

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.skipif(canary.unavailable() is not None, reason=str(canary.unavailable())),
]

ROUND = 100
"""Operations on one store, before there is a new one."""


class Victim:
    """A store, and everything that is done to it, each time to a checkpoint chosen at random."""

    def __init__(self, root: Path, order: random.Random) -> None:
        self.store = Store(root)
        self.order = order
        self.step = 0
        self.spared = ""
        """The checkpoint of which parts are exchanged: what is deleted with a link in it is lost."""
        self.alive: dict[str, CheckpointInfo] = {}
        """Checkpoints that were committed, and that nobody was asked to delete."""

    def any(self) -> CheckpointInfo:
        return self.order.choice(list(self.alive.values()))

    def save(self) -> None:
        self.step += 1
        flat = flatten({"model": {"w": np.full(100, self.step, np.float32)}, "step": self.step})
        files = [*component_files(flat), *blob_files({"config.json": b"{}"})]
        info = self.store.commit(Draft("exp", self.step, flat.tree, files), strict=self.step % 4 == 0)
        self.alive[info.id] = info

    def save_with_a_backend(self) -> None:
        from model_checkpoint.storage.safetensors_backend import SafetensorsBackend

        self.step += 1
        files = [BackendFile(SafetensorsBackend(), {"w": np.zeros(4)})]
        self.store.commit(Draft("exp", self.step, None, files, backend="safetensors"))

    def load(self) -> None:
        read_state(self.store.open(self.any()))

    def verify(self) -> None:
        verify_contents(self.store.open(self.any()))

    def annotate(self) -> None:
        info = self.any()
        self.store.annotate(info, lambda said: said)
        self.store.annotation(info)
        self.store.withdraw_alias("exp", "nobody")

    def describe(self) -> None:
        self.store.write_experiment(ExperimentInfo("exp", utc_now()))
        self.store.read_experiment("exp")

    def scan(self) -> None:
        self.store.scan()

    def recover(self) -> None:
        self.store.recover()
        self.store.settle("exp")

    def delete(self) -> None:
        info = self.any()
        if info.id == self.spared:
            return
        del self.alive[info.id]
        self.store.delete(info, keep=timedelta(seconds=self.order.choice((0, 1000))))

    def restore(self) -> None:
        for entry in self.store.trash.entries():
            info = self.store.restore(entry.id)
            self.alive[info.id] = info

    def purge(self) -> None:
        self.store.purge_expired()

    def look_for_copies(self) -> None:
        info = self.any()
        GoodCopies(self.store.root).manifest(info.path, lambda _: False)
        for file in self.store.open(info).manifest.files:
            GoodCopies(self.store.root).header(info.path, file)

    @property
    def operations(self) -> list[Callable[[], None]]:
        return [
            self.save, self.save_with_a_backend, self.load, self.verify, self.annotate, self.describe, self.scan,
            self.recover, self.delete, self.restore, self.purge, self.look_for_copies,
        ]  # fmt: skip


def built(root: Path, order: random.Random) -> Victim:
    """A store with something of everything."""
    victim = Victim(root, order)
    for _ in range(4):
        victim.save()
    victim.describe()
    victim.annotate()
    victim.delete()
    make_directories(str(root / ".staging"))
    (root / ".staging" / "left").mkdir()
    (root / ".staging" / "left" / "file").write_bytes(b"left by a dead writer")
    return victim


def pairs_of(victim: Victim, outside: Path, links: Path) -> list[tuple[str, str]]:
    """What is exchanged for what: directories and files of the store for links to the same of another one."""
    root, checkpoint = Path(victim.store.root), victim.any()
    victim.spared = checkpoint.id
    manifest, annotations = f"{checkpoint.path}/manifest.json", "exp/.annotations"
    file = f"{annotations}/{next(name for name in os.listdir(root / annotations) if name.endswith('.json'))}"
    names = [
        "exp", checkpoint.path, annotations, ".trash", ".staging", manifest, f"{checkpoint.path}/model.safetensors",
        file, "exp/experiment.json", f"{annotations}/.lock", ".staging/*", ".trash/*",
    ]  # fmt: skip
    pairs = []
    for number, name in enumerate(names):
        link = links / str(number)
        link.symlink_to(outside / name.removesuffix("/*"))
        pairs.append((str(root / name), str(link)))
    return pairs


def attacked(base: Path, seed: int, iterations: int) -> tuple[Counter[str], list[str]]:
    """Work in a store under attack: how often what came of it, and what was wrong."""
    order = random.Random(seed)
    root, outside, links = base / "runs", base / "outside", base / "links"
    victim = built(root, order)
    shutil.copytree(root, outside, symlinks=True)
    links.mkdir()
    outcomes, problems = Counter[str](), []
    with Guard(str(outside)) as guard:
        with Swapper(pairs_of(victim, outside, links), seed) as swapper:
            for _ in range(iterations):
                operation = order.choice(victim.operations)
                try:
                    operation()
                    outcomes["done"] += 1
                except CheckpointError:
                    outcomes["refused"] += 1
                except Exception as error:  # noqa: BLE001 - whatever it is, it is none of ours
                    problems.append(f"{operation.__name__}: {type(error).__name__}: {error}")
        problems += guard.problems()
    outcomes["swaps"] = swapper.swaps
    problems += lost(victim)
    return outcomes, problems


def lost(victim: Victim) -> list[str]:
    """What the store has lost, or does not do any more, now that nobody attacks it."""
    victim.recover()
    problems = []
    for info in victim.alive.values():
        try:
            verify_contents(victim.store.open(info))
        except CheckpointError as error:
            problems.append(f"{info.path} is lost: {error}")
    for operation in victim.operations:
        operation()
    return problems


def test_no_link_that_is_exchanged_for_a_directory_leads_out_of_the_store(memory_path, trials, evidence):
    """Under exchanges at full speed each operation is done in the store or refused; afterwards all of them work."""
    rounds = trials(ci=3, proof=20, full=100)
    outcomes, problems = Counter[str](), []
    for seed in range(rounds):
        found, wrong = attacked(memory_path / str(seed), seed, ROUND)
        shutil.rmtree(memory_path / str(seed))
        outcomes += found
        problems += wrong
    evidence(
        threat="Directories and files of a store are exchanged for symbolic links while it is worked in",
        promise="Nothing outside of the store is read, written, renamed or removed.",
        trials=rounds * ROUND,
        unit="operations in the race",
        violations=len(problems),
        detail=f"{outcomes['swaps']} exchanges; {outcomes['done']} operations were done, {outcomes['refused']} refused",
    )
    assert not problems, problems[:20]
    assert outcomes["swaps"] > 10 * rounds
    assert outcomes["done"] > rounds
    assert outcomes["refused"] > rounds
