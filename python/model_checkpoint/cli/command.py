"""What all commands share: their options, and the session that these make."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click

from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.root import require_store, resolve_root

__all__ = ["Session", "command", "with_shared_options"]

Arguments = ParamSpec("Arguments")


@dataclass(frozen=True, slots=True)
class Session:
    """What a command works with.

    Attributes:
        root: The store's root; it need not exist.
        as_json: Whether to print JSON instead of text.
    """

    root: Path
    as_json: bool

    @property
    def store_root(self) -> Path:
        """The root of a store that exists.

        Raises:
            CheckpointNotFoundError: There is no store.
        """
        return require_store(self.root)


def with_shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that may stand before the command's name as well as after it."""
    options = (
        click.option("-C", "--root", metavar="DIR", expose_value=False, callback=_remember,
                     help="The store. Default: $MCKPT_ROOT, the working directory if it is one, ./runs."),
        click.option("--json", is_flag=True, expose_value=False, callback=_remember,
                     help="Print JSON instead of text."),
        click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."),
    )  # fmt: skip
    return functools.reduce(lambda decorated, option: option(decorated), reversed(options), function)


def command(name: str) -> Callable[[Callable[Concatenate[Session, Arguments], ExitCode]], click.Command]:
    """Make a function a command with the shared options; it gets the session first and returns the exit code."""

    def decorate(function: Callable[Concatenate[Session, Arguments], ExitCode]) -> click.Command:
        @functools.wraps(function)
        def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> ExitCode:
            given = click.get_current_context().meta
            session = Session(resolve_root(given.get(_key("root"))), bool(given.get(_key("json"))))
            return function(session, *args, **kwargs)

        made = click.command(name)(call)
        made.params.extend(_SHARED)
        return made

    return decorate


def _shared_options() -> list[click.Parameter]:
    return click.command()(with_shared_options(lambda: None)).params


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
    """Keep a shared option's value for the command; what stands later on the line wins."""
    if value is not None and value is not False:
        context.meta[_key(str(parameter.name))] = value


def _key(option: str) -> str:
    return f"{__name__}.{option}"  # the group and its command share one `meta` with all of click


_SHARED = _shared_options()
