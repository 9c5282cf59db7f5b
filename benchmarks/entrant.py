"""Who takes part in a comparison, and what it promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from benchmarks.harness import Contender

Role: TypeAlias = Literal["ceiling", "ours", "peer"]


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What holds once a call has returned.

    Attributes:
        hashed: The digests that it stored (saves) or checked (loads); empty for none.
        synced: Whether the bytes survive a power cut.
    """

    hashed: str = ""
    synced: bool = False

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.hashed, "fsync" if self.synced else ""))) or "none"


@dataclass(frozen=True, slots=True)
class Entrant:
    """A row of a table before it is measured.

    Attributes:
        nbytes: The bytes that one run moves; None for those of the group.
    """

    contender: Contender
    role: Role
    guarantee: Guarantee = Guarantee()
    nbytes: int | None = None

    @property
    def name(self) -> str:
        return self.contender.name
