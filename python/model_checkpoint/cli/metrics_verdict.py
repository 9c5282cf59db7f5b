"""What a verification of all segments of metrics has found."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from model_checkpoint.analytics.segment_check import DamagedSegment, find_damaged
from model_checkpoint.cli.render import count, escape, print_line
from model_checkpoint.database.listing import Listing
from model_checkpoint.utils.sizes import format_size
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["MetricsVerdict", "examine_metrics"]


@dataclass(frozen=True, slots=True)
class MetricsVerdict:
    """Attributes:
    segments: How many segments were read.
    nbytes: Their size.
    damaged: Those that are not what was written.
    """

    segments: int
    nbytes: int
    damaged: tuple[DamagedSegment, ...]

    def print(self) -> None:
        for flaw in self.damaged:
            print_line(escape(f"{flaw.info.experiment}, {count(flaw.info.points, 'point')} of metrics: {flaw.error}"))
        found = f"{len(self.damaged)} damaged" if self.damaged else "all sound"
        print_line(f"{count(self.segments, 'segment')} of metrics, {format_size(self.nbytes)}: {found}")

    def as_json(self) -> JsonValue:
        return {
            "segments": self.segments,
            "bytes": self.nbytes,
            "damage": [
                {"path": flaw.info.path, "points": flaw.info.points, "message": str(flaw.error)}
                for flaw in self.damaged
            ],
        }


def examine_metrics(root: Path) -> MetricsVerdict:
    """Read every segment of a store.

    Raises:
        CatalogError: The catalog failed.
        StorageError: The file system failed.
    """
    with Listing.open(root) as listing:
        segments = listing.segments()
        damaged = find_damaged(os.path.realpath(root), segments)
        listed = {segment.path for segment in listing.segments()}
    left = tuple(flaw for flaw in damaged if flaw.info.path in listed)  # the others were merged meanwhile
    return MetricsVerdict(len(segments), sum(segment.nbytes for segment in segments), left)
