"""References: the ways to name a checkpoint in one word.

    [EXPERIMENT:]latest             the newest one
    [EXPERIMENT:]best               the best one by the experiment's monitored metric
    [EXPERIMENT:]best@METRIC[:MODE] the best one by another metric; MODE is min or max
    [EXPERIMENT:]STEP               the newest one of that step
    [EXPERIMENT:]STEP-ID            step and the beginning of the id, as `CheckpointInfo.ref` and directories have it
    [EXPERIMENT:]ALIAS              what `set_alias` named
    [EXPERIMENT:]ID                 the id, or at least 4 digits of its beginning

An alias wins over an id, a step over both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from model_checkpoint.errors import ConfigurationError
from model_checkpoint.types import Mode

__all__ = ["Best", "Latest", "Name", "Ref", "Step", "StepAndId", "check_alias", "parse_ref"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_STEP = re.compile(r"[0-9]{1,18}")  # below 2^63
_STEP_AND_ID = re.compile(r"(?:step-)?([0-9]{1,18})-([0-9a-f]{8,32})")
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest checkpoint."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best checkpoint; None stands for what the experiment monitors."""

    metric: str | None = None
    mode: Mode | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """The newest checkpoint of a step; ``text`` may also be the beginning of an id."""

    step: int
    text: str


@dataclass(frozen=True, slots=True)
class StepAndId:
    """The checkpoint of a step whose id begins so."""

    step: int
    prefix: str


@dataclass(frozen=True, slots=True)
class Name:
    """An alias, an id, or the beginning of an id."""

    text: str


@dataclass(frozen=True, slots=True)
class Ref:
    """A parsed reference.

    Attributes:
        experiment: The experiment that it names, or None.
        selector: What it says within the experiment.
    """

    experiment: str | None
    selector: Latest | Best | Step | StepAndId | Name


def parse_ref(ref: str | int) -> Ref:
    """Parse a reference. Every text is one: what names nothing is found out by looking it up."""
    text = str(ref)
    if text.startswith("best@"):  # its metric may hold a colon; no experiment's name holds an @
        return Ref(None, _best(text))
    experiment, colon, rest = text.partition(":")
    return Ref(experiment, _selector(rest)) if colon else Ref(None, _selector(text))


def check_alias(alias: str) -> None:
    """See to it that an alias can be found again: a name (docs/format.md, 3.1) that is no other kind of reference.

    Raises:
        ConfigurationError: It cannot.
    """
    if _NAME.fullmatch(alias) is None:
        raise ConfigurationError(f"alias {alias!r} is not of letters, digits, '.', '_' and '-' (at most 128)")
    if not isinstance(_selector(alias), Name) or _ID.fullmatch(alias):
        raise ConfigurationError(f"alias {alias!r} would hide another reference")


def _selector(text: str) -> Latest | Best | Step | StepAndId | Name:
    if text == "latest":
        return Latest()
    if text == "best" or text.startswith("best@"):
        return _best(text)
    if _STEP.fullmatch(text):
        return Step(int(text), text)
    if match := _STEP_AND_ID.fullmatch(text):
        return StepAndId(int(match[1]), match[2])
    return Name(text)


def _best(text: str) -> Best:
    if text == "best":
        return Best()
    metric = text.removeprefix("best@")
    if metric.endswith(":min"):
        return Best(metric.removesuffix(":min"), "min")
    if metric.endswith(":max"):
        return Best(metric.removesuffix(":max"), "max")
    return Best(metric)
