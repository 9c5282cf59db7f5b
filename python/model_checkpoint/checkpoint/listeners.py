"""Those who hear of what happens."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from model_checkpoint.events import Event, EventSink
from model_checkpoint.monitoring.span import span

__all__ = ["Listeners"]

_log = logging.getLogger("model_checkpoint")


class Listeners:
    """Several listeners as one. What one of them raises is logged: no save depends on who hears of it."""

    def __init__(self, sinks: Sequence[EventSink]) -> None:
        self._sinks = tuple(sinks)

    def emit(self, event: Event) -> None:
        for sink in self._sinks:
            try:
                with span("hook"):
                    sink.emit(event)
            except Exception:  # noqa: BLE001 - of foreign code, see above
                _log.exception("a listener failed on %s", type(event).__name__)
