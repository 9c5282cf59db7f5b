"""What to do about segments that the catalog does not list.

A process died between writing one and listing it, or works on it just now; or the catalog is new, or an older copy. So
what a segment has may be nowhere else, or in the catalog's table, or in segments that are listed: of several compactors
at once, each may have written the same points. Each unlisted segment ends in one of these ways:

    1. A listed one replaces it, or listed ones have all of its points: it is removed.
    2. They have none of them: it is listed, in the transaction that deletes those of its points from the table that
       are there, and that stops listing what it replaces. If the list was changed meanwhile, begin again.
    3. They have some of them, aside from those that it replaces. What neither they, those included, nor the table has
       is written to a new segment that replaces it; then, or if there is nothing, it is removed.

Whoever is about to list a segment finds out by the number of points in the table that it was overtaken; so it is never
listed after it was removed.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
from collections.abc import Iterable, Sequence
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
from model_checkpoint.database.metric_table import MetricTable, SeriesKey
from model_checkpoint.database.records import SegmentInfo
from model_checkpoint.errors import IntegrityError, StorageError
from model_checkpoint.storage.names import METRICS_NAME
from model_checkpoint.utils import real_path
from model_checkpoint.utils.storage_errors import storage_errors

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Settlement", "remove_segment"]

_log = logging.getLogger("model_checkpoint")

_IDS = re.compile(r"points-([0-9]+)-([0-9]+)-")
_POINT = [*SeriesKey._fields, "step", "time", "id"]
"""What a point is told by, also where an older copy of a catalog gave its id to another one."""


class Settlement:
    """Decides about the unlisted segments of one experiment.

    Args:
        root: The store.
        table: The points of its catalog.
        experiment: Whose segments.
    """

    def __init__(self, root: str, table: MetricTable, experiment: str) -> None:
        self._root = root
        self._table = table
        self._experiment = experiment
        self._replaces: dict[str, tuple[str, ...]] = {}
        self._damaged: set[str] = set()

    def run(self) -> tuple[str, ...]:
        """Decide about all of them.

        Returns:
            Paths of segments that are damaged, or that damaged ones keep from being decided about. They stay.

        Raises:
            StorageError: The file system failed.
            CatalogError: The catalog failed.
        """
        while True:
            listed = self._table.segments(self._experiment)
            known = self._damaged.union(segment.path for segment in listed)
            pending = sorted(path for path in self._paths() if path not in known)
            if not pending:
                return tuple(sorted(self._damaged))
            replaced = self._replaced_by(pending)  # they can wait for what replaces them
            self._settle(min(pending, key=lambda path: path in replaced), listed)

    def _settle(self, path: str, listed: Sequence[SegmentInfo]) -> None:
        if path in self._replaced_by(segment.path for segment in listed):
            remove_segment(self._root, path)
            return
        try:
            segment = read_segment(self._root, path)
            others = [other for other in listed if other.path not in segment.replaces]
            is_new = self._not_in(segment, others).num_rows == segment.info.points
            rest = segment.table if is_new else self._not_in(segment, listed)
        except IntegrityError as error:
            self._leave(path, error)
        except StorageError as error:
            if error.errno != errno.ENOENT:
                raise
            if error.path in {os.path.join(self._root, other.path) for other in self._table.segments()}:
                self._leave(path, error)  # a listed one is gone for good; else somebody was faster
        else:
            if is_new:
                self._adopt(segment, listed)
            else:
                self._salvage(segment, rest, listed)

    def _leave(self, path: str, reason: Exception) -> None:
        _log.warning("metrics: %s is left alone: %s", path, reason)
        self._damaged.add(path)

    def _not_in(self, segment: Segment, listed: Sequence[SegmentInfo]) -> pa.Table:
        """The points of a segment that none of the listed ones has."""
        rest = segment.table
        for other in listed:
            segment_path(self._root, other.path)  # raises: an edited catalog may list anything
            if _overlap(other.path, segment.info.path):
                rest = _joined(rest, read_segment(self._root, other.path).table, "left anti")
        return rest

    def _adopt(self, segment: Segment, listed: Sequence[SegmentInfo]) -> None:
        """List a segment, unless the list is another one by now."""
        names = segment.table.group_by(list(SeriesKey._fields)).aggregate([])
        is_listed = self._table.adopt_segment(
            segment.info,
            keys=[SeriesKey(**row) for row in names.to_pylist()],
            last_id=segment.last_id,
            held=_joined(segment.table, self._hot(), "left semi")["id"].to_pylist(),
            replaced=segment.replaces,
            expected=[other.path for other in listed],
        )
        for path in segment.replaces if is_listed else ():
            remove_segment(self._root, path)

    def _salvage(self, segment: Segment, rest: pa.Table, listed: Sequence[SegmentInfo]) -> None:
        """Remove a segment some of whose points are in listed ones, after those that are nowhere else were saved."""
        missing = _joined(rest, self._hot(), "left anti")
        if missing.num_rows:
            names = [os.path.basename(segment.info.path)]
            info = write_segment(self._root, self._experiment, _with_texts(missing, encoded=True), replaces=names)
            self._adopt(read_segment(self._root, info.path), listed)
        else:
            remove_segment(self._root, segment.info.path)

    def _hot(self) -> pa.Table:
        return points_table(self._table.points(self._experiment), self._table.series(self._experiment))

    def _paths(self) -> list[str]:
        directory = os.path.join(self._root, self._experiment, METRICS_NAME)
        with storage_errors("cannot list the segments", directory):
            try:
                names = real_path.names(directory)
            except FileNotFoundError:
                return []
        return [f"{self._experiment}/{METRICS_NAME}/{name}" for name in names if is_segment_name(name)]

    def _replaced_by(self, paths: Iterable[str]) -> set[str]:
        """What segments were merged from, as far as they can be read."""
        found: set[str] = set()
        for path in paths:
            if path not in self._replaces:
                self._replaces[path] = _read_replaced(self._root, path)
            found.update(self._replaces[path])
        return found


def remove_segment(root: str, path: str) -> None:
    """Remove a segment that nobody needs; that it is gone already is no error.

    Raises:
        StorageError: The file system failed.
    """
    with storage_errors("cannot remove the segment", path), contextlib.suppress(FileNotFoundError):
        real_path.unlink(segment_path(root, path))


def _read_replaced(root: str, path: str) -> tuple[str, ...]:
    """What a segment was merged from; nothing, if it cannot be read."""
    try:
        return read_replaced(root, path)
    except IntegrityError:
        return ()
    except StorageError as error:
        if error.errno != errno.ENOENT:
            raise
        return ()


def _joined(points: pa.Table, others: pa.Table, kind: str) -> pa.Table:
    """The points that are among others, or that are not."""
    others = _with_texts(others, encoded=False).select(_POINT)
    return _with_texts(points, encoded=False).join(others, keys=_POINT, join_type=kind)


def _with_texts(points: pa.Table, *, encoded: bool) -> pa.Table:
    """With texts as such, as Arrow joins them, or encoded by dictionaries, as they are written."""
    for name in SeriesKey._fields:
        texts = points[name].cast("string")
        place = points.schema.get_field_index(name)
        points = points.set_column(place, name, texts.dictionary_encode() if encoded else texts)
    return points


def _overlap(one: str, other: str) -> bool:
    """Whether the ids of two segments may be the same, by their names."""
    (first, last), (begin, end) = _ids(one), _ids(other)
    return first <= end and begin <= last


def _ids(path: str) -> tuple[int, int]:
    found: Any = _IDS.search(os.path.basename(path))
    return int(found[1]), int(found[2])
