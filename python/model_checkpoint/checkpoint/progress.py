"""What a person sees of a manager's work: one line for each event that matters, and a sign of life while it waits."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from model_checkpoint.events import (
    CheckpointDamaged,
    CheckpointSaved,
    Event,
    RetentionFailed,
    RetentionPlanned,
    RunResumed,
    SaveFailed,
    SaveSkipped,
)
from model_checkpoint.utils.duration import format_duration
from model_checkpoint.utils.sizes import format_size

__all__ = ["Progress", "describe"]

_log = logging.getLogger("model_checkpoint")


def describe(event: Event) -> str | None:
    """The line for an event; None if it is not worth one."""
    words = _WORDS.get(type(event))
    return words(event) if words is not None else None


def _saved(event: CheckpointSaved) -> str:
    info = event.checkpoint
    parts = [
        f"saved {info.experiment}:step-{info.step}" + (" in background" if event.background else ""),
        f"stall {format_duration(event.stall_s)}",
        format_size(info.nbytes),
        f"{format_size(info.nbytes / max(event.seconds, 1e-9))}/s",
    ]
    if event.best and event.monitor is not None and event.monitor in info.metrics:
        parts.append(f"new best ({info.metrics[event.monitor]:.4g})")
    return " · ".join(parts)


def _failed(event: SaveFailed) -> str:
    return f"{event.experiment}:step-{event.step} was not saved: {event.error}"


def _skipped(event: SaveSkipped) -> str:
    return f"{event.experiment}:step-{event.step} was skipped: the save before it still runs"


def _planned(event: RetentionPlanned) -> str:
    return f"{event.experiment}: {len(event.removed)} to the trash · frees {format_size(event.freed_bytes)}"


def _refused(event: RetentionFailed) -> str:
    return f"{event.experiment}: the cleanup stopped: {event.error}"


def _resumed(event: RunResumed) -> str:
    lost = f" · not restored: {', '.join(event.incomplete)}" if event.incomplete else ""
    return f"resumed from {event.checkpoint.experiment}:step-{event.checkpoint.step}{lost}"


def _damaged(event: CheckpointDamaged) -> str:
    return f"{event.ref} {'was' if event.repaired else 'is'} damaged: {event.damage}"


_WORDS: dict[type, Callable[[Any], str]] = {
    CheckpointDamaged: _damaged,
    CheckpointSaved: _saved,
    SaveFailed: _failed,
    SaveSkipped: _skipped,
    RetentionPlanned: _planned,
    RetentionFailed: _refused,
    RunResumed: _resumed,
}


def _level(event: Event) -> int:
    if isinstance(event, SaveFailed) or (isinstance(event, CheckpointDamaged) and not event.repaired):
        return logging.ERROR
    is_warning = isinstance(event, SaveSkipped | RetentionFailed | CheckpointDamaged) or (
        isinstance(event, RunResumed) and event.incomplete
    )
    return logging.WARNING if is_warning else logging.INFO


class Progress:
    """Logs events, and on a terminal shows them where the log does not.

    Args:
        shown: Whether to write to the terminal; ``"auto"``: if standard error is one.
    """

    def __init__(self, shown: bool | Literal["auto"] = "auto") -> None:  # noqa: FBT001 - one of three words
        self._shown = sys.stderr.isatty() if shown == "auto" else shown

    def emit(self, event: Event) -> None:
        line = describe(event)
        if line is None:
            return
        level = _level(event)
        _log.log(level, "%s", line)
        if self._shown and not _log.isEnabledFor(level):
            print(line, file=sys.stderr)  # noqa: T201 - that is what a terminal is for

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Show on a terminal that something takes its time."""
        if not self._shown:
            yield
            return
        from rich.console import Console

        with Console(stderr=True).status(what):
            yield
