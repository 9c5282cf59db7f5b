"""The checkpoint manager: what a training loop talks to."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

from model_checkpoint.analytics.best_model_selector import BestModelSelector, Selection
from model_checkpoint.analytics.candidates import Candidates
from model_checkpoint.analytics.collector import COMPACT_EVERY, MetricsCollector
from model_checkpoint.analytics.compaction import Compactor
from model_checkpoint.analytics.decision import Decision
from model_checkpoint.analytics.early_stopping import EarlyStopping, Evaluation
from model_checkpoint.analytics.finding import find, find_best
from model_checkpoint.analytics.numbers import as_metrics
from model_checkpoint.analytics.objective import Objective
from model_checkpoint.analytics.reader import Metrics, MetricsReader
from model_checkpoint.analytics.selection import check_mode
from model_checkpoint.checkpoint.arguments import check_options, checked_alias, checked_part
from model_checkpoint.checkpoint.cache import CheckpointCache
from model_checkpoint.checkpoint.cleaning import Janitor
from model_checkpoint.checkpoint.course import Course
from model_checkpoint.checkpoint.evaluations import joined_evaluations, read_evaluations
from model_checkpoint.checkpoint.handle import SaveHandle
from model_checkpoint.checkpoint.keep import Keep
from model_checkpoint.checkpoint.listeners import Listeners
from model_checkpoint.checkpoint.loading import Loader
from model_checkpoint.checkpoint.parts import ProcessRandom
from model_checkpoint.checkpoint.progress import Progress
from model_checkpoint.checkpoint.remarks import Remarks, check_tags
from model_checkpoint.checkpoint.resume import RNG, ResumeReport, restore_run
from model_checkpoint.checkpoint.retention import RetentionPlan
from model_checkpoint.checkpoint.save_when import SaveHistory, SaveWhen
from model_checkpoint.checkpoint.saving import Saver, SaveRequest
from model_checkpoint.checkpoint.scrub import Scrubber
from model_checkpoint.checkpoint.scrub_due import due
from model_checkpoint.checkpoint.scrub_report import ScrubReport
from model_checkpoint.checkpoint.signals import StopRequest
from model_checkpoint.checkpoint.snapshot import SnapshotArena
from model_checkpoint.checkpoint.starts import note_start, read_starts
from model_checkpoint.checkpoint.step_decisions import StepDecisions
from model_checkpoint.checkpoint.timekeeper import Timekeeper
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database.metric_table import MetricTable
from model_checkpoint.errors import (
    CatalogDamagedError,
    CatalogError,
    CheckpointNotFoundError,
    ConfigurationError,
    IntegrityError,
    SaveError,
    StorageError,
)
from model_checkpoint.events import EventSink, RetentionFailed, RunResumed, SaveSkipped
from model_checkpoint.monitoring.monitor import PerformanceMonitor
from model_checkpoint.monitoring.report import PerformanceReport
from model_checkpoint.storage.backends import get_backend
from model_checkpoint.storage.names import check_step
from model_checkpoint.types import CheckpointInfo, CheckpointState, ExperimentInfo, Mode, VerifyLevel
from model_checkpoint.utils.clock import utc_now

__all__ = ["CheckpointManager", "EnhancedCheckpointManager"]

_log = logging.getLogger("model_checkpoint")
_SIGTERM_EXIT = 143  # 128 + SIGTERM, as shells report it


class CheckpointManager:
    """Saves, keeps, finds and restores the checkpoints of one experiment. See `save` and `resume`.

    Use it in a ``with`` block, or call `close`. It belongs to one thread; other managers, in this process and in
    others, may work on the same store at the same time.

    A save that failed in the background raises `SaveError` from whatever is called next, once, unless its handle has
    told of it before.

    Args:
        root: The store's directory; created if it does not exist.
        experiment: Which experiment; created if it does not exist.
        monitor: What says which checkpoint is best: a metric, or a `BestModelSelector` that weighs several of them or
            sets conditions. None for what the experiment has.
        mode: Whether less (``"min"``) or more (``"max"``) of the metric is better; a selector says so itself.
        config: What the experiment was made with, as JSON values: hyperparameters, paths, versions. Experiments are
            compared by it. None leaves what is stored.
        keep: What to keep after each save; None keeps everything.
        save_when: What `should_save` answers, and so when `step` saves.
        stop_when: What `should_stop` answers.
        backend: Name of the storage backend; ``"safetensors"``, ``"pytorch"``, or one registered by
            `register_backend`.
        verify_writes: Whether a save reads every byte back from the device, around the page cache, before the
            checkpoint appears. What memory, bus or disk made of the bytes then fails the save with `CorruptionError`
            as its cause. The write takes about as long again as a read from the device; the stall stays the same.
        when_busy: What `save` does while the one before is being written: ``"wait"``, or ``"skip"`` it.
        memory_budget_bytes: The most memory for the copy that a background save makes; None for as much as the state
            takes. A larger state is saved in the foreground, from the tensors themselves.
        cache: Keeps states that were saved or loaded lately, so that loading them again reads nothing.
        on_sigterm: What SIGTERM does, in a manager made in the main thread. ``"flag"``: `stopping` is true from then
            on. ``"save"``: `should_save` is true as well, and the next `save` waits until it is durable and then ends
            the program by ``SystemExit(143)``. None: nothing. A second SIGTERM does what it would do without us.
        progress: Whether to show progress on standard error; ``"auto"``: if that is a terminal.
        sinks: Further listeners to events; see `model_checkpoint.events`.
        trash_for_s: For how many seconds a removed checkpoint can be restored.
        performance: Measures where the time of saves, loads and verifications goes. None for one of the manager's own,
            which keeps sums and notes each operation in the store, for ``mckpt perf``.

    Raises:
        ConfigurationError: An argument makes no sense.
        StorageError: The file system failed.
        CatalogError: The catalog is busy, or of a later version. A damaged one is rebuilt.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] = "runs",
        *,
        experiment: str = "default",
        monitor: str | BestModelSelector | None = None,
        mode: Mode = "min",
        config: Mapping[str, object] | None = None,
        keep: Keep | None = None,
        save_when: SaveWhen | None = None,
        stop_when: EarlyStopping | None = None,
        backend: str = "safetensors",
        verify_writes: bool = False,
        when_busy: Literal["wait", "skip"] = "wait",
        memory_budget_bytes: int | None = None,
        cache: CheckpointCache | None = None,
        on_sigterm: Literal["save", "flag"] | None = None,
        progress: bool | Literal["auto"] = "auto",
        sinks: Sequence[EventSink] = (),
        trash_for_s: float = 0.0,
        performance: PerformanceMonitor | None = None,
    ) -> None:
        check_options(when_busy=when_busy, on_sigterm=on_sigterm, trash_for_s=trash_for_s, keep=keep)
        goal = _objective(monitor, check_mode(mode))
        get_backend(backend)
        self._keep, self._when_busy, self._on_sigterm = keep, when_busy, on_sigterm
        self._progress = Progress(progress)
        self._emit = Listeners((self._progress, *sinks)).emit
        self._parts: dict[str, Any] = {}
        self._resumed_from: str | None = None
        arena = SnapshotArena(memory_budget_bytes)
        with ExitStack() as opened:
            self._workspace, self._experiment = _open(root, experiment, goal, keep, config)
            opened.callback(self._workspace.close)
            opened.callback(arena.close)
            for policy in (keep, save_when):
                if policy is not None:
                    policy.check(self._experiment.monitor)
            self._goal = goal or _stored_objective(self._experiment)
            self._stop = StopRequest()
            if on_sigterm is not None:
                opened.enter_context(self._stop)
            self._opened = opened.pop_all()
        self._remarks = Remarks(self._workspace)
        self._monitor = performance or PerformanceMonitor(percentiles=False)
        timekeeper = self._timekeeper = Timekeeper(self._monitor, self._workspace.store.root, experiment, self._emit)
        self._loader = Loader(
            self._workspace.store,
            cache,
            emit=self._emit,
            found_intact=self._note_intact,
            timekeeper=timekeeper,
        )
        self._janitor = Janitor(self._workspace, self._emit, timedelta(seconds=trash_for_s))
        points = MetricTable(self._workspace.catalog)
        compactor = Compactor(self._workspace.store.root, points)
        self._metrics = MetricsCollector(
            experiment, points.append, compact=partial(compactor.compact_alone, experiment, least=COMPACT_EVERY)
        )
        self._saver = Saver(
            self._workspace,
            self._experiment,
            arena=arena,
            backend=backend,
            verify_writes=verify_writes,
            remember=self._loader.remember,
            goal=self._goal,
            emit=self._emit,
            timekeeper=timekeeper,
        )
        for name, read in (
            ("arena_bytes", lambda: arena.nbytes),
            ("metrics_queued", lambda: self._metrics.queued),
        ):
            self._opened.callback(self._monitor.gauge(name, read))
        self._course = Course(save_when, stop_when, goal=self._goal, past=self._past)
        self._is_closed = False

    # --- the run ------------------------------------------------------------------------------------------------------

    def track(self, **parts: Any) -> None:
        """Name the parts of the run: what is saved, and what `resume` restores, in place.

        The random state of Python, numpy, torch and CUDA is always among them, as ``rng``.

        Args:
            parts: Anything with ``state_dict`` and ``load_state_dict`` (models, optimizers, schedulers, scalers,
                data loaders), tensors and arrays, random generators, and dicts and lists of such things and of plain
                values.

        Raises:
            ConfigurationError: A part cannot be changed in place, or its name is taken or cannot be a file's.
        """
        self._enter()
        for name, value in parts.items():
            self._parts[name] = checked_part(name, value, self._parts)

    def resume(self, ref: str | int = "latest", *, strict: bool = False) -> ResumeReport:
        """Put the tracked parts and the random state back to where a checkpoint was saved.

        Every byte is verified before the first part changes.

        Args:
            ref: Which checkpoint. If there is no ``"latest"``, nothing happens and training starts at step 0.
            strict: Whether to raise unless everything that is tracked is restored.

        Returns:
            What was restored, what was not, and the step to go on with. It prints well.

        Raises:
            CheckpointNotFoundError: There is no such checkpoint.
            IntegrityError: Something is damaged; nothing was changed.
            StateMismatchError: With ``strict``: something does not fit; nothing was changed.
            StateError: A part refused its state; those before it have changed.
        """
        self.wait()
        checkpoint = self.latest if ref == "latest" else self.info(ref)
        if checkpoint is None:
            note_start(self._workspace.catalog, self._experiment.name, None)
            return ResumeReport()
        with self._progress.waiting(f"resuming from {checkpoint.ref}"):
            try:
                report = restore_run(self._loader, checkpoint, self._parts, strict=strict)
            except IntegrityError as error:
                self._point_to_older(checkpoint, error)
                raise
        self._resumed_from = checkpoint.id
        note_start(self._workspace.catalog, self._experiment.name, checkpoint)
        self._course.resumed(checkpoint.step, partial(self._evaluations, checkpoint.step))
        self._emit(RunResumed(checkpoint, report.problems))
        return report

    def log(
        self,
        step: int,
        values: Mapping[str, Any] | None = None,
        /,
        *,
        epoch: float | None = None,
        split: str = "",
        tags: Mapping[str, str] | None = None,
        **named: Any,
    ) -> None:
        """Append values to the series of metrics of the experiment; see `MetricsCollector.log`, which this is.

        Raises:
            ConfigurationError: A value is no number, or something else is not what it must be.
            CatalogError: Writing earlier values failed; they are kept.
        """
        self._enter()
        self._metrics.log(step, values, epoch=epoch, split=split, tags=tags, **named)

    @property
    def collector(self) -> MetricsCollector:
        """What `log` fills. Its `aggregate` has the figures of this process's series so far."""
        return self._metrics

    def metrics(
        self,
        *names: str,
        split: str | None = None,
        tags: Mapping[str, str] | None = None,
        first_step: int = 0,
        last_step: int = 2**63 - 1,
        damaged: Literal["raise", "skip"] = "raise",
    ) -> Metrics:
        """What was logged for the experiment, by whatever process; see `MetricsReader.metrics`.

        Raises:
            MetricNotFoundError: Nothing was logged under one of the names.
            CorruptionError: A segment is damaged or gone, and ``damaged`` is ``"raise"``.
            MissingDependencyError: The extra ``analytics`` is not installed.
        """
        self._enter()
        self._metrics.flush()
        reader = MetricsReader(self._workspace.store.root, self._workspace.catalog, damaged=damaged)
        with self._timekeeper.query():
            return reader.metrics(
                self._experiment.name, *names, split=split, tags=tags, first_step=first_step, last_step=last_step
            )

    @property
    def performance(self) -> PerformanceReport:
        """Where the time of this manager's operations went so far. It prints as a table."""
        return self._monitor.report()

    def step(self, step: int, metrics: Mapping[str, Any] | None = None, /, **named: Any) -> StepDecisions:
        """Say that a step is done: log what was measured, save if ``save_when`` says so, and ask ``stop_when``.

        The values are those of the series that `log` writes, of the checkpoint, and of the decisions.

        Args:
            step: Which.
            metrics: What was measured, by name.
            named: The same, as keywords.

        Returns:
            What was decided, and why: ``if ckpts.step(step, loss=loss).stop: break``.

        Raises:
            ConfigurationError: A value is no number, or nothing is tracked.
            SaveError: An earlier save failed.
            SystemExit: As `save`.
        """
        values = as_metrics({**(metrics or {}), **named})
        if values:
            self.log(step, values)
        save = self.should_save(step, values) if self._saves_by_itself else Decision(False, ("no policy says so",))
        handle = self.save(step, metrics=values) if save else None
        stop = self.should_stop(step, values) if self._stops_by_itself else Decision(False, ("no rule says so",))
        return StepDecisions(save, stop, handle)

    def should_save(self, step: int, metrics: Mapping[str, Any] | None = None) -> Decision:
        """Whether ``save_when`` asks for a save of this step, or SIGTERM does (``on_sigterm="save"``), and why.

        Ask at every step: how long steps take beside a save is part of what it costs.

        Raises:
            ConfigurationError: The manager has no ``save_when``.
        """
        self._enter()
        if self.stopping and self._on_sigterm == "save":
            return Decision(True, ("SIGTERM came",))
        return self._course.should_save(
            step, as_metrics(metrics or {}), is_saving=self._saver.slot.busy, notice_at=self._stop.at
        )

    def should_stop(self, step: int, metrics: Mapping[str, Any] | None = None) -> Decision:
        """Whether ``stop_when`` says that training is at its end, or SIGTERM came (``on_sigterm="flag"``), and why.

        A step without any of the rule's metrics is no evaluation. After `resume`, the evaluations until then count:
        those that were logged, and those that checkpoints have.

        Raises:
            ConfigurationError: The manager has no ``stop_when``.
            MetricNotFoundError: No evaluation has one of the rule's metrics.
        """
        self._enter()
        if self.stopping and self._on_sigterm == "flag":
            return Decision(True, ("SIGTERM came",))
        return self._course.should_stop(step, as_metrics(metrics or {}))

    @property
    def overhead(self) -> float:
        """What saves have cost this run so far, as a share of its time: waiting, and slower steps beside them.

        It is known with ``save_when``, and zero without.
        """
        return self._course.history.overhead(utc_now()) if self._course.saves else 0.0

    @property
    def stopping(self) -> bool:
        """Whether SIGTERM came, and ``on_sigterm`` asked for it to be noticed."""
        return self._stop.is_set

    # --- saving -------------------------------------------------------------------------------------------------------

    def save(
        self,
        step: int,
        *,
        metrics: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        files: Mapping[str, bytes | str | os.PathLike[str]] | None = None,
        tags: Mapping[str, str] | None = None,
        alias: str | None = None,
        block: bool = False,
    ) -> SaveHandle:
        """Save the tracked parts and the random state; return once they are copied, and write behind the caller.

        The parts may change as soon as this returns. The checkpoint is durable when the handle's ``result`` is there.
        Steps may be saved again: that makes another checkpoint.

        Args:
            step: The training step that is done.
            metrics: Numbers by name; NaN is one, and is never the best.
            metadata: Text by name, for good.
            files: Further files by name, as bytes or as a path to copy from. A path is read when it is written: leave
                the file alone until then.
            tags: Text by name; `tag` changes them.
            alias: A name for the checkpoint; another one that has it loses it.
            block: Whether to return only when it is durable. This saves the copy.

        Returns:
            The save: its result is the checkpoint. With ``when_busy="skip"`` it may be one that did not begin.

        Raises:
            ConfigurationError: An argument makes no sense, or nothing is tracked.
            UnsupportedStateError: Something in the state cannot be stored; the error says where it is.
            SaveError: With ``block``: it failed.
            SystemExit: SIGTERM came, ``on_sigterm`` is ``"save"``, and the checkpoint is durable.
        """
        began_at = time.perf_counter()
        self._enter()
        request = SaveRequest(
            step=check_step(step),
            state={**self._tracked(), RNG: ProcessRandom()},
            metrics=as_metrics(metrics or {}),
            metadata=metadata or {},
            files=files or {},
            tags=check_tags(tags or {}),
            alias=checked_alias(alias),
            parent=self._resumed_from,
        )
        is_last = self.stopping and self._on_sigterm == "save"
        if self._saver.slot.busy:
            if self._when_busy == "skip" and not is_last:
                self._emit(SaveSkipped(self._experiment.name, step))
                return SaveHandle.skipped(step)
            self.wait()
        handle = self._saver.save(request, self._after_save, began_at=began_at, block=block or is_last)
        self._course.saved(step, request.metrics, time.perf_counter() - began_at)
        if block or is_last:
            handle.result()
        if is_last:
            raise SystemExit(_SIGTERM_EXIT)
        return handle

    def wait(self) -> None:
        """Wait until nothing is being saved or cleaned up.

        Raises:
            SaveError: The save failed.
        """
        self._check_open()
        self._finish()
        self._saver.slot.raise_failure()

    def prune(self, *, dry_run: bool = True, keep: Keep | None = None, force: bool = False) -> RetentionPlan:
        """Say what a policy keeps and why, and, unless it is a dry run, remove the rest.

        Args:
            dry_run: Whether to change nothing.
            keep: The policy; None for the manager's, else the one that the experiment has stored.
            force: Remove also many at once.

        Raises:
            RetentionError: The cleanup would break a promise; nothing was removed.
        """
        self.wait()
        plan = self._plan(keep or self._keep or _stored_policy(self._experiment))
        if not dry_run:
            self._janitor.carry_out(plan, self._experiment.name, force=force)
        return plan

    def restore(self, ref: str | int) -> CheckpointInfo:
        """Bring a removed checkpoint back from the trash."""
        self._enter()
        states = (CheckpointState.TRASHED,)
        found = find(self._workspace.catalog, ref, self._experiment.name, goal=self._goal, states=states)
        return self._janitor.restore(found.id)

    # --- finding ------------------------------------------------------------------------------------------------------

    @property
    def root(self) -> str:
        """The store's directory."""
        return self._workspace.store.root

    @property
    def experiment(self) -> str:
        return self._experiment.name

    @property
    def monitor(self) -> str | None:
        """The metric that says which checkpoint is best; the first one, if several do."""
        return self._experiment.monitor

    @property
    def latest(self) -> CheckpointInfo | None:
        """The newest checkpoint of the experiment, by commit order, that is durable now; None if there is none."""
        self._enter()
        return self._workspace.catalog.latest(self._experiment.name)

    @property
    def best(self) -> CheckpointInfo | None:
        """The best one by the experiment's monitor that is durable now; None without monitor or values.

        NaN is never the best. Values that are attached later count as soon as they are there.
        """
        self._enter()
        return None if self._goal is None else find_best(self._workspace.catalog, self._experiment.name, self._goal)

    def rank(self, by: BestModelSelector | None = None, *, limit: int | None = None) -> tuple[Selection, ...]:
        """The checkpoints that can be the best, best first, each with the reason why it has its place.

        Args:
            by: What to rank by; None for what the experiment monitors.
            limit: How many; None for all.

        Raises:
            ConfigurationError: Nothing says which is the best.
            MetricNotFoundError: No checkpoint has a value for one of the metrics.
        """
        self._enter()
        selector = by or (None if self._goal is None else self._goal.as_selector())
        if selector is None:
            raise ConfigurationError("rank() needs to know what is best: give it a selector, or the manager a monitor")
        candidates = Candidates.of_catalog(self._workspace.catalog, self._experiment.name, selector.metrics)
        return selector.rank(candidates, limit=limit)

    def list(self) -> tuple[CheckpointInfo, ...]:
        """All checkpoints of the experiment that are durable now, newest first."""
        self._enter()
        return self._workspace.catalog.list(self._experiment.name)

    def info(self, ref: str | int = "latest") -> CheckpointInfo:
        """The checkpoint that a reference names. A save under way is waited for, so that it can be the one.

        Args:
            ref: ``"latest"``, ``"best"``, ``"best@metric"``, a step, an alias, an id or its beginning; with
                ``experiment:`` in front, of another experiment.

        Raises:
            CheckpointNotFoundError: There is none, or more than one; it names what there is instead.
        """
        self.wait()
        return find(self._workspace.catalog, ref, self._experiment.name, goal=self._goal)

    def load(
        self,
        ref: str | int = "latest",
        *,
        into: Any = None,
        device: Any = "cpu",
        mmap: bool = False,
        verify: VerifyLevel = "full",
        components: Sequence[str] | None = None,
        strict: bool = True,
    ) -> Any:
        """Load a checkpoint's state. If that checks all of its bytes, the checkpoint counts as verified from then on.

        Args:
            ref: Which; see `info`.
            into: What to load into, in place: a dict of parts, or one part. Of a dict only its keys are loaded.
            device: Where torch tensors shall lie.
            mmap: Return views of private mappings, which they keep alive, instead of owned memory. Nobody may truncate
                the files meanwhile: reading a view of lost bytes ends the process.
            verify: ``"full"`` checks every SHA-256, ``"fast"`` every CRC-32C, ``"none"`` only manifest and headers.
            components: The parts to load; None for all.
            strict: With ``into``: whether everything must fit.

        Returns:
            The state: a dict with what each part had in ``state_dict()``. With ``into``, a report of what was loaded.

        Raises:
            CheckpointNotFoundError: There is no such checkpoint or component.
            IntegrityError: Something is damaged; nothing was changed.
            StateMismatchError: With ``into`` and ``strict``: they do not fit; nothing was changed.
        """
        checkpoint = self.info(ref)
        with self._progress.waiting(f"loading {checkpoint.ref}"):
            if into is None:
                return self._loader.load(checkpoint, device=device, mmap=mmap, verify=verify, components=components)
            if mmap or components is not None:
                raise ConfigurationError("into= takes neither mmap= nor components=; a dict of parts says what to load")
            return self._loader.load_into(checkpoint, into, device=device, verify=verify, strict=strict)

    def verify(self, ref: str | int = "latest") -> CheckpointInfo:
        """Read and check every byte of a checkpoint, and remember that it was intact.

        Raises:
            IntegrityError: It is not.
        """
        checkpoint = self.info(ref)
        with self._progress.waiting(f"verifying {checkpoint.ref}"):
            self._loader.verify(checkpoint)
        return self._remarks.set_verified(checkpoint, utc_now())

    def scrub(
        self,
        *refs: str | int,
        repair: bool = False,
        copies: Sequence[str | os.PathLike[str]] = (),
        bytes_per_s: float | None = None,
        within_s: float | None = None,
        older_than_s: float | None = None,
    ) -> ScrubReport:
        """Read checkpoints from the device, note which are sound, and find, or repair, what is damaged.

        `model_checkpoint.scrub` does the same for a whole store, and says more of the arguments.

        Args:
            refs: Which; without any, all of the experiment, the one longest not looked at first.
            repair: Whether to repair what has a good copy.
            copies: Where to look for good copies, besides the store itself: other stores, directories, files.
            bytes_per_s: How much to read in a second, at most.
            within_s: How many seconds to take, at most.
            older_than_s: Leave out what was verified since so many seconds.

        Returns:
            What was read and what was found. Damage raises nothing.
        """
        self.wait()
        scrubber = Scrubber(
            self._workspace,
            emit=self._emit,
            copies=copies,
            repair=repair,
            bytes_per_s=bytes_per_s,
            within_s=within_s,
        )
        name = self._experiment.name
        todo = due(self._workspace, refs, experiment=name, goal=self._goal, older_than_s=older_than_s)
        with self._progress.waiting(f"scrubbing {self._experiment.name}"):
            return scrubber.run(todo)

    # --- what is said of checkpoints ----------------------------------------------------------------------------------

    def pin(self, ref: str | int = "latest") -> CheckpointInfo:
        """Protect a checkpoint from every cleanup."""
        return self._remarks.pin(self.info(ref), pinned=True)

    def unpin(self, ref: str | int = "latest") -> CheckpointInfo:
        """Undo `pin`."""
        return self._remarks.pin(self.info(ref), pinned=False)

    def alias(self, ref: str | int, alias: str) -> CheckpointInfo:
        """Name a checkpoint, and so protect it; another one of the experiment that has the name loses it."""
        return self._remarks.set_alias(self.info(ref), alias)

    def unalias(self, alias: str) -> CheckpointInfo:
        """Take a name away; returns the checkpoint that had it."""
        self._enter()
        return self._remarks.remove_alias(self._experiment.name, alias)

    def tag(self, ref: str | int, **tags: str) -> CheckpointInfo:
        """Attach texts to a checkpoint; one of the same name is replaced."""
        return self._remarks.tag(self.info(ref), tags)

    def attach_metrics(self, ref: str | int, **metrics: Any) -> CheckpointInfo:
        """Give a checkpoint values that were measured after it was saved; they count as those given to `save`."""
        values = as_metrics(metrics)
        found = self._remarks.attach_metrics(self.info(ref), values)
        self._course.learned(values)
        return found

    # --- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Finish the save under way, write the logged metrics, and let go of everything. May be called twice.

        Raises:
            SaveError: The last save failed, and nobody has heard of it yet.
            CatalogError: The metrics could not be written.
        """
        if self._is_closed:
            return
        self._is_closed = True
        with self._opened:
            try:
                self._finish()
                self._metrics.close()
            finally:
                self._saver.slot.raise_failure()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close()
        except (SaveError, CatalogError) as failure:  # the block's own exception is the one to raise
            error.add_note(f"meanwhile: {failure}")

    # --- inside -------------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._is_closed:
            raise ConfigurationError("the manager is closed")

    def _enter(self) -> None:
        """What every call begins with."""
        self._check_open()
        self._saver.slot.raise_failure()

    def _finish(self) -> None:
        """Wait for the save under way and its cleanup."""
        if self._saver.slot.busy:
            with self._progress.waiting(f"saving {self._experiment.name}"):
                self._saver.slot.wait()
        self._saver.slot.wait()

    def _tracked(self) -> Mapping[str, Any]:
        if not self._parts:
            raise ConfigurationError("nothing to save: track() the parts of the run first")
        return self._parts

    @property
    def _saves_by_itself(self) -> bool:
        return self._course.saves or (self.stopping and self._on_sigterm == "save")

    @property
    def _stops_by_itself(self) -> bool:
        return self._course.stops or (self.stopping and self._on_sigterm == "flag")

    def _past(self, begun_at: datetime) -> SaveHistory:
        catalog, name = self._workspace.catalog, self._experiment.name
        return SaveHistory.of(catalog.list(name), begun_at=begun_at, starts=read_starts(catalog, name))

    def _evaluations(self, last_step: int) -> Sequence[Evaluation]:
        """What was evaluated until a step, by the metrics that say when to stop."""
        names, catalog = self._course.evaluated, self._workspace.catalog
        saved = {info.step: info.metrics for info in reversed(catalog.list(self._experiment.name))}
        reader = MetricsReader(self._workspace.store.root, catalog)
        logged = read_evaluations(reader, self._experiment.name, names, last_step)
        return joined_evaluations(saved, logged, names, last_step)

    def _plan(self, keep: Keep) -> RetentionPlan:
        return self._janitor.plan(self._experiment, keep, goal=self._goal, resumed_from=self._resumed_from)

    def _after_save(self) -> None:
        """What follows a save, in its thread. Nothing here can fail it any more: errors are told as events."""
        try:
            self._metrics.flush()
            if self._keep is not None:
                self._janitor.carry_out(self._plan(self._keep), self._experiment.name)
        except Exception as error:  # noqa: BLE001 - see above; a policy of the user's own may raise anything
            self._emit(RetentionFailed(self._experiment.name, error))

    def _note_intact(self, checkpoint: CheckpointInfo) -> None:
        """Remember that a load has found every byte intact; a store that cannot be written to is no error here."""
        if checkpoint.verified_at is None:
            try:
                self._remarks.set_verified(checkpoint, utc_now())
            except (CatalogError, CheckpointNotFoundError, StorageError) as error:  # somebody has just removed it
                _log.info("%s is intact, but that could not be noted: %s", checkpoint.ref, error)

    def _point_to_older(self, checkpoint: CheckpointInfo, error: IntegrityError) -> None:
        older = [info for info in self._workspace.catalog.list(checkpoint.experiment) if info.seq < checkpoint.seq]
        if older:
            error.add_note(f"{checkpoint.ref} is damaged; the checkpoint before it is {older[0].ref}")


EnhancedCheckpointManager = CheckpointManager


def _open(
    root: str | os.PathLike[str],
    experiment: str,
    goal: Objective | None,
    keep: Keep | None,
    config: Mapping[str, object] | None,
) -> tuple[Workspace, ExperimentInfo]:
    """Open the store and join the experiment; a catalog that turns out to be damaged only then is rebuilt."""
    workspace = Workspace.open(root)
    join = partial(
        workspace.join,
        experiment,
        monitor=None if goal is None else goal.metric,
        mode="min" if goal is None else goal.mode,
        criterion=None if goal is None or goal.selector is None else str(goal.selector),
        keep=None if keep is None else str(keep),
        config=config,
    )
    try:
        try:
            return workspace, join()
        except CatalogDamagedError:
            workspace.repair()
            return workspace, join()
    except BaseException:
        workspace.close()
        raise


def _objective(monitor: str | BestModelSelector | None, mode: Mode) -> Objective | None:
    """What a manager was told."""
    if monitor is None or isinstance(monitor, str):
        return None if monitor is None else Objective(monitor, mode)
    return Objective.by(monitor)


def _stored_objective(experiment: ExperimentInfo) -> Objective | None:
    """What the experiment was told before."""
    try:
        return Objective.of(experiment)
    except ConfigurationError as error:
        _log.warning("which checkpoint of %s is the best is not known here: %s", experiment.name, error)
        return None


def _stored_policy(experiment: ExperimentInfo) -> Keep:
    return Keep.all() if experiment.keep is None else Keep.parse(experiment.keep)
