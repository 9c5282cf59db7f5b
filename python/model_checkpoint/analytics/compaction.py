"""How points move from the catalog to segments, each exactly once, whatever dies in between.

    1. Settle what an earlier compaction has left: see `settlement`.
    2. Take points of the experiment, oldest first.
    3. Write them to a new segment and sync it. Nobody reads it: the catalog does not list it.
    4. In one transaction, list the segment and delete its points from the table, if the table still has exactly them.
       This is the moment at which they move. If it has not, somebody else was faster: remove the segment.

Small segments are merged in the same way: the new one is written, then one transaction lists it instead of the old
ones, then these are removed. The new one names what it replaces.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from model_checkpoint import _native
from model_checkpoint.analytics.segment import points_table, read_segment, write_segment
from model_checkpoint.analytics.segment_check import find_damaged
from model_checkpoint.analytics.settlement import Settlement, remove_segment
from model_checkpoint.database.metric_table import MetricTable
from model_checkpoint.database.records import SegmentInfo
from model_checkpoint.errors import StorageError
from model_checkpoint.storage.durable import make_directories
from model_checkpoint.storage.names import METRICS_NAME
from model_checkpoint.utils.file_lock import try_lock
from model_checkpoint.utils.optional_import import require
from model_checkpoint.utils.storage_errors import storage_errors

__all__ = ["Compacted", "Compactor"]

_log = logging.getLogger("model_checkpoint")

_MAX_POINTS = 1_000_000
"""Of one segment, and a batch; a compaction takes about 200 bytes of memory for each."""
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

    def compact_alone(self, experiment: str, *, least: int = 1) -> Compacted | None:
        """`compact`, unless somebody else is at it, for this experiment: both would do the same work, one in vain.

        Nothing depends on it: where the file system has no locks, compactors work at the same time.

        Returns:
            What was done; None if somebody else is at it.

        Raises:
            MissingDependencyError, StorageError, CatalogError: As `compact`.
        """
        if self._table.count(experiment) < least:
            return Compacted(0, (), 0, ())
        directory = os.path.join(self._root, experiment, METRICS_NAME)
        make_directories(directory)
        with _locked(directory) as is_alone:
            return self.compact(experiment, least=least) if is_alone else None

    def settle(self, experiment: str) -> tuple[str, ...]:
        """Decide about segments that the catalog does not list: see `settlement`.

        Returns:
            Paths of segments that are damaged, and were left alone.

        Raises:
            MissingDependencyError: pyarrow is not installed.
            StorageError: The file system failed; no point is lost.
            CatalogError: The catalog failed; no point is lost.
        """
        return Settlement(self._root, self._table, experiment).run()

    # --- moving -------------------------------------------------------------------------------------------------------

    def _move(self, experiment: str) -> SegmentInfo | None:
        points = self._table.points(experiment, limit=_MAX_POINTS)  # 2
        if not points.size:
            return None
        make_directories(os.path.join(self._root, experiment, METRICS_NAME))
        segment = write_segment(self._root, experiment, points_table(points, self._table.series(experiment)))  # 3
        first_id, last_id = points["id"][[0, -1]].tolist()
        if self._table.list_segment(segment, first_id=first_id, last_id=last_id):  # 4
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
        damaged = {flaw.info: flaw.error for flaw in find_damaged(self._root, small)}
        left = set(self._table.segments(experiment)).intersection(damaged)  # the others were merged meanwhile
        for segment in left:
            _log.warning("metrics: %s", damaged[segment])
        return [segment for segment in small if segment not in damaged], tuple(sorted(one.path for one in left))

    def _merge(self, experiment: str, segments: Sequence[SegmentInfo]) -> Iterator[str]:
        """Merge small segments; yields those that are gone."""
        arrow: Any = require("pyarrow", extra="analytics")
        for group in _groups(segments):
            try:
                tables = [read_segment(self._root, segment.path).table for segment in group]
            except StorageError as error:
                if error.errno != errno.ENOENT:
                    raise
                return  # somebody else merges them
            names = [os.path.basename(segment.path) for segment in group]
            unified = arrow.concat_tables(tables).unify_dictionaries()
            merged = write_segment(self._root, experiment, unified, replaces=names)
            if not self._table.replace_segments(group, merged):
                self._remove_unlisted(merged)
                return
            for segment in group:
                remove_segment(self._root, segment.path)
                yield segment.path

    def _remove_unlisted(self, segment: SegmentInfo) -> None:
        """Remove what lost a race, unless the winner made the very same: then both have one name."""
        if segment.path not in {listed.path for listed in self._table.segments(segment.experiment)}:
            remove_segment(self._root, segment.path)


@contextmanager
def _locked(directory: str) -> Iterator[bool]:
    """Lock a directory; false if somebody else has locked it."""
    with storage_errors("cannot lock the segments", directory):
        fd = _native.open_directory(directory, readable=True)
    try:
        yield try_lock(fd)
    finally:
        with suppress(OSError):  # nothing was written to it
            fcntl.flock(fd, fcntl.LOCK_UN)  # not left to the last descriptor: a child may have been forked meanwhile
        with suppress(OSError):
            os.close(fd)


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
