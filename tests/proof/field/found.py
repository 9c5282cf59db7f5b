"""What the next process finds where checkpoints should be."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.harness.nursery import isolated
from tests.proof.field.peers.peer import Peer
from tests.proof.field.state import step_of
from tests.proof.field.tally import Outcomes

__all__ = ["Found", "look"]


@dataclass(frozen=True, slots=True)
class Found:
    """Attributes:
    step: Of the newest checkpoint that loads and holds the state of one step; None if there is none.
    refused: How many newer ones were offered, and did not load.
    wrong: How many newer ones loaded without an error, and held something that was never saved.
    """

    step: int | None
    refused: int
    wrong: int

    def outcomes(self, acknowledged: int) -> Outcomes:
        """What went wrong, if this step was the last one that had been acknowledged."""
        outcomes = set()
        if self.step is None or self.step < acknowledged:
            outcomes.add("lost")
        if self.step is None:
            outcomes.add("nothing left")
        if self.refused:
            outcomes.add("half visible")
        if self.wrong:
            outcomes.add("silently wrong")
        return outcomes


def look(peer: Peer, root: Path) -> Found:
    """Let a new process load the newest checkpoint, and if that does not work the one before, and so on."""
    try:
        return Found(**isolated(_look, peer, root))
    except RuntimeError:  # it died: a crash of the loader
        return Found(None, refused=1, wrong=0)


def _look(peer: Peer, root: Path) -> dict[str, Any]:
    refused = wrong = 0
    warnings.simplefilter("ignore")
    try:
        candidates = peer.candidates(root)
    except BaseException:  # noqa: BLE001 - whatever a package raises (DCP's are no Exception), it refuses
        return asdict(Found(None, refused=1, wrong=0))
    for candidate in candidates:
        try:
            step = step_of(peer.load(root, candidate))
        except BaseException:  # noqa: BLE001 - see above
            refused += 1
            continue
        if step is not None:
            return asdict(Found(step, refused, wrong))
        wrong += 1
    return asdict(Found(None, refused, wrong))
