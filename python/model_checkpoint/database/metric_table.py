"""The points of metrics that the catalog holds, and the segments that hold the older ones.

A point is appended to the table, and later moves to a segment (a Parquet file, `model_checkpoint.analytics`). In which
of the two it is, one transaction decides: the one that lists the segment deletes the points that it holds.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from model_checkpoint.database.base_connection import BaseDatabaseConnection
from model_checkpoint.database.metric_batch import HotPoints, Point, pack, pieces, unpack
from model_checkpoint.database.records import SegmentInfo
from model_checkpoint.database.schema import metric_segments, metrics, series
from model_checkpoint.database.writing import raise_counter, take_numbers
from model_checkpoint.errors import CatalogError, ConfigurationError

__all__ = ["NO_TAGS", "MetricTable", "SeriesKey", "tags_text"]


NO_TAGS = "{}"


class SeriesKey(NamedTuple):
    """What tells the series of one experiment apart.

    Attributes:
        name: Name of the metric.
        split: Of which part of the data it is (``"train"``); empty if that was not said.
        tags: Further marks, as canonical JSON text.
    """

    name: str
    split: str = ""
    tags: str = NO_TAGS


def tags_text(tags: Mapping[Any, Any] | None) -> str:
    """Tags as the text that tells series apart.

    Raises:
        ConfigurationError: A key or value is no text.
    """
    if not tags:
        return NO_TAGS
    if not isinstance(tags, Mapping):
        raise ConfigurationError(f"tags are text by name, not {tags!r:.40}")
    for key, value in tags.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ConfigurationError(f"tags are text by name, not {key!r:.40}: {value!r:.40}")
    return json.dumps(dict(tags), sort_keys=True, separators=(",", ":"))


_SEGMENT = tuple(field.name for field in fields(SegmentInfo))
_LAST_ID = "point"
"""The counter of ids: one names a point for good, as segments say which ids they hold."""


class MetricTable:
    """Points and segments of all experiments of a catalog.

    Args:
        database: The catalog.
    """

    def __init__(self, database: BaseDatabaseConnection) -> None:
        self._database = database

    # --- points -------------------------------------------------------------------------------------------------------

    def append(self, experiment: str, points: Mapping[SeriesKey, Sequence[Point]]) -> None:
        """Add points, durably: of each series in their order.

        Raises:
            CatalogError: The catalog does not know the experiment, or failed.
        """
        import numpy as np

        packed = pack(dict(enumerate(points.values())))  # before anybody has to wait for it
        with self._database.write() as connection:
            known = self._numbers(connection, experiment, points.keys())
            numbers = np.array([known[key] for key in points], np.int64)
            packed["series"] = numbers[packed["series"]]
            packed["id"] += _take_ids(connection, packed.size)
            _insert_points(connection, experiment, packed)

    def series(self, experiment: str) -> dict[int, SeriesKey]:
        """The series of an experiment by number, those included whose points are all in segments."""
        with self._database.read() as connection:
            return _series_of(connection, experiment)

    def points(self, experiment: str, *, limit: int | None = None) -> HotPoints:
        """The points of an experiment in the order in which they were added, oldest first.

        Args:
            experiment: Its name.
            limit: After how many to stop, rounded up to what was added together.

        Raises:
            CatalogDamagedError: The table holds what nobody has written to it.
        """
        own = metrics.c.experiment == experiment
        with self._database.read() as connection:
            sizes = select(metrics.c.id, metrics.c.points).where(own).order_by(metrics.c.id)
            last_id = _last_within([(number, points) for number, points in connection.execute(sizes)], limit)
            chosen = own & (metrics.c.id <= last_id)
            rows = connection.execute(select(metrics.c.data).where(chosen).order_by(metrics.c.id))
            return unpack(rows.scalars().all())

    def count(self, experiment: str) -> int:
        """How many points of an experiment are in the table."""
        with self._database.read() as connection:
            return _count(connection, metrics.c.experiment == experiment)

    # --- segments -----------------------------------------------------------------------------------------------------

    def segments(self, experiment: str | None = None) -> tuple[SegmentInfo, ...]:
        """The segments of an experiment, or of all, by path."""
        statement = select(*(metric_segments.c[name] for name in _SEGMENT)).order_by(metric_segments.c.path)
        if experiment is not None:
            statement = statement.where(metric_segments.c.experiment == experiment)
        with self._database.read() as connection:
            return tuple(SegmentInfo(*row) for row in connection.execute(statement))

    def list_segment(self, segment: SegmentInfo, *, first_id: int, last_id: int) -> bool:
        """Say that a segment holds the points from ``first_id`` to ``last_id``, and delete them from the table.

        Returns:
            Whether that is so: false, and nothing was changed, if the table does not hold as many points between the
            two as the segment does. Somebody else was faster, or has added some.
        """
        with self._database.write() as connection:
            between = metrics.c.id.between(first_id, last_id)
            own = between & (metrics.c.experiment == segment.experiment)
            if _count(connection, own) != segment.points:
                return False
            connection.execute(delete(metrics).where(own))
            connection.execute(insert(metric_segments).values(_segment_row(segment)))
            return True

    def adopt_segment(
        self,
        segment: SegmentInfo,
        *,
        keys: Iterable[SeriesKey],
        last_id: int,
        held: Iterable[int],
        replaced: Iterable[str],
        expected: Collection[str],
    ) -> bool:
        """List a segment that exists, delete those points from the table that it holds, and never give out its ids.

        Args:
            segment: The segment.
            keys: The series in it.
            last_id: The largest id in it.
            held: Ids of the points in the table that are in the segment, too.
            replaced: Paths of segments whose points are in it; they are listed no more.
            expected: Paths of all segments of the experiment that are listed so far.

        Returns:
            Whether that is so: false, and nothing was changed, if other segments are listed than was expected.

        Raises:
            CatalogError: The catalog does not know the experiment, or failed.
        """
        listed = select(metric_segments.c.path).where(metric_segments.c.experiment == segment.experiment)
        with self._database.write() as connection:
            if set(connection.execute(listed).scalars()) != set(expected):
                return False
            _delete_points(connection, segment.experiment, tuple(held))
            connection.execute(delete(metric_segments).where(metric_segments.c.path.in_(tuple(replaced))))
            self._numbers(connection, segment.experiment, set(keys))
            raise_counter(connection, _LAST_ID, last_id)
            connection.execute(insert(metric_segments).values(_segment_row(segment)))
            return True

    def replace_segments(self, old: Sequence[SegmentInfo], new: SegmentInfo) -> bool:
        """List one segment instead of several that it holds the points of.

        Returns:
            Whether that is so: false, and nothing was changed, if one of the old ones is not listed any more.
        """
        paths = [segment.path for segment in old]
        chosen = metric_segments.c.path.in_(paths)
        with self._database.write() as connection:
            listed = connection.execute(select(func.count()).select_from(metric_segments).where(chosen)).scalar_one()
            if listed != len(paths):
                return False
            connection.execute(delete(metric_segments).where(chosen))
            connection.execute(insert(metric_segments).values(_segment_row(new)))
            return True

    def _numbers(self, connection: Connection, experiment: str, keys: AbstractSet[SeriesKey]) -> dict[SeriesKey, int]:
        """The numbers of series; those that are new get one. Asked each time: another process may have made some."""
        known = {key: number for number, key in _series_of(connection, experiment).items()}
        missing = [{"experiment": experiment, **key._asdict()} for key in sorted(keys - known.keys())]
        if not missing:
            return known
        try:
            connection.execute(insert(series), missing)
        except IntegrityError as error:
            raise CatalogError(f"metrics of the experiment {experiment!r}, which the catalog does not know") from error
        return self._numbers(connection, experiment, keys)


def _series_of(connection: Connection, experiment: str) -> dict[int, SeriesKey]:
    statement = select(series.c.id, series.c.name, series.c.split, series.c.tags)
    rows = connection.execute(statement.where(series.c.experiment == experiment))
    return {number: SeriesKey(name, split, tags) for number, name, split, tags in rows}


def _last_within(sizes: Iterable[tuple[int, int]], limit: int | None) -> int:
    """The last id that is needed for so many points, given the ids and numbers of points of rows."""
    last_id, count = 0, 0
    for number, points in sizes:
        if limit is not None and count >= limit:
            break
        last_id, count = number, count + points
    return last_id


def _count(connection: Connection, chosen: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.sum(metrics.c.points)).where(chosen)).scalar() or 0)


def _take_ids(connection: Connection, count: int) -> int:
    """The first of ids that no point has had, whatever became of the counter."""
    raise_counter(connection, _LAST_ID, connection.execute(select(func.max(metrics.c.id))).scalar() or 0)
    return take_numbers(connection, _LAST_ID, count)


def _insert_points(connection: Connection, experiment: str, points: HotPoints) -> None:
    rows = [
        {"id": int(piece["id"][-1]), "experiment": experiment, "points": piece.size, "data": piece.tobytes()}
        for piece in pieces(points)
    ]
    if rows:
        connection.execute(insert(metrics), rows)


def _delete_points(connection: Connection, experiment: str, ids: Sequence[int]) -> None:
    """Delete single points, each of which may be one of many in its row."""
    import numpy as np

    own = metrics.c.experiment == experiment
    rows = connection.execute(select(metrics.c.id, metrics.c.data).where(own)).all() if ids else ()
    for number, data in rows:
        points = unpack([data])
        kept = points[~np.isin(points["id"], ids)]
        if kept.size < points.size:
            connection.execute(delete(metrics).where(metrics.c.id == number))
            _insert_points(connection, experiment, kept)


def _segment_row(segment: SegmentInfo) -> dict[str, object]:
    return {name: getattr(segment, name) for name in _SEGMENT}
