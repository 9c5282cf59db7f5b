"""What came of a comparison: rows, and what they are measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from benchmarks.entrant import Guarantee, Role
from benchmarks.harness import Sample

Cache: TypeAlias = Literal["", "hot", "cold"]


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    role: Role
    guarantee: Guarantee
    sample: Sample

    @property
    def rate(self) -> float:
        """Median GB/s."""
        return self.sample.rate


@dataclass(frozen=True, slots=True)
class Result:
    """The rows of one group, measured in turn.

    Attributes:
        group: Its name.
        cache: Whether the page cache held the whole file before each run ("hot"), or nothing of it ("cold").
        bounded: Whether the lowest of its ceilings bounds the other rows.
    """

    group: str
    cache: Cache
    rows: tuple[Row, ...]
    bounded: bool = True

    @property
    def title(self) -> str:
        return f"{self.group}, {self.cache}" if self.cache else self.group

    @property
    def limit(self) -> Row | None:
        """The ceiling that is reached first; None if there is none."""
        ceilings = [row for row in self.rows if row.role == "ceiling"]
        return min(ceilings, key=lambda row: row.rate) if self.bounded and ceilings else None

    @property
    def best_peer(self) -> Row | None:
        return max((row for row in self.rows if row.role == "peer"), key=lambda row: row.rate, default=None)

    def ratio(self, row: Row) -> float | None:
        """How many times as fast as the best peer; None for ceilings and where there is no peer."""
        best = self.best_peer
        return None if best is None or row.role == "ceiling" else row.rate / best.rate

    def share(self, row: Row) -> float | None:
        """Share of the ceiling. Rows that check less than ours may pass it, if it is that of hashing."""
        limit = self.limit
        return None if limit is None else row.rate / limit.rate

    def __getitem__(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    def find(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.name == name), None)
