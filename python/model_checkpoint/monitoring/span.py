"""Spans: ``with span("fsync"):`` says what the time of the block goes to.

A thread works for at most one operation at a time: its `Track` hangs in a context variable, which threads do not
inherit and tasks of asyncio do not share. Where there is none, a span is one look at that variable and an object that
exists once: nothing is allocated and no clock is read.

Time belongs to the innermost span. So one mark is enough: whoever begins or ends takes the time since the last one
that did.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from time import perf_counter
from types import TracebackType
from typing import Final, NamedTuple, ParamSpec, Self, TypeVar

from model_checkpoint.monitoring.stages import Stage

__all__ = ["NoSpan", "PastSpan", "Span", "Track", "current_track", "span", "spanned"]

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_FOLD_AT = 4096
_TRACE_LIMIT = 1000


class PastSpan(NamedTuple):
    """A span that has ended: its stage, and its begin and end by ``time.perf_counter``."""

    stage: str
    begin: float
    end: float


class Track:
    """What one thread has done for an operation so far.

    Args:
        fold: Takes durations of spans by stage, in seconds, when there are many; None if nobody wants them.
        traces: Whether to remember spans one by one: the first thousand.
    """

    __slots__ = ("absorbs", "durations", "fold", "mark", "seconds", "top", "trace")

    def __init__(self, *, fold: Callable[[Mapping[str, list[float]]], None] | None, traces: bool) -> None:
        self.seconds: dict[str, float] = {}
        self.durations: dict[str, list[float]] = {}
        self.fold = fold
        self.trace: list[PastSpan] | None = [] if traces else None
        self.absorbs = False
        self.top: Span | None = None
        self.mark = perf_counter()

    def note(self, stage: str, seconds: float) -> None:
        """Time that a span of a stage had for itself."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        if self.fold is not None:
            durations = self.durations.setdefault(stage, [])
            durations.append(seconds)
            if len(durations) >= _FOLD_AT:
                self.fold(self.durations)
                self.durations = {}

    def divide(self, seconds: float, weights: Mapping[str, float]) -> None:
        """Time that several stages shared."""
        total = sum(weights.values())
        for stage, weight in weights.items():
            self.note(stage, seconds * weight / total)


class Span:
    """A stretch of a track that belongs to one stage, but for the spans inside of it."""

    __slots__ = ("_begin", "_outer", "_stage", "_track", "_weights", "own")

    def __init__(self, track: Track, stage: str) -> None:
        self._track = track
        self._stage = stage
        self.own = 0.0
        self._weights: Mapping[str, float] | None = None

    def __enter__(self) -> Self:
        track = self._track
        now = self._begin = perf_counter()
        outer = self._outer = track.top
        if outer is not None:
            outer.own += now - track.mark
        track.mark = now
        track.top = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        track = self._track
        now = perf_counter()
        own = self.own + now - track.mark
        track.mark = now
        track.top = self._outer
        if self._weights:
            track.divide(own, self._weights)
        else:
            track.note(self._stage, own)
        if track.trace is not None and len(track.trace) < _TRACE_LIMIT:
            track.trace.append(PastSpan(self._stage, self._begin, now))

    def divide(self, thread_seconds: Mapping[str, float]) -> None:
        """Divide the span's own time among stages in proportion to what a call of the core spent on each."""
        self._weights = thread_seconds


class _WholeSpan(Span):
    """A span that keeps what is inside of it."""

    __slots__ = ()

    def __enter__(self) -> Self:
        self._track.absorbs = True
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, traceback)
        self._track.absorbs = False


class NoSpan:
    """A span that nobody measures."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return

    def divide(self, thread_seconds: Mapping[str, float]) -> None:
        """As `Span.divide`."""


current_track: Final[ContextVar[Track | None]] = ContextVar("mckpt_track", default=None)
"""What the running thread or task works for."""

_NO_SPAN: Final = NoSpan()


def span(stage: Stage) -> Span | NoSpan:
    """A block whose time goes to a stage of the operation that this thread works for, if there is one."""
    track = current_track.get()
    return _NO_SPAN if track is None or track.absorbs else Span(track, stage)


def spanned(stage: Stage, *, whole: bool = False) -> Callable[[Callable[_Given, _Result]], Callable[_Given, _Result]]:
    """Make each call of a function a span.

    Args:
        stage: What its time goes to.
        whole: Whether spans inside of it count for it.
    """

    def decorate(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
        @functools.wraps(function)
        def call(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
            track = current_track.get()
            if track is None or track.absorbs:
                return function(*args, **kwargs)
            with _WholeSpan(track, stage) if whole else Span(track, stage):
                return function(*args, **kwargs)

        return call

    return decorate
