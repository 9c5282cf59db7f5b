"""How the process ends: the one place that maps errors to exit codes."""

from __future__ import annotations

import enum

from model_checkpoint.errors import CheckpointNotFoundError, ConfigurationError, IntegrityError, MetricNotFoundError

__all__ = ["ExitCode", "exit_code_of"]


class ExitCode(enum.IntEnum):
    """Scripts depend on the values: never change one."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    INTEGRITY = 4
    WOULD_CHANGE = 5
    """A dry run that found something to do."""
    INTERRUPTED = 130
    """Ctrl-C, as shells spell it: 128 + SIGINT."""


def exit_code_of(error: BaseException) -> ExitCode:
    """The code for an error that ended a command."""
    match error:
        case IntegrityError():
            return ExitCode.INTEGRITY
        case CheckpointNotFoundError() | MetricNotFoundError():
            return ExitCode.NOT_FOUND
        case ConfigurationError():
            return ExitCode.USAGE
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED
        case _:
            return ExitCode.FAILED
