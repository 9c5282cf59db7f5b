"""How points move from the catalog to segments, each exactly once, whatever dies in between.

    1. Settle what an earlier compaction has left: see `settle`.
    2. Take points of the experiment, oldest first.
    3. Write them to a new segment and sync it. Nobody reads it: the catalog does not list it.
    4. In one transaction, list the segment and delete its points from the table, if the table still has exactly them.
       This is the moment at which they move. If it has not, somebody else was faster: remove the segment.

Small segments are merged in the same way: the new one is written, then one transaction lists it instead of the old
ones, then these are removed. The new one names what it replaces.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model_checkpoint.analytics.segment import (
    Segment,
    is_segment_name,
    points_table,
    read_replaced,
    read_segment,
    segment_path,
    write_segment,
)
from model_checkpoint.analytics.segment_check import find_damaged
from model_checkpoint.database.metric_table import MetricTable, SeriesKey
from model_checkpoint.database.records import SegmentInfo
from model_checkpoint.errors import IntegrityError
from model_checkpoint.storage.durable import make_directories
from model_checkpoint.storage.names import METRICS_NAME
from model_checkpoint.utils import real_path
from model_checkpoint.utils.optional_import import require
from model_checkpoint.utils.storage_errors import storage_errors

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Compacted", "Compactor"]

_log = logging.getLogger("model_checkpoint")

_MAX_POINTS = 1_000_000
"""Of one segment; a compaction takes some hundred bytes of memory for each."""
_MERGED = 8


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction did.

    Attributes:
        points: How many points moved from the catalog.
        segments: The segments that are new.
        merged: How many segments were merged into others.
        damaged: Segments that are damaged or gone; left alone.
    """

    points: int
    segments: tuple[SegmentInfo, ...]
    merged: int
    damaged: tuple[str, ...]


class Compactor:
    """Moves the points of experiments to segments. Any number may work at once, in any number of processes.

    Args:
        root: The store.
        table: The points of its catalog.
    """

    def __init__(self, root: str, table: MetricTable) -> None:
        self._root = root
        self._table = table

    def compact(self, experiment: str, *, least: int = 1) -> Compacted:
        """Move all points of an experiment that its catalog has.

        Args:
            experiment: Its name.
            least: Do nothing for fewer points than that.

        Raises:
            MissingDependencyError: pyarrow is not installed.
            StorageError: The file system failed; no point is lost.
            CatalogError: The catalog failed; no point is lost.
        """
        damaged = self.settle(experiment)
        written: list[SegmentInfo] = []
        while self._table.count(experiment) >= least:
            segment = self._move(experiment)
            if segment is None:
                break
            written.append(segment)
        merged = 0
        if written:
            segments, unreadable = self._readable(experiment)
            merged = sum(1 for _ in self._merge(experiment, segments))
            damaged += unreadable
        return Compacted(sum(segment.points for segment in written), tuple(written), merged, damaged)

    def settle(self, experiment: str) -> tuple[str, ...]:
        """Decide about segments that the catalog does not list: a process died, or the catalog is new or an older one.

        What a listed one replaces is removed. The others are listed, and the points that they hold deleted from the
        catalog, if they are there: those with the same id, series, step and time.

        Returns:
            Paths of segments that are damaged. They are left alone.
        """
        listed = {segment.path for segment in self._table.segments(experiment)}
        unlisted = [path for path in self._paths(experiment) if path not in listed]
        if not unlisted:
            return ()
        replaced = self._replaced_by(listed)
        damaged = []
        for path in sorted(unlisted):
            if path in replaced:
                self._remove(path)
                continue
            try:
                segment = read_segment(self._root, path)
            except IntegrityError as error:
                _log.warning("metrics: %s", error)
                damaged.append(path)
            else:
                self._adopt(segment)
        return tuple(damaged)

    # --- moving -------------------------------------------------------------------------------------------------------

    def _move(self, experiment: str) -> SegmentInfo | None:
        points = self._table.points(experiment, limit=_MAX_POINTS)  # 2
        if not points:
            return None
        make_directories(os.path.join(self._root, experiment, METRICS_NAME))
        segment = write_segment(self._root, experiment, points_table(points, self._table.series(experiment)))  # 3
        if self._table.list_segment(segment, first_id=points[0][0], last_id=points[-1][0]):  # 4
            return segment
        self._remove_unlisted(segment)
        return None

    # --- merging ------------------------------------------------------------------------------------------------------

    def _readable(self, experiment: str) -> tuple[list[SegmentInfo], tuple[str, ...]]:
        """The small segments of an experiment, and the paths of those of them that cannot be read.

        A damaged one stays as it is: it is not lost before somebody has looked for a copy, and nobody waits for that.
        """
        small = [segment for segment in self._table.segments(experiment) if segment.points < _MAX_POINTS]
        if len(small) < _MERGED:
            return [], ()
        damaged = {flaw.info.path: flaw.error for flaw in find_damaged(self._root, small)}
        for error in damaged.values():
            _log.warning("metrics: %s", error)
        return [segment for segment in small if segment.path not in damaged], tuple(damaged)

    def _merge(self, experiment: str, segments: Sequence[SegmentInfo]) -> Iterator[str]:
        """Merge small segments; yields those that are gone."""
        arrow: Any = require("pyarrow", extra="analytics")
        for group in _groups(segments):
            tables = [read_segment(self._root, segment.path).table for segment in group]
            names = [os.path.basename(segment.path) for segment in group]
            unified = arrow.concat_tables(tables).unify_dictionaries()
            merged = write_segment(self._root, experiment, unified, replaces=names)
            if not self._table.replace_segments(group, merged):
                self._remove_unlisted(merged)
                return
            for segment in group:
                self._remove(segment.path)
                yield segment.path

    # --- settling -----------------------------------------------------------------------------------------------------

    def _adopt(self, segment: Segment) -> None:
        points = self._table.points(segment.info.experiment)
        hot = points_table(points, self._table.series(segment.info.experiment))
        names = segment.table.group_by(list(SeriesKey._fields)).aggregate([])
        self._table.adopt_segment(
            segment.info,
            keys=[SeriesKey(**row) for row in names.to_pylist()],
            last_id=segment.last_id,
            held=_held(hot, segment.table),
            replaced=segment.replaces,
        )
        for path in segment.replaces:
            self._remove(path)

    def _replaced_by(self, paths: Iterable[str]) -> set[str]:
        """What segments were merged from, as far as they can be read."""
        found: set[str] = set()
        for path in paths:
            with contextlib.suppress(IntegrityError, FileNotFoundError):
                found.update(read_replaced(self._root, path))
        return found

    def _paths(self, experiment: str) -> list[str]:
        directory = os.path.join(self._root, experiment, METRICS_NAME)
        with storage_errors("cannot list the segments", directory):
            try:
                names = real_path.names(directory)
            except FileNotFoundError:
                return []
        return [f"{experiment}/{METRICS_NAME}/{name}" for name in names if is_segment_name(name)]

    def _remove_unlisted(self, segment: SegmentInfo) -> None:
        """Remove what lost a race, unless the winner made the very same: then both have one name."""
        if segment.path not in {listed.path for listed in self._table.segments(segment.experiment)}:
            self._remove(segment.path)

    def _remove(self, path: str) -> None:
        with storage_errors("cannot remove the segment", path), contextlib.suppress(FileNotFoundError):
            real_path.unlink(segment_path(self._root, path))


def _groups(segments: Sequence[SegmentInfo]) -> Iterator[list[SegmentInfo]]:
    """What to merge: small segments, as many as make a full one, if there are enough of them."""
    group: list[SegmentInfo] = []
    for segment in sorted(segments, key=lambda segment: segment.first_step):
        if group and sum(s.points for s in group) + segment.points > _MAX_POINTS:
            if len(group) >= _MERGED:
                yield group
            group = []
        group.append(segment)
    if len(group) >= _MERGED:
        yield group


def _held(hot: pa.Table, segment: pa.Table) -> list[int]:
    """Ids of the points of the catalog that a segment holds, too: the same id, series, step and microsecond."""
    columns = [*SeriesKey._fields, "step", "time", "id"]
    both = hot.join(segment.select(columns), keys=columns, join_type="left semi")
    return sorted(both["id"].to_pylist())
