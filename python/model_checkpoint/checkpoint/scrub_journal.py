"""How far scrubs have come: ``.scrub.json`` in the store's root, docs/format.md, section 4.

When a checkpoint was verified is said beside it, in its annotation, and is never lost. The journal only spares work:
how far the checkpoint under way was read, and when damaged ones were last looked at. So it is not synced, and one that
cannot be read is an empty one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from model_checkpoint.errors import IntegrityError, StorageError
from model_checkpoint.storage.durable import read_small
from model_checkpoint.storage.names import check_file_name, check_id
from model_checkpoint.utils import strict_json
from model_checkpoint.utils.atomic_file import replace_bytes
from model_checkpoint.utils.clock import format_rfc3339, parse_rfc3339
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["Position", "ScrubJournal", "read_journal", "write_journal"]

_NAME = ".scrub.json"
_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Position:
    """How far a checkpoint was read.

    Attributes:
        id: Which one.
        began_at: When its first byte was read.
        file: The file under way; those before it, by name, are done.
        offset: What of it is done, in bytes.
        sound: Whether all that was read so far is sound, or was repaired.
    """

    id: str
    began_at: datetime
    file: str
    offset: int
    sound: bool


@dataclass(frozen=True, slots=True)
class ScrubJournal:
    """What scrubs remember.

    Attributes:
        damaged: When checkpoints that are damaged were last looked at, by id.
        position: How far the checkpoint under way was read, or None.
    """

    damaged: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    position: Position | None = None


def read_journal(root: str) -> ScrubJournal:
    """The journal of a store; an empty one if there is none that could be read."""
    path = os.path.join(root, _NAME)
    try:
        return _decode(strict_json.parse(read_small(path, limit=_LIMIT), path=path))
    except (IntegrityError, StorageError, AttributeError, KeyError, TypeError, ValueError):
        return ScrubJournal()


def write_journal(root: str, journal: ScrubJournal) -> None:
    """Replace the journal of a store.

    Raises:
        StorageError: The file system failed.
    """
    position = journal.position
    members: dict[str, JsonValue] = {
        "damaged": {key: format_rfc3339(time) for key, time in journal.damaged.items()},
        "position": None if position is None else _position_members(position),
    }
    text = strict_json.dump(members).encode("ascii") + b"\n"
    replace_bytes(os.path.join(root, _NAME), text, durable=False, nofollow=True)


def _position_members(position: Position) -> JsonValue:
    return {
        "id": position.id,
        "began_at": format_rfc3339(position.began_at),
        "file": position.file,
        "offset": position.offset,
        "sound": position.sound,
    }


def _decode(members: Any) -> ScrubJournal:
    damaged = {check_id(key): parse_rfc3339(time) for key, time in members["damaged"].items()}
    position = members["position"]
    return ScrubJournal(MappingProxyType(damaged), None if position is None else _position(position))


def _position(members: Any) -> Position:
    offset, began_at = members["offset"], parse_rfc3339(members["began_at"])
    if type(offset) is not int or offset < 0:
        raise ValueError("not an offset")
    sound = members["sound"] is True
    return Position(check_id(members["id"]), began_at, check_file_name(members["file"]), offset, sound)
