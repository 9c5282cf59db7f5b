"""A store and its catalog, in agreement: the manifests are the truth, the catalog an index that is made to follow."""

from __future__ import annotations

import dataclasses
import fcntl
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType, TracebackType
from typing import Self

from model_checkpoint import _native
from model_checkpoint.analytics.compaction import Compactor
from model_checkpoint.checkpoint.facts import ManifestFacts, agrees, is_in_commit_order
from model_checkpoint.database.catalog import Catalog
from model_checkpoint.database.metric_table import MetricTable
from model_checkpoint.database.opening import set_aside
from model_checkpoint.errors import (
    CatalogConflictError,
    CatalogDamagedError,
    CheckpointError,
    CheckpointNotFoundError,
    DiskFullError,
    FormatError,
    IntegrityError,
    MissingDependencyError,
    StorageError,
)
from model_checkpoint.storage.annotations import Annotation, with_annotation, without_alias
from model_checkpoint.storage.names import check_experiment, is_in_trash, parse_checkpoint_name
from model_checkpoint.storage.scan import StoreScan, open_at
from model_checkpoint.storage.store import Store
from model_checkpoint.types import CheckpointInfo, CheckpointState, ExperimentInfo, Mode
from model_checkpoint.utils import real_path
from model_checkpoint.utils.clock import utc_now
from model_checkpoint.utils.presence import is_present
from model_checkpoint.utils.storage_errors import storage_errors

__all__ = ["Workspace"]

_log = logging.getLogger("model_checkpoint")
_EVERY_STATE = tuple(CheckpointState)
_OUT_OF_PLACE = frozenset({CheckpointState.LOST, CheckpointState.QUARANTINED})
_METRICS_MAY_LACK = "metrics that were logged and had not moved to Parquet files yet may be missing"


class Workspace:
    """What works on one store share.

    Attributes:
        store: Its directories.
        catalog: Its index.
    """

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self.store = store
        self.catalog = catalog
        self._facts = ManifestFacts(store.root)

    @classmethod
    def open(cls, root: str | os.PathLike[str], *, create: bool = True) -> Self:
        """Open a store, tidy up after processes that died, and rebuild a catalog that is missing or damaged.

        Args:
            root: The store's directory.
            create: Whether to create it if there is none.

        Raises:
            CheckpointNotFoundError: There is none, and ``create`` is false.
            StorageError: The file system failed.
            CatalogError: The catalog is busy, or of a later version.
        """
        store = Store(root, create=create)
        store.recover()
        workspace = cls(store, _open_catalog(store))
        try:
            workspace.purge_expired()
        except BaseException:
            workspace.close()
            raise
        return workspace

    def close(self) -> None:
        self.catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # --- the whole store ----------------------------------------------------------------------------------------------

    def rebuild(self) -> StoreScan:
        """Make the catalog anew from the manifests, annotations and settings of the store; returns what was found.

        One that is damaged is kept aside.
        """
        try:
            self.catalog.check()
        except CatalogDamagedError:
            self.repair()
        return _rebuild(self.store, self.catalog)

    def repair(self) -> None:
        """Rebuild a catalog that turned out to be damaged; it is kept aside."""
        self.catalog.close()
        self.catalog = _open_catalog(self.store, is_suspect=True)

    def purge_expired(self) -> None:
        """Delete for good what has been in the trash for long enough."""
        purged = [entry.id for entry in self.store.purge_expired()]
        if purged:
            self.catalog.remove(purged)

    # --- one experiment -----------------------------------------------------------------------------------------------

    def join(
        self,
        name: str,
        *,
        monitor: str | None,
        mode: Mode,
        keep: str | None,
        config: Mapping[str, object] | None = None,
        criterion: str | None = None,
    ) -> ExperimentInfo:
        """Begin to use an experiment: create it, or change its settings to those given.

        Args:
            name: Its name.
            monitor: Its metric; None leaves metric, mode and criterion as they are.
            mode: Whether less or more of the metric is better.
            keep: The text of its policy; None leaves it as it is.
            config: What the user wants to find again, as JSON values; None leaves it as it is.
            criterion: What says which checkpoint is the best, if that is more than the metric, as text.

        Returns:
            The settings as they are now. Store and catalog have the same checkpoints then.
        """
        check_experiment(name)
        stored, listed = self._settings(name), self.catalog.get_experiment(name)
        settings = stored or listed or ExperimentInfo(name, utc_now())
        if monitor is not None:
            settings = dataclasses.replace(settings, monitor=monitor, mode=mode, criterion=criterion)
        if keep is not None:
            settings = dataclasses.replace(settings, keep=keep)
        if config is not None:
            settings = dataclasses.replace(settings, config=MappingProxyType(dict(config)))
        if settings != stored:
            self.store.write_experiment(settings)
        if settings != listed:
            with self.catalog.write():
                self.catalog.add_experiment(settings)
                self.catalog.update_experiment(settings)
        try:
            self.reconcile(name)
            self._tell_what_was_said(name)
        except DiskFullError as error:
            if error.path != self.catalog.location:  # a sync has failed: whatever was found may not be durable
                raise
            # What the catalog has can be loaded; the next opening makes up for the rest.
            _log.warning("%s: the catalog does not have all that is there: %s", name, error)
        return settings

    def reconcile(self, experiment: str) -> None:
        """Adopt the checkpoints that the catalog lacks, and mark those that the store has lost."""
        if not any(self._disagreements(experiment)):
            return
        with self.catalog.write():  # and look again: what others did meanwhile is no disagreement
            disagreements = list(self._disagreements(experiment))
            self.store.settle(experiment)
            try:
                with self.catalog.write():
                    self._correct(disagreements)
            except CatalogConflictError as error:  # the catalog is an older one, and has given out numbers again
                _log.warning("%s: %s", experiment, error)
                self._rebuild_rows()

    def agree(self, experiment: str) -> bool:
        """Compare all that the catalog says of the checkpoints of an experiment with what their files say.

        `reconcile` sees what came and what went. This also sees what a catalog that is an older copy, or another
        store's, or that somebody has edited, says wrongly of what is there; no cleanup may trust it before. Files that
        have not changed since the last time are not read again.

        Returns:
            Whether anything was to be corrected. The catalog says then what the files say.

        """
        if self._is_right(experiment):
            return False
        with self.catalog.write():  # and look again: somebody may have been in the middle of a change
            for row in self.catalog.list(experiment):
                self._correct_row(row)
            if not self._is_in_order(experiment):
                _log.warning("%s: the catalog contradicts the commit order in the manifests", experiment)
                self._rebuild_rows()
        return True

    def enter(self, checkpoint: CheckpointInfo) -> None:
        """Add a checkpoint that has just appeared to the catalog, with what its annotation says.

        If it is gone again, because another process's cleanup was faster, nothing happens. A catalog in which another
        checkpoint has its number, because it is an older copy or no lock has kept writers apart, is rebuilt.
        """
        with self.catalog.write():
            if not is_present(os.path.join(self.store.root, checkpoint.path)):
                return
            try:
                self.catalog.add(checkpoint)
            except CatalogConflictError as error:
                _log.warning("%s: %s", checkpoint.ref, error)
                self._rebuild_rows()
            self.retell(checkpoint.id)

    def retell(self, checkpoint_id: str) -> CheckpointInfo:
        """Let the catalog say of a checkpoint what its annotation says now; returns what it says then.

        Inside the ``write`` of a change that the annotation has already: whoever comes last then tells of all changes.

        Raises:
            CheckpointNotFoundError: The catalog does not know it.
            FormatError: The annotation breaks a rule.
        """
        with self.catalog.write():
            known = self.catalog.get(checkpoint_id)
            told = with_annotation(known, self._said(known))
            if known.state is CheckpointState.TRASHED:  # who names it is told so; nobody else loses the name to it
                told = dataclasses.replace(told, aliases=known.aliases)
            if told != known:
                self.catalog.remove(known.id)
                self.catalog.add(told)
            return told

    def describe(self, path: str) -> CheckpointInfo:
        """What the files of a checkpoint say of it.

        Raises:
            IntegrityError: Its manifest is damaged, or is that of another checkpoint.
            StorageError: It cannot be read.
        """
        info = open_at(self.store.root, path).manifest.info(path)
        return with_annotation(info, self._said(info))

    def settings(self, listed: ExperimentInfo) -> ExperimentInfo:
        """The settings of an experiment as its files have them, or, where they have none, as the catalog lists them."""
        return self._settings(listed.name) or listed

    def holder(self, experiment: str, alias: str) -> CheckpointInfo | None:
        """The checkpoint that has a name, in whatever state it is."""
        try:
            found = self.catalog.resolve(alias, experiment, states=_EVERY_STATE)
        except CheckpointNotFoundError:
            return None
        return found if alias in found.aliases else None

    def _said(self, info: CheckpointInfo) -> Annotation:
        """The annotation of a checkpoint, without the names that have gone to others."""
        annotation = self.store.annotation(info)
        for alias in annotation.aliases:
            if self._is_claimed_later(info, annotation, alias):
                annotation = without_alias(annotation, alias)
        return annotation

    def _is_claimed_later(self, info: CheckpointInfo, annotation: Annotation, alias: str) -> bool:
        """Whether a name has gone to another checkpoint, and an interrupted process could not say so of this one."""
        holder = self.holder(info.experiment, alias)
        if holder is None or holder.id == info.id:
            return False
        try:
            claim = self.store.annotation(holder).aliases.get(alias)
        except IntegrityError:
            return False
        return claim is not None and claim > annotation.aliases[alias]

    def _tell_what_was_said(self, experiment: str) -> None:
        """Somebody who was killed may have said of a checkpoint what the catalog was not told any more."""
        annotated = self.store.annotated(experiment)
        for row in self.catalog.list(experiment) if annotated else ():
            if row.id in annotated and self._is_untold(row):
                with suppress(CheckpointNotFoundError):  # it was removed just now
                    self.retell(row.id)

    def _is_untold(self, row: CheckpointInfo) -> bool:
        try:
            return not agrees(row, with_annotation(row, self._said(row)))
        except (IntegrityError, StorageError):  # it says nothing, and `mckpt doctor` names it
            return False

    def _settings(self, name: str) -> ExperimentInfo | None:
        try:
            return self.store.read_experiment(name)
        except FormatError as error:
            _log.warning("the settings of %s are written anew: %s", name, error)
            return None

    def _disagreements(self, experiment: str) -> Iterator[tuple[str, CheckpointInfo | None]]:
        """Paths, each with what the catalog wrongly says of it."""
        known = {info.path: info for info in self.catalog.list(experiment, states=_EVERY_STATE)}
        present = self._paths(experiment)
        yield from ((path, None) for path in sorted(present - known.keys()))
        for path, info in known.items():
            if self._is_wrong(info, is_here=path in present):
                yield path, info

    def _is_wrong(self, info: CheckpointInfo, *, is_here: bool) -> bool:
        """Whether a row contradicts what is in its place."""
        if is_here:
            return info.state is not CheckpointState.COMMITTED
        if info.state is not CheckpointState.TRASHED:
            return info.state is CheckpointState.COMMITTED
        return not (is_in_trash(info.path) and is_present(os.path.join(self.store.root, info.path)))

    def _paths(self, experiment: str) -> set[str]:
        directory = os.path.join(self.store.root, experiment)
        with storage_errors("cannot list the experiment", directory):
            try:
                names = real_path.names(directory)
            except FileNotFoundError:  # the catalog is another store's, or the experiment was removed by hand
                return set()
        return {f"{experiment}/{name}" for name in names if parse_checkpoint_name(name) is not None}

    def _correct(self, disagreements: Iterable[tuple[str, CheckpointInfo | None]]) -> None:
        for path, info in disagreements:
            if info is None:
                self._adopt(path)
            elif info.state in _OUT_OF_PLACE:
                self._readmit(info)
            elif self._is_found_again(info):
                continue
            elif info.state is CheckpointState.TRASHED:  # it was deleted for good
                self.catalog.remove(info.id)
            else:
                _log.warning("%s is lost: its directory is gone", info.ref)
                self.catalog.set_state(info.id, CheckpointState.LOST)

    def _is_right(self, experiment: str) -> bool:
        """Whether the catalog says of every checkpoint what its files say."""
        rows = self.catalog.list(experiment)
        try:
            truths = self._truths(rows)
        except IntegrityError:
            return False
        same = all(agrees(row, truths[row.id]) for row in rows if row.id in truths)
        return same and is_in_commit_order(rows, truths)

    def _is_in_order(self, experiment: str) -> bool:
        rows = self.catalog.list(experiment)
        return is_in_commit_order(rows, self._truths(rows))

    def _truths(self, rows: Iterable[CheckpointInfo]) -> dict[str, CheckpointInfo]:
        """What the files say of checkpoints, by id; `_truth` says what is left out, and what it raises."""
        return {row.id: truth for row in rows if (truth := self._truth(row)) is not None}

    def _truth(self, row: CheckpointInfo) -> CheckpointInfo | None:
        """What the files say; None if they cannot be read, or what was said is damaged: then it contradicts nobody, and
        a cleanup leaves the checkpoint alone.

        Raises:
            IntegrityError: The manifest is damaged, or is that of another checkpoint.
        """
        with suppress(StorageError):
            found = self._facts.of(row.path)
            with suppress(IntegrityError):
                return with_annotation(found, self._said(row))
        return None

    def _correct_row(self, row: CheckpointInfo) -> None:
        """Let the catalog say what the files say, in the order that it has."""
        try:
            truth = self._truth(row)
        except IntegrityError as error:
            _log.warning("%s is quarantined: %s", row.ref, error)
            self.catalog.set_state(row.id, CheckpointState.QUARANTINED)
            return
        if truth is not None and not agrees(row, truth):
            _log.info("%s: the catalog did not say what its files say", row.ref)
            self.catalog.remove(row.id)
            self.catalog.add(dataclasses.replace(truth, seq=row.seq))

    def _rebuild_rows(self) -> None:
        _rebuild(self.store, self.catalog)
        _log.warning("%s: the catalog was rebuilt from the manifests; %s", self.store.root, _METRICS_MAY_LACK)

    def _adopt(self, path: str) -> None:
        try:
            info = self.describe(path)
        except CheckpointError as error:
            _log.warning("%s is left alone: %s", path, error)
            return
        self.catalog.remove(info.id)  # it may be known at another place, from which somebody has moved it
        self.catalog.add(info)
        _log.warning("%s was not in the catalog; it is now", info.ref)

    def _readmit(self, info: CheckpointInfo) -> None:
        """A lost or quarantined checkpoint is in its place: see whether it can be trusted."""
        try:
            found = self.describe(info.path)
        except IntegrityError as error:
            _log.warning("%s is quarantined: %s", info.ref, error)
            self.catalog.set_state(info.id, CheckpointState.QUARANTINED)
            return
        self.catalog.remove(info.id)
        self.catalog.add(found)

    def _is_found_again(self, info: CheckpointInfo) -> bool:
        """Let the catalog say where a checkpoint is that is not where it should be; whether it is anywhere.

        A process may have died while it moved it to the trash or back; or the catalog is an older copy.
        """
        if self.catalog.get(info.id).path != info.path:  # it is back in its place, and was adopted there just now
            return True
        if info.path in self._paths(info.experiment):
            self.catalog.set_state(info.id, CheckpointState.COMMITTED)
            return True
        try:
            entry = self.store.trash.find(info.id)
        except CheckpointNotFoundError:
            return False
        path = os.path.relpath(entry.checkpoint, self.store.root)
        self.catalog.remove(info.id)
        self.catalog.add(dataclasses.replace(info, state=CheckpointState.TRASHED, path=path))
        return True


def _open_catalog(store: Store, *, is_suspect: bool = False) -> Catalog:
    """The catalog of a store, rebuilt if it is missing or damaged.

    Args:
        store: The store.
        is_suspect: Whether damage was met that opening alone does not show.
    """
    if not is_suspect:
        try:
            return _open_filled(store)
        except CatalogDamagedError:
            pass
    with _alone_in(store.root):  # or two processes would put away each other's new catalog
        damage = _damage(store)
        if damage is not None:  # else somebody else was faster
            aside = set_aside(store.root)
            _log.warning("%s: %s; the damaged catalog is kept as %s", store.root, damage, aside)
        return _open_filled(store)


def _open_filled(store: Store) -> Catalog:
    """The catalog, made from the manifests if there is none; whoever dies in the middle leaves none."""

    def fill(catalog: Catalog) -> None:
        if _rebuild(store, catalog).checkpoints:
            _log.warning("%s: the catalog was rebuilt from the manifests; %s", store.root, _METRICS_MAY_LACK)

    return Catalog.open(store.root, fill=fill)


def _damage(store: Store) -> str | None:
    """What is wrong with the catalog, or None."""
    try:
        with _open_filled(store) as catalog:
            catalog.check()
    except CatalogDamagedError as error:
        return str(error)
    return None


def _rebuild(store: Store, catalog: Catalog) -> StoreScan:
    with catalog.write():  # a checkpoint that is committed meanwhile is recorded when this is done
        found = store.scan()
        for experiment in {info.experiment for info in found.checkpoints if info.state is CheckpointState.COMMITTED}:
            store.settle(experiment)
        catalog.rebuild(found.checkpoints, found.experiments)
        _settle_metrics(store, catalog)
    for item in found.quarantined:
        _log.warning("%s is left alone: %s", item.path, item.reason)
    return found


def _settle_metrics(store: Store, catalog: Catalog) -> None:
    """List the segments of metrics that a new catalog does not know."""
    compactor = Compactor(store.root, MetricTable(catalog))
    for experiment in catalog.experiments():
        try:
            compactor.settle(experiment.name)
        except MissingDependencyError as error:
            _log.warning("%s: its older metrics are not listed: %s", experiment.name, error)


@contextmanager
def _alone_in(directory: str) -> Iterator[None]:
    """Keep other processes of this kind out, as far as the file system has locks."""
    with storage_errors("cannot lock the store", directory):
        fd = _native.open_directory(directory, readable=True)
    try:
        with suppress(OSError):  # no locks here: at worst the catalog is rebuilt twice
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        with suppress(OSError):  # nothing was written to it
            os.close(fd)
