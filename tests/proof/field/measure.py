"""Goes through all rows and peers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.harness.evidence import Evidence, Scale
from tests.harness.nursery import Nursery
from tests.proof.field.registry import PEERS
from tests.proof.field.rows import ROWS, Row
from tests.proof.field.tally import Counts

__all__ = ["OURS", "Cell", "Failed", "measure"]

OURS = "Model Checkpoint Engine"
_PATIENCE_S = 3600


@dataclass(frozen=True, slots=True)
class Cell:
    """What came of one row for one peer.

    Attributes:
        peer: Its name.
        version: That of its package.
        row: Key of the row.
        scale: How thorough the run was.
        date: The day, UTC.
        counts: The outcomes.
        commit: Of our sources; the report fills it in.
        machine: Where; the report fills it in.
    """

    peer: str
    version: str
    row: str
    scale: Scale
    date: str
    counts: Counts
    commit: str = ""
    machine: str = ""

    @property
    def violations(self) -> int:
        """How often a promise was broken, if it is ours; others have not given it."""
        harmful = next(row.harmful for row in ROWS if row.key == self.row)
        return sum(self.counts["outcomes"].get(name, 0) for name in harmful) if self.peer == OURS else 0


@dataclass(frozen=True, slots=True)
class Failed:
    """A row that could not be tried on a peer, and why."""

    peer: str
    row: str
    reason: str


def measure(scale: Scale, log: Path, say: Callable[[str], None]) -> Iterator[Cell | Failed]:
    """Try all rows on the peers that are installed, each row of each peer in a process of its own.

    Args:
        scale: How thoroughly.
        log: Where goes what the packages print.
        say: Is told what is done.
    """
    for row in ROWS:
        if reason := row.unavailable():
            say(f"skipped: {row.heading}: {reason}")
    possible = [row for row in ROWS if row.unavailable() is None]
    for peer in PEERS:
        version = peer.version()
        if version is None:
            say(f"skipped: {peer.name} is not installed: pip install {peer.distribution} (or make field)")
            continue
        for row in possible:
            try:
                counts = _try(row, peer.name, scale, log)
            except AssertionError as error:  # must not end a run of hours
                yield Failed(peer.name, row.key, str(error))
                continue
            say(f"{peer.name}, {row.heading}: {row.cell(counts)}")
            yield Cell(peer.name, version, row.key, scale, Evidence.today(), counts)


def _try(row: Row, peer: str, scale: Scale, log: Path) -> Counts:
    module, function = row.function
    with Nursery(JAX_PLATFORMS="cpu", TF_CPP_MIN_LOG_LEVEL="3") as nursery:
        nursery.ask(__name__, "write_errors_to", log=str(log))
        counts: Counts = nursery.ask(
            f"tests.proof.field.{module}", function, timeout_s=_PATIENCE_S, peer=peer, trials=row.trials[scale]
        )
    return counts


def write_errors_to(log: str) -> None:
    """For the nursery: send what it and its children write to stderr to a file."""
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(fd, 2)
    os.close(fd)
