"""The points of metrics that the catalog holds, and the segments that hold the older ones.

A point is appended to the table, and later moves to a segment (a Parquet file, `model_checkpoint.analytics`). In which
of the two it is, one transaction decides: the one that lists the segment deletes the points that it holds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Connection, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from model_checkpoint.database.base_connection import BaseDatabaseConnection
from model_checkpoint.database.records import SegmentInfo
from model_checkpoint.database.schema import metric_segments, metrics, series
from model_checkpoint.errors import CatalogError, ConfigurationError

__all__ = ["NO_TAGS", "HotPoint", "MetricTable", "Point", "SeriesKey", "tags_text"]


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


Point: TypeAlias = tuple[int, float, int, float | None]
"""Step, value, microseconds since 1970, epoch."""

HotPoint: TypeAlias = tuple[int, int, int, float | None, int, float | None]
"""Id, number of the series, step, value (None is NaN), microseconds since 1970, epoch."""


_POINT = tuple(metrics.c[name] for name in ("id", "series", "step", "value", "time", "epoch"))
_SEGMENT = tuple(field.name for field in fields(SegmentInfo))


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
        with self._database.write() as connection:
            numbers = self._numbers(connection, experiment, points.keys())
            for key, added in points.items():
                _insert_points(connection, numbers[key], added)

    def series(self, experiment: str) -> dict[int, SeriesKey]:
        """The series of an experiment by number, those included whose points are all in segments."""
        with self._database.read() as connection:
            return _series_of(connection, experiment)

    def points(self, experiment: str, *, limit: int | None = None) -> Sequence[HotPoint]:
        """The points of an experiment in the order in which they were added, at most ``limit``, oldest first."""
        numbers = select(series.c.id).where(series.c.experiment == experiment)
        statement = select(*_POINT).where(metrics.c.series.in_(numbers)).order_by(metrics.c.id).limit(limit)
        with self._database.read() as connection:
            rows: Sequence[Any] = connection.execute(statement).cursor.fetchall()  # without a Row for each
        return rows

    def count(self, experiment: str) -> int:
        """How many points of an experiment are in the table."""
        statement = select(func.count()).select_from(metrics).join(series).where(series.c.experiment == experiment)
        with self._database.read() as connection:
            return int(connection.execute(statement).scalar_one())

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
            of_experiment = select(series.c.id).where(series.c.experiment == segment.experiment)
            between = metrics.c.id.between(first_id, last_id) & metrics.c.series.in_(of_experiment)
            found = connection.execute(select(func.count()).select_from(metrics).where(between)).scalar_one()
            if found != segment.points:
                return False
            connection.execute(delete(metrics).where(between))
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
            _delete_points(connection, held)
            connection.execute(delete(metric_segments).where(metric_segments.c.path.in_(tuple(replaced))))
            numbers = self._numbers(connection, segment.experiment, set(keys))
            _raise_id(connection, next(iter(numbers.values())), last_id)
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


def _insert_points(connection: Connection, number: int, points: Sequence[Point]) -> None:
    if connection.dialect.name == "sqlite":  # a third of the time, and SQLite makes NULL of NaN by itself
        statement = "INSERT INTO metrics (series, step, value, time, epoch) VALUES (?, ?, ?, ?, ?)"
        connection.exec_driver_sql(statement, [(number, *point) for point in points])
        return
    rows = [
        {"series": number, "step": step, "value": None if math.isnan(value) else value, "time": time, "epoch": epoch}
        for step, value, time, epoch in points
    ]
    connection.execute(insert(metrics), rows)


def _delete_points(connection: Connection, ids: Iterable[int]) -> None:
    for number in ids:
        connection.execute(delete(metrics).where(metrics.c.id == number))


def _raise_id(connection: Connection, any_series: int, at_least: int) -> None:
    """See to it that no id up to ``at_least`` is given out again: a row that was there is enough for that."""
    if (connection.execute(select(func.max(metrics.c.id))).scalar_one() or 0) >= at_least:
        return
    connection.execute(insert(metrics).values(id=at_least, series=any_series, step=0, time=0))
    connection.execute(delete(metrics).where(metrics.c.id == at_least))


def _segment_row(segment: SegmentInfo) -> dict[str, object]:
    return {name: getattr(segment, name) for name in _SEGMENT}
