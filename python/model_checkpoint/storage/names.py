"""Names that become paths. Nothing else ever does: see docs/format.md, 3.1 and 4."""

from __future__ import annotations

import re

from model_checkpoint.errors import ConfigurationError

__all__ = [
    "MANIFEST_NAME",
    "METRICS_NAME",
    "check_experiment",
    "check_file_name",
    "check_id",
    "check_place",
    "check_step",
    "checkpoint_name",
    "component_of",
    "is_component",
    "is_experiment",
    "is_file_name",
    "is_id",
    "is_in_trash",
    "parse_checkpoint_name",
    "parse_checkpoint_path",
    "shard_name",
]

MANIFEST_NAME = "manifest.json"
METRICS_NAME = ".metrics"
"""Where an experiment has its older metrics."""

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_TRASHED = re.compile(r"\.trash/([^/\0]+)/([^/]+)", re.ASCII)
_CHECKPOINT = re.compile(r"step-([0-9]{8,19})-([0-9a-f]{8})", re.ASCII)
_SHARD = re.compile(r"(?P<component>.+)-(?P<index>[0-9]{5})-of-(?P<count>[0-9]{5})", re.ASCII)
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))})
_SUFFIX = ".safetensors"
# Room for "-00001-of-00004.safetensors.index.json" within the 128 characters of a file name.
_COMPONENT_LENGTH = 80


def is_file_name(name: object) -> bool:
    """Whether a name may be a file of a checkpoint; the names of DOS devices are refused for the sake of Windows."""
    return (
        isinstance(name, str)
        and _FILE_NAME.fullmatch(name) is not None
        and name.lower() != MANIFEST_NAME
        and name.partition(".")[0].lower() not in _DEVICES
    )


def check_file_name(name: str) -> str:
    """Return the name.

    Raises:
        ConfigurationError: It cannot be a file of a checkpoint.
    """
    if not is_file_name(name):
        raise ConfigurationError(
            f"{_shown(name)} is not a file name: letters, digits and ._- only, at most 128, not {MANIFEST_NAME}"
        )
    return name


def is_experiment(name: object) -> bool:
    """Whether an experiment may have this name; the catalog lies beside the experiments."""
    return isinstance(name, str) and is_file_name(name) and not name.lower().startswith("catalog.db")


def check_experiment(name: str) -> str:
    """Return the name.

    Raises:
        ConfigurationError: It cannot be an experiment's directory.
    """
    if not is_experiment(name):
        raise ConfigurationError(
            f"{_shown(name)} is not an experiment's name: letters, digits and ._- only, at most 128, not catalog.db"
        )
    return name


def is_id(text: object) -> bool:
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def check_step(step: object) -> int:
    """Return a training step.

    Raises:
        ConfigurationError: It is no integer in [0, 2^63).
    """
    if type(step) is not int or not 0 <= step < 2**63:
        raise ConfigurationError(f"a step is an integer in [0, 2^63), not {step!r:.40}")
    return step


def check_id(text: str) -> str:
    """Return the id.

    Raises:
        ConfigurationError: It is not 32 hexadecimal digits.
    """
    if not is_id(text):
        raise ConfigurationError(f"{_shown(text)} is not an id of 32 hexadecimal digits")
    return text


def checkpoint_name(step: int, checkpoint_id: str) -> str:
    """``step-00000500-1f3a9c2e``."""
    return f"step-{step:08d}-{check_id(checkpoint_id)[:8]}"


def parse_checkpoint_name(name: str) -> tuple[int, str] | None:
    """Step and first digits of the id, or None if the name is no checkpoint's."""
    match = _CHECKPOINT.fullmatch(name)
    return (int(match[1]), match[2]) if match else None


def is_component(key: object) -> bool:
    """Whether a key of a state may name a file of tensors (and cannot be taken for a shard of another one)."""
    return (
        isinstance(key, str)
        and len(key) <= _COMPONENT_LENGTH
        and is_file_name(key + _SUFFIX)
        and _SHARD.fullmatch(key) is None
    )


def check_place(path: str) -> str:
    """Return a path, relative to its store, at which there may be a checkpoint: its own, or one in the trash.

    Raises:
        ConfigurationError: It is not such a path.
    """
    if not is_in_trash(path):
        parse_checkpoint_path(path)
    return path


def is_in_trash(path: str) -> bool:
    """Whether a path, relative to its store, is that of a checkpoint in the trash: ``.trash/<entry>/step-…``."""
    match = _TRASHED.fullmatch(path)
    return match is not None and match[1] != ".." and parse_checkpoint_name(match[2]) is not None


def parse_checkpoint_path(path: str) -> tuple[str, str]:
    """Experiment and directory of a checkpoint's path in its store: ``gpt2/step-00000500-1f3a9c2e``.

    Raises:
        ConfigurationError: It is not such a path.
    """
    experiment, _, name = path.partition("/")
    if not is_experiment(experiment) or parse_checkpoint_name(name) is None:
        raise ConfigurationError(f"{_shown(path)} is not a checkpoint's path in a store")
    return experiment, name


def shard_name(component: str, index: int, count: int) -> str:
    """``model.safetensors`` of one shard, ``model-00001-of-00004.safetensors`` of the first of four."""
    return f"{component}{_SUFFIX}" if count == 1 else f"{component}-{index:05d}-of-{count:05d}{_SUFFIX}"


def component_of(file_name: str) -> tuple[str, int, int] | None:
    """Component, number and count of shards of a file of tensors; None for another file."""
    if not file_name.endswith(_SUFFIX):
        return None
    stem = file_name.removesuffix(_SUFFIX)
    match = _SHARD.fullmatch(stem)
    return (match["component"], int(match["index"]), int(match["count"])) if match else (stem, 1, 1)


def _shown(name: object) -> str:
    """At most 80 characters of a name, escaped: it may be hostile, and messages end in logs."""
    return ascii(name)[:80]
