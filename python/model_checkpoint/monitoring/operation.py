"""An operation that is being measured, in whatever threads it goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from time import perf_counter
from types import MappingProxyType, TracebackType
from typing import Protocol, Self

from model_checkpoint.monitoring.span import PastSpan, Track, current_track
from model_checkpoint.monitoring.stages import STAGES
from model_checkpoint.monitoring.timing import OperationTiming
from model_checkpoint.utils.clock import utc_now

__all__ = ["Operation", "Recorder"]


class Recorder(Protocol):
    """Who is told what was measured."""

    @property
    def fold(self) -> Callable[[Mapping[str, list[float]]], None] | None:
        """Takes durations of spans by stage, in seconds; None if nobody wants them."""

    @property
    def traces(self) -> bool:
        """Whether spans are wanted one by one."""

    def ended(self, timing: OperationTiming, trace: Sequence[PastSpan], began_at: float) -> None:
        """An operation went well. ``began_at`` is its begin on the clock of the trace."""

    def failed(self, kind: str) -> None:
        """An operation did not."""

    def dropped(self) -> None:
        """There was nothing to measure."""


class Operation:
    """Measures one operation, from here on until `finish` or `fail`; also as a ``with`` block, in one thread.

    Args:
        recorder: Who is told.
        kind: What it is.
        experiment: Whose checkpoint it is about, or None.
        checkpoint: The ref of that, or None.
        step: The step of that, or None.
        nbytes: Its size in bytes.
        began_at: When it began, by ``time.perf_counter``; None for now.
    """

    def __init__(
        self,
        recorder: Recorder,
        kind: str,
        *,
        experiment: str | None = None,
        checkpoint: str | None = None,
        step: int | None = None,
        nbytes: int = 0,
        began_at: float | None = None,
    ) -> None:
        now = perf_counter()
        self.kind = kind
        self.experiment = experiment
        self.checkpoint = checkpoint
        self.step = step
        self.nbytes = nbytes
        self.stall_s: float | None = None
        self._recorder = recorder
        self._began_at = now if began_at is None else began_at
        self._at = utc_now() - timedelta(seconds=now - self._began_at)
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}
        self._trace: list[PastSpan] = []
        self._part: AbstractContextManager[None] | None = None
        self._is_over = False

    @contextmanager
    def part(self) -> Iterator[None]:
        """A block in which the running thread works for the operation."""
        track = Track(fold=self._recorder.fold, traces=self._recorder.traces)
        token = current_track.set(track)
        try:
            yield
        finally:
            current_track.reset(token)
            self._add(track)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """A block whose error ends the operation."""
        try:
            yield
        except BaseException:
            self.fail()
            raise

    def spent(self, stage: str, seconds: float) -> None:
        """Time that went to a stage before the operation was there to measure it."""
        with self._lock:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds

    def drop(self) -> None:
        """Forget it: there was nothing to measure."""
        if not self._is_over:
            self._is_over = True
            self._recorder.dropped()

    def fail(self) -> None:
        """It has ended by an error."""
        if not self._is_over:
            self._is_over = True
            self._recorder.failed(self.kind)

    def finish(self) -> None:
        """It has ended well."""
        if self._is_over:
            return
        self._is_over = True
        with self._lock:
            seconds, trace = dict(self._seconds), list(self._trace)
        timing = OperationTiming(
            kind=self.kind,
            experiment=self.experiment,
            checkpoint=self.checkpoint,
            step=self.step,
            at=self._at,
            seconds=perf_counter() - self._began_at,
            stall_s=self.stall_s,
            nbytes=self.nbytes,
            stages=MappingProxyType({stage: seconds[stage] for stage in STAGES if stage in seconds}),
        )
        self._recorder.ended(timing, trace, self._began_at)

    def __enter__(self) -> Self:
        self._part = self.part()
        self._part.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._part is not None  # noqa: S101 - entered before
        self._part.__exit__(None, None, None)
        if error is None:
            self.finish()
        else:
            self.fail()

    def _add(self, track: Track) -> None:
        with self._lock:
            for stage, seconds in track.seconds.items():
                self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
            self._trace.extend(track.trace or ())
        if track.fold is not None and track.durations:
            track.fold(track.durations)
