"""Goes through all rows and peers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.harness.evidence import Evidence, Scale
from tests.harness.nursery import Nursery
from tests.proof.field.registry import PEERS
from tests.proof.field.rows import ROWS, Row
from tests.proof.field.tally import Counts

__all__ = ["OURS", "Cell", "absent", "measure"]

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


def absent() -> list[str]:
    """The peers that are not installed."""
    return [peer.name for peer in PEERS if peer.version() is None]


def measure(
    scale: Scale,
    log: Path,
    say: Callable[[str], None],
    *,
    peers: Sequence[str] = (),
    rows: Sequence[str] = (),
) -> Iterator[Cell]:
    """Try the rows on the peers that are installed, each in a process of its own.

    Args:
        scale: How thoroughly.
        log: Where goes what the packages print.
        say: Is told what is done.
        peers: Names of those to try; all if there are none.
        rows: Keys of those to try; all if there are none.
    """
    chosen = [row for row in ROWS if not rows or row.key in rows]
    for row in chosen:
        if reason := row.unavailable():
            say(f"skipped: {row.heading}: {reason}")
    possible = [row for row in chosen if row.unavailable() is None]
    for peer in PEERS:
        version = peer.version()
        if peers and peer.name not in peers:
            continue
        if version is None:
            say(f"skipped: {peer.name} is not installed: pip install {peer.distribution} (or make field)")
            continue
        with Nursery(JAX_PLATFORMS="cpu", TF_CPP_MIN_LOG_LEVEL="3") as nursery:
            nursery.ask(__name__, "write_errors_to", log=str(log))
            for row in possible:
                counts = _try(nursery, row, peer.name, row.trials[scale])
                say(f"{peer.name}, {row.heading}: {row.cell(counts)}")
                yield Cell(peer.name, version, row.key, scale, Evidence.today(), counts)


def _try(nursery: Nursery, row: Row, peer: str, trials: int) -> Counts:
    module, function = row.function
    counts: Counts = nursery.ask(
        f"tests.proof.field.{module}", function, timeout_s=_PATIENCE_S, peer=peer, trials=trials
    )
    return counts


def write_errors_to(log: str) -> None:
    """For the nursery: send what it and its children write to stderr to a file."""
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(fd, 2)
    os.close(fd)
