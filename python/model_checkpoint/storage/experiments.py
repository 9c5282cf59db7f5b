"""The settings of an experiment: ``experiment.json``, docs/format.md, section 4."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from model_checkpoint.errors import ConfigurationError, FormatError
from model_checkpoint.storage.durable import read_small
from model_checkpoint.storage.names import check_experiment
from model_checkpoint.types import ExperimentInfo
from model_checkpoint.utils import strict_json
from model_checkpoint.utils.atomic_file import replace_bytes
from model_checkpoint.utils.clock import format_rfc3339, parse_rfc3339
from model_checkpoint.utils.presence import is_present
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["read_experiment", "write_experiment"]

_FILE = "experiment.json"
_LIMIT = 16 * 1024 * 1024


def read_experiment(directory: str) -> ExperimentInfo | None:
    """The settings in an experiment's directory; None if there are none.

    Raises:
        FormatError: The file breaks a rule.
        StorageError: It cannot be read.
    """
    path = os.path.join(directory, _FILE)
    if not is_present(path):
        return None
    info = _decode(strict_json.parse(read_small(path, limit=_LIMIT), path=path), path)
    if info.name != os.path.basename(directory):
        raise FormatError("the settings are of another experiment", path=path, rule="experiment")
    return info


def write_experiment(directory: str, info: ExperimentInfo) -> None:
    """Replace the settings in an experiment's directory, durably.

    Raises:
        ConfigurationError: ``config`` is more than JSON can say.
        StorageError: The file system failed; the old settings are still there.
    """
    members: dict[str, JsonValue] = {
        "name": check_experiment(info.name),
        "created_at": format_rfc3339(info.created_at),
        "monitor": info.monitor,
        "mode": info.mode,
        "keep": info.keep,
        "config": cast("JsonValue", dict(info.config)),
        "criterion": info.criterion,
    }
    try:
        json.dumps(members, ensure_ascii=False).encode()  # a lone surrogate would not come back
        text = strict_json.dump(members)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"the config of experiment {info.name} is not JSON: {error}") from None
    replace_bytes(os.path.join(directory, _FILE), text.encode("ascii") + b"\n", nofollow=True)


def _decode(members: Any, path: str) -> ExperimentInfo:
    try:
        mode = members.get("mode")
        if mode not in (None, "min", "max"):
            raise ValueError("illegal mode")
        return ExperimentInfo(
            name=check_experiment(members["name"]),
            created_at=parse_rfc3339(members["created_at"]),
            monitor=_optional_text(members.get("monitor")),
            mode=mode,
            keep=_optional_text(members.get("keep")),
            config=_config(members.get("config", {})),
            criterion=_optional_text(members.get("criterion")),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"not the settings of an experiment: {error}", path=path, rule="experiment") from None


def _config(value: Any) -> Mapping[str, Any]:
    if type(value) is not dict:
        raise TypeError("the config is not an object")
    return MappingProxyType(value)


def _optional_text(value: Any) -> str | None:
    if value is not None and type(value) is not str:
        raise TypeError("not a text")
    return value
