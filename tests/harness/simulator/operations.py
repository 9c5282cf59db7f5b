"""What a program does to the files below one directory, as far as a power cut could tell."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WITHOUT_PROMISES", "Acknowledge", "Create", "Operation", "Remove", "Rename", "Resize", "Sync", "Write"]

WITHOUT_PROMISES = frozenset({".timings.jsonl", ".timings.1.jsonl"})
"""Files that are for people only (docs/format.md, section 4): what a power cut makes of them is nobody's loss, and it
is left out."""


@dataclass(frozen=True, slots=True)
class Create:
    """A new, empty file or directory appears."""

    path: str
    is_directory: bool


@dataclass(frozen=True, slots=True)
class Rename:
    """A file or directory gets another path; a file that has it loses it."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Remove:
    """The name of a file or of an empty directory goes."""

    path: str


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes are written to a file."""

    path: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Resize:
    """A file gets this size: it is cut, or what is new of it is zero."""

    path: str
    size: int
    only_grow: bool = False


@dataclass(frozen=True, slots=True)
class Sync:
    """``fsync`` of a file or directory has returned.

    Attributes:
        path: Which.
        began: How many operations had ended when it was called; of later ones it promises nothing.
    """

    path: str
    began: int


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The program says that something is done for good."""

    text: str


Operation = Create | Rename | Remove | Write | Resize | Sync | Acknowledge
