"""Damaged bytes: are they found, or loaded?

Each trial damages one copy of a checkpoint, loads it as the defaults of the package load it, and undoes the damage.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import resource
import select
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tests.proof.field.peers.peer import Peer
from tests.proof.field.registry import peer_named
from tests.proof.field.saved import FIRST, Saved, saved_once
from tests.proof.field.state import STEP, state_at, step_of
from tests.proof.field.tally import Counts, counted

__all__ = ["bits_of_data", "bits_of_metadata", "cut_by_a_byte", "cut_to_half", "zeroed_blocks"]

_BLOCK = 4096
_PATIENCE_S = 30
_MEMORY_BYTES = 12 << 30


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of one file to replace, or the length to cut it to.

    Attributes:
        path: Relative to the root.
        offset: Where.
        mask: What to combine the bytes there with, by exclusive or; None to make a block zero.
        length: What remains of the file; None if all.
    """

    path: str
    offset: int = 0
    mask: int | None = None
    length: int | None = None


# --- what there is ----------------------------------------------------------------------------------------------------

Range: TypeAlias = tuple[str, int, int]
"""Of a file's bytes: its name, begin and end."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a checkpoint.

    Attributes:
        root: What their names are relative to.
        sizes: Name and size of those that are not empty.
    """

    root: Path
    sizes: Sequence[tuple[str, int]]

    @classmethod
    def of(cls, peer: Peer, root: Path) -> Files:
        paths = [path for path in sorted(root.glob(peer.own_files)) if path.is_file() and path.stat().st_size]
        return cls(root, [(str(path.relative_to(root)), path.stat().st_size) for path in paths])

    def data(self) -> list[Range]:
        """Where the tensors' bytes are; of a package that packs them: the files that are not small."""
        return self._verbatim() or [(name, 0, size) for name, size in self.sizes if size > 16 * _BLOCK]

    def _verbatim(self) -> list[Range]:
        arrays = [array for name, array in state_at(FIRST).items() if name != STEP]
        contents = {name: (self.root / name).read_bytes() for name, _ in self.sizes}
        found = [
            (name, content.find(array.tobytes()), array.nbytes)
            for name, content in contents.items()
            for array in arrays
        ]
        return [(name, begin, begin + nbytes) for name, begin, nbytes in found if begin >= 0]

    def all_but(self, taken: Sequence[Range]) -> list[Range]:
        rest = []
        for name, size in self.sizes:
            begin = 0
            for _, start, end in sorted(span for span in taken if span[0] == name):
                rest.append((name, begin, start))
                begin = end
            rest.append((name, begin, size))
        return [span for span in rest if span[1] < span[2]]


# --- the rows ---------------------------------------------------------------------------------------------------------


def bits_of_data(peer: str, trials: int) -> Counts:
    """Single bits of the tensors' bytes."""
    return _row(peer, trials, lambda files, rng: _flip(files.data(), rng))


def bits_of_metadata(peer: str, trials: int) -> Counts:
    """Single bits of everything else."""
    return _row(peer, trials, lambda files, rng: _flip(files.all_but(files.data()), rng))


def zeroed_blocks(peer: str, trials: int) -> Counts:
    """Blocks of 4 KiB, as a lost sector leaves them; those that are zero anyway do not count."""
    return _row(peer, trials, _zero)


def cut_by_a_byte(peer: str, trials: int) -> Counts:
    """Each file of a checkpoint without its last byte."""
    return _row(peer, None, lambda files, _rng: (Damage(name, length=size - 1) for name, size in files.sizes))


def cut_to_half(peer: str, trials: int) -> Counts:
    """The first half of each file of a checkpoint."""
    return _row(peer, None, lambda files, _rng: (Damage(name, length=size // 2) for name, size in files.sizes))


def _row(peer: str, trials: int | None, damages: Callable[[Files, random.Random], Iterator[Damage]]) -> Counts:
    who, rng = peer_named(peer), random.Random(7)
    with saved_once(who) as saved:
        every = damages(Files.of(who, saved.root), rng)
        chosen = list(every) if trials is None else list(itertools.islice(every, trials))
        return counted(({outcome} for outcome in _outcomes(who, saved, chosen)), exhaustive=trials is None)


def _flip(ranges: Sequence[Range], rng: random.Random) -> Iterator[Damage]:
    weights = [end - begin for _, begin, end in ranges]
    while True:
        ((name, begin, end),) = rng.choices(ranges, weights)
        yield Damage(name, rng.randrange(begin, end), mask=1 << rng.randrange(8))


def _zero(files: Files, rng: random.Random) -> Iterator[Damage]:
    while True:
        ((name, size),) = rng.choices(files.sizes, [size for _, size in files.sizes])
        offset = rng.randrange(0, size, _BLOCK)
        if any((files.root / name).read_bytes()[offset : offset + _BLOCK]):
            yield Damage(name, offset)


# --- trying -----------------------------------------------------------------------------------------------------------


def _outcomes(peer: Peer, saved: Saved, damages: Sequence[Damage]) -> list[str]:
    """One word for each; a child that dies or hangs is followed by another."""
    outcomes: list[str] = []
    while len(outcomes) < len(damages):
        with _trying(peer, saved, damages[len(outcomes) :]) as words:
            outcomes.extend(words)
        if len(outcomes) < len(damages):
            outcomes.append("crash")
    return outcomes


@contextlib.contextmanager
def _trying(peer: Peer, saved: Saved, damages: Sequence[Damage]) -> Iterator[Iterator[str]]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _try_all(peer, saved, damages, writing)
    os.close(writing)
    try:
        yield _words(reading)
    finally:
        os.close(reading)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


_WORDS = {b"r": "refused", b"w": "silently wrong", b"h": "harmless"}


def _words(reading: int) -> Iterator[str]:
    while select.select([reading], [], [], _PATIENCE_S)[0] and (letter := os.read(reading, 1)):
        yield _WORDS[letter]


def _try_all(peer: Peer, saved: Saved, damages: Sequence[Damage], writing: int) -> None:
    try:
        warnings.simplefilter("ignore")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # some packages say much there
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for damage in damages:
            os.write(writing, _try(peer, saved, damage))
    finally:
        os._exit(0)


def _try(peer: Peer, saved: Saved, damage: Damage) -> bytes:
    """Every trial has a copy of its own: what a package notes down about damage must not reach the next one."""
    with saved.copy() as root:
        _apply(damage, root / damage.path)
        try:
            state = peer.load(root, peer.candidates(root)[0])
        except BaseException:  # noqa: BLE001 - any error is a refusal; DCP's are no Exception
            return b"r"
        return b"h" if step_of(state) == FIRST else b"w"


def _apply(damage: Damage, path: Path) -> None:
    path.chmod(0o600)
    with open(path, "r+b") as file:
        if damage.length is not None:
            file.truncate(damage.length)
            return
        file.seek(damage.offset)
        old = file.read(_BLOCK if damage.mask is None else 1)
        file.seek(damage.offset)
        file.write(bytes(len(old)) if damage.mask is None else bytes([old[0] ^ damage.mask]))
