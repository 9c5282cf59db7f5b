"""Reading what is stored before it is needed, so that damage is found while there is still a good copy.

    1. Take the checkpoint that was longest not looked at; `plan_scrub` decides.
    2. Read its manifest, then each file, piece by piece, from the device: what the page cache has proves nothing.
    3. Look for a good copy of what is damaged; to repair, write the whole file anew beside it and exchange the two:
       see `storage.repair`.
    4. Note beside the checkpoint when its first byte was read, if all of it is sound now.

Whatever ends a scrub, the next one goes on where it was: what is done is noted, and so is how far the checkpoint under
way was read.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from model_checkpoint.analytics.segment_check import read_from_device
from model_checkpoint.checkpoint.remarks import Remarks
from model_checkpoint.checkpoint.scrub_due import Due, due, positive
from model_checkpoint.checkpoint.scrub_journal import Position, ScrubJournal, read_journal, write_journal
from model_checkpoint.checkpoint.scrub_report import ScrubDamage, ScrubReport
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database.metric_table import MetricTable
from model_checkpoint.database.records import SegmentInfo
from model_checkpoint.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    IntegrityError,
    StorageError,
)
from model_checkpoint.events import CheckpointDamaged, CheckpointVerified, Event
from model_checkpoint.storage.contents import Contents
from model_checkpoint.storage.examination import Step, examine_description, examine_file
from model_checkpoint.storage.flaws import Flaw
from model_checkpoint.storage.good_copies import GoodCopies
from model_checkpoint.storage.manifest import Manifest
from model_checkpoint.storage.names import MANIFEST_NAME
from model_checkpoint.storage.repair import Diagnosis, Remedy, diagnose, diagnose_manifest
from model_checkpoint.storage.scan import belongs_at, open_at
from model_checkpoint.types import CheckpointInfo, CheckpointState, FileInfo
from model_checkpoint.utils.clock import utc_now
from model_checkpoint.utils.presence import is_present
from model_checkpoint.utils.throttle import Throttle
from model_checkpoint.utils.uncached import is_unreadable

__all__ = ["Scrubber", "scrub"]

_MIB = 1024 * 1024
_PIECE_BYTES = 32 * _MIB


def scrub(
    root: str | os.PathLike[str],
    *refs: str | int,
    repair: bool = False,
    copies: Sequence[str | os.PathLike[str]] = (),
    bytes_per_s: float | None = None,
    within_s: float | None = None,
    older_than_s: float | None = None,
) -> ScrubReport:
    """Read checkpoints and metrics of a store from its device, note what is sound, find or repair what is damaged.

    Args:
        root: The store's directory.
        refs: Which checkpoints; without any, all of them, the one longest not looked at first, then all metrics.
        repair: Whether to repair what has a good copy.
        copies: Where to look for good copies, besides the store itself: other stores, directories, files.
        bytes_per_s: How much to read in a second, at most; what a repair moves does not count.
        within_s: How many seconds to take, at most. The next scrub goes on from there.
        older_than_s: Leave out what was verified since so many seconds.

    Returns:
        What was read and what was found.

    Raises:
        CheckpointNotFoundError: There is no store, or no such checkpoint.
        ConfigurationError: A limit is not positive.
        StorageError: The file system failed.
        CatalogError: The catalog is busy, or of a later version.
    """
    with Workspace.open(root, create=False) as workspace:
        scrubber = Scrubber(
            workspace, copies=copies, repair=repair, bytes_per_s=bytes_per_s, within_s=within_s, emit=lambda _: None
        )
        return scrubber.run(due(workspace, refs, older_than_s=older_than_s))


@dataclass(frozen=True, slots=True)
class _Place:
    """A checkpoint as far as it is known.

    Attributes:
        ref: What to call it.
        path: Where it is, relative to the root.
        id: Its id, or None.
    """

    ref: str
    path: str
    id: str | None = None

    @classmethod
    def of(cls, checkpoint: CheckpointInfo) -> _Place:
        return cls(checkpoint.ref, checkpoint.path, checkpoint.id)


class Scrubber:
    """Reads what is due, until it is done, out of time or interrupted; then `report` tells how far it came.

    Args:
        workspace: The store and its catalog.
        emit: Who hears of what is found.
        copies: Where to look for good copies, besides the store itself.
        repair: Whether to repair what has a good copy.
        bytes_per_s: How much to read in a second, at most; None for no limit.
        within_s: How many seconds to take, at most; None for no limit.
        advance: Told of the bytes that are done.

    Raises:
        ConfigurationError: A limit is not positive.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        emit: Callable[[Event], None],
        copies: Sequence[str | os.PathLike[str]] = (),
        repair: bool = False,
        bytes_per_s: float | None = None,
        within_s: float | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> None:
        for name, limit in (("bytes_per_s", bytes_per_s), ("within_s", within_s)):
            if limit is not None:
                positive(name, limit)
        for path in copies:
            if not os.path.exists(path):
                raise CheckpointNotFoundError(f"there is nothing at {os.fspath(path)!r}", ref=os.fspath(path))
        self._workspace = workspace
        self._remarks = Remarks(workspace)
        self._emit = emit
        self._copies = GoodCopies(workspace.store.root, [os.fspath(path) for path in copies])
        self._repair = repair
        self._throttle = Throttle(bytes_per_s)
        self._piece_bytes = _piece_bytes(bytes_per_s)
        self._began_at = time.monotonic()
        self._late_at = None if within_s is None else self._began_at + within_s
        self._advance = advance
        self._journal = read_journal(workspace.store.root)
        self._unwritten = 0
        self._starts_over = False
        self._queued = self._checked = self._segments = self._nbytes = 0
        self._damaged: list[ScrubDamage] = []
        self._skipped: list[str] = []

    @property
    def report(self) -> ScrubReport:
        """What was done so far."""
        return ScrubReport(
            checked=self._checked,
            nbytes=self._nbytes,
            seconds=time.monotonic() - self._began_at,
            damaged=tuple(self._damaged),
            skipped=tuple(self._skipped),
            remaining=self._queued - self._checked - len(self._skipped),
            segments=self._segments,
        )

    def run(self, todo: Due) -> ScrubReport:
        """Read what is due.

        Raises:
            StorageError: The file system failed.
            CatalogError: The catalog failed.
        """
        self._queued = len(todo)
        self._starts_over = todo.named and self._repair
        try:
            for path in todo.strays:
                if not self._is_late or not self._nbytes:
                    self._scrub_stray(path)
            for checkpoint in todo.checkpoints:
                if not self._is_late or not self._nbytes:
                    self._scrub(checkpoint)
            for segment in todo.segments:
                if not self._is_late:
                    self._scrub_segment(segment)
        finally:
            self._write_journal()
        return self.report

    # --- one checkpoint -----------------------------------------------------------------------------------------------

    def _scrub(self, checkpoint: CheckpointInfo) -> None:
        began_at = time.monotonic()
        try:
            contents, course = self._open(checkpoint), self._course(checkpoint)
            if contents is None:
                done: Position | None = dataclasses.replace(course, sound=False)
            else:
                done = self._read(checkpoint, contents, course)
            if done is not None:
                self._finish(checkpoint, done, time.monotonic() - began_at)
        except CheckpointNotFoundError:
            self._skipped.append(checkpoint.ref)

    def _course(self, checkpoint: CheckpointInfo) -> Position:
        """Where to begin: at the beginning, or where an interruption has left off."""
        position = self._journal.position
        if (
            position is not None
            and position.id == checkpoint.id
            and (checkpoint.verified_at is None or position.began_at > checkpoint.verified_at)
            and (position.sound or not self._starts_over)
        ):
            return position
        return Position(checkpoint.id, utc_now(), "", 0, sound=True)

    def _open(self, checkpoint: CheckpointInfo) -> Contents | None:
        """The checkpoint, with its manifest repaired if it must and can be; None if that cannot be trusted."""

        def is_right(manifest: Manifest) -> bool:
            return manifest.id == checkpoint.id and manifest.digest == checkpoint.digest

        message = ""
        for _ in range(2):
            try:
                contents = open_at(self._workspace.store.root, checkpoint.path, uncached=True)
                if is_right(contents.manifest):
                    return contents
                message = "not the manifest that was committed"
            except (IntegrityError, StorageError) as error:
                if isinstance(error, StorageError) and not is_unreadable(error):
                    raise
                message = str(error)
            if not self._settle_manifest(_Place.of(checkpoint), message, is_right):
                return None
        return None

    def _read(self, checkpoint: CheckpointInfo, contents: Contents, course: Position) -> Position | None:
        """Read the files; how that went, or None if there was no time for all of them."""
        place, files = _Place.of(checkpoint), contents.manifest.files
        flaws = examine_description(contents)
        if flaws:
            course = dataclasses.replace(course, sound=self._settle(place, _hopeless(flaws)))
        for info in files:
            start = course.offset if info.name == course.file else 0
            if info.name < course.file or (info.name == course.file and start >= info.nbytes):
                self._advance(info.nbytes)
                continue
            self._advance(start)
            here = dataclasses.replace(course, file=info.name, offset=start)
            course = self._read_file(place, contents.directory, info, here)
            if self._is_late and (course.offset < info.nbytes or info is not files[-1]):
                return None
        return course

    def _read_file(self, place: _Place, directory: str, info: FileInfo, course: Position) -> Position:
        """Read one file and settle what is damaged in it; how far it came."""
        flaws: list[Flaw] = []
        start, was_sound = course.offset, course.sound
        steps = examine_file(directory, info, piece_bytes=self._piece_bytes, start=start)
        try:
            for step in steps:
                flaws.extend(step.flaws)
                course = dataclasses.replace(course, offset=step.end, sound=was_sound and not flaws)
                self._count(step, course)
                if self._is_late and step.end > start and not flaws:  # each scrub comes a little further; and a
                    break  # file that is damaged is read to its end, or it could not be repaired
        except KeyboardInterrupt:
            self._settle(place, _hopeless(flaws), problem="interrupted before anybody looked for a good copy")
            raise
        if flaws:
            if not is_present(directory):  # where no lock could keep it
                raise CheckpointNotFoundError(f"{place.ref} was removed meanwhile", ref=place.ref)
            diagnosis = diagnose(directory, place.path, info, flaws, self._copies)
            course = dataclasses.replace(course, sound=self._settle(place, diagnosis) and was_sound)
            self._remember(course)
        return course

    def _finish(self, checkpoint: CheckpointInfo, course: Position, seconds: float) -> None:
        """Note what was found, where it lasts."""
        damaged = {key: moment for key, moment in self._journal.damaged.items() if key != checkpoint.id}
        if course.sound:
            checkpoint = self._remarks.set_verified(checkpoint, course.began_at)
            self._emit(CheckpointVerified(checkpoint, seconds))
        else:
            damaged[checkpoint.id] = course.began_at
            if checkpoint.verified_at is not None:
                self._remarks.set_damaged(checkpoint)
            if all(damage.ref != checkpoint.ref or damage.repaired for damage in self._damaged):
                self._settle(_Place.of(checkpoint), _hopeless([_FOUND_EARLIER]), problem="name it to have it read anew")
        self._checked += 1
        if checkpoint.state is CheckpointState.QUARANTINED:
            self._workspace.reconcile(checkpoint.experiment)
        if self._journal.position is not None or damaged != self._journal.damaged:
            self._journal = ScrubJournal(MappingProxyType(damaged))
            self._write_journal()

    # --- manifests that nobody knows ----------------------------------------------------------------------------------

    def _scrub_stray(self, path: str) -> None:
        """A directory that the catalog cannot know: its manifest does not tell what it is."""
        try:
            open_at(self._workspace.store.root, path, uncached=True)
        except CheckpointNotFoundError:
            self._skipped.append(path)
            return
        except IntegrityError as error:
            place = _Place(path, path)
            if not self._settle_manifest(place, str(error), lambda manifest: belongs_at(manifest, path)):
                self._checked += 1
                return
        self._workspace.reconcile(path.partition("/")[0])
        self._scrub(self._workspace.catalog.get(self._workspace.describe(path).id))

    # --- metrics ------------------------------------------------------------------------------------------------------

    def _scrub_segment(self, segment: SegmentInfo) -> None:
        try:
            read_from_device(self._workspace.store.root, segment)
        except (IntegrityError, StorageError) as error:
            if isinstance(error, StorageError) and not is_unreadable(error):
                raise
            if segment not in MetricTable(self._workspace.catalog).segments(segment.experiment):
                return  # merged into another one meanwhile
            self._settle(_Place(segment.experiment, segment.path), _hopeless([Flaw(segment.path, str(error))]))
        self._segments += 1
        self._nbytes += segment.nbytes
        self._advance(segment.nbytes)
        self._throttle.passed(segment.nbytes)

    # --- damage -------------------------------------------------------------------------------------------------------

    def _settle_manifest(self, place: _Place, message: str, is_right: Callable[[Manifest], bool]) -> bool:
        flaw = Flaw(MANIFEST_NAME, message)
        return self._settle(place, diagnose_manifest(place.path, flaw, is_right, self._copies))

    def _settle(self, place: _Place, diagnosis: Diagnosis, problem: str = "") -> bool:
        """Repair a file if that is wanted and possible, and report its damage; whether it is sound now."""
        failure, repaired = "", False
        if diagnosis.remedy is None:
            failure = "another part of the file has no good copy"
        elif self._repair:
            try:
                self._apply(diagnosis.remedy, place)
                repaired = True
            except CheckpointError as error:
                failure = str(error)
        for flaw, copy in diagnosis.flaws:
            reason = problem if copy is None else failure
            damage = ScrubDamage.of(place.ref, flaw, copy=copy, repaired=repaired, problem=reason)
            self._damaged.append(damage)
            self._emit(CheckpointDamaged(place.ref, str(damage), repaired))
        return repaired

    def _apply(self, remedy: Remedy, place: _Place) -> None:
        store = self._workspace.store
        remedy.apply(store.staging, os.path.join(store.root, place.path))
        self._workspace.catalog.audit("repair", checkpoint=place.id, details={"ref": place.ref, "file": remedy.name})

    # --- limits, and what is remembered -------------------------------------------------------------------------------

    @property
    def _is_late(self) -> bool:
        return self._late_at is not None and time.monotonic() >= self._late_at

    def _count(self, step: Step, course: Position) -> None:
        self._nbytes += step.nbytes
        self._advance(step.nbytes)
        self._unwritten += step.nbytes
        self._remember(course)
        if self._unwritten >= self._piece_bytes:
            self._write_journal()
        self._throttle.passed(step.nbytes)

    def _remember(self, course: Position) -> None:
        self._journal = dataclasses.replace(self._journal, position=course)

    def _write_journal(self) -> None:
        self._unwritten = 0
        write_journal(self._workspace.store.root, self._journal)


_FOUND_EARLIER = Flaw("", "an earlier scrub, which did not read all of it, found damage")


def _hopeless(flaws: Iterable[Flaw]) -> Diagnosis:
    """Damage for which nobody has looked for a copy."""
    return Diagnosis(tuple((flaw, None) for flaw in flaws), None)


def _piece_bytes(bytes_per_s: float | None) -> int:
    """How much to read at once: much for speed, a quarter of a second's worth for an even pace."""
    if bytes_per_s is None:
        return _PIECE_BYTES
    return min(_PIECE_BYTES, max(_MIB, int(bytes_per_s / 4)))
