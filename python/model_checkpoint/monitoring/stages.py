"""What an operation spends its time on."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

__all__ = ["STAGES", "Stage"]

Stage: TypeAlias = Literal[
    "wait",  # for the save before, and for a buffer of the core
    "snapshot",  # taking the state apart, laying out the files, copying the tensors
    "memory",  # making the pages of a destination present
    "read",  # system calls that read, and what is parsed before the first tensor
    "hash",  # digests and checksums
    "copy",  # from memory to memory, or between memory and a device
    "write",  # system calls that write, and the allocation of files
    "fsync",  # making files, directories and their names durable
    "commit",  # the steps between: staging, manifest, modes, rename
    "catalog",  # recording it in the catalog, and what is said of it from the start
    "verify",  # reading back what was written
    "restore",  # building values and giving them to their objects
    "query",  # answering questions to catalog and metrics
    "hook",  # listeners to events
]
"""Names of stages. They are stored in timing logs and exported: never rename one."""

STAGES: Final[tuple[str, ...]] = get_args(Stage)
"""All of them, in the order in which a save or a load goes through them, as far as there is one."""
