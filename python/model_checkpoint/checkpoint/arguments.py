"""Checks of what users give to a manager, so that mistakes are found before training begins."""

from __future__ import annotations

from typing import Any

from model_checkpoint.checkpoint.keep import Keep
from model_checkpoint.checkpoint.parts import as_part
from model_checkpoint.checkpoint.resume import RNG
from model_checkpoint.database.refs import check_alias
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.storage.names import is_component

__all__ = ["check_options", "checked_alias", "checked_part"]


def check_options(*, when_busy: object, on_sigterm: object, trash_for_s: float, keep: object) -> None:
    """Return if options of a manager are among what there is.

    Raises:
        ConfigurationError: One is not.
    """
    if when_busy not in ("wait", "skip"):
        raise ConfigurationError(f"when_busy is {when_busy!r}; it must be 'wait' or 'skip'")
    if on_sigterm not in (None, "save", "flag"):
        raise ConfigurationError(f"on_sigterm is {on_sigterm!r}; it must be 'save', 'flag' or None")
    if not 0 <= trash_for_s < float("inf"):
        raise ConfigurationError(f"trash_for_s is {trash_for_s!r}; it must be a number of at least 0")
    if keep is not None and not isinstance(keep, Keep):
        raise ConfigurationError(f"keep is {keep!r}; it must be a policy such as Keep.last(3) | Keep.best(2)")


def checked_alias(alias: str | None) -> str | None:
    """Return a name for a checkpoint, or None.

    Raises:
        ConfigurationError: It could not be told from another kind of reference.
    """
    if alias is not None:
        check_alias(alias)
    return alias


def checked_part(name: str, value: Any, others: dict[str, Any]) -> Any:
    """What stands for a part of a run.

    Raises:
        ConfigurationError: The name is taken or cannot be a file's, or the value cannot be changed in place.
    """
    if not is_component(name):
        raise ConfigurationError(f"a part cannot be named {name!r}: its name becomes that of a file")
    if name.lower() in {other.lower() for other in (*others, RNG)}:
        raise ConfigurationError(f"there is already a part named {name!r}")
    return as_part(name, value)
