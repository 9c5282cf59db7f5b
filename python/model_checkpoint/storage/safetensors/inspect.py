"""What a plain file says of itself, without reading its data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from model_checkpoint.storage.safetensors.alias import Alias
from model_checkpoint.storage.safetensors.plain_file import open_plain
from model_checkpoint.types import TensorInfo

__all__ = ["FileReport", "inspect_file"]


@dataclass(frozen=True, slots=True)
class FileReport:
    """A plain file from its header, which is checked; its data is not.

    Attributes:
        path: The file.
        nbytes: Its size in bytes.
        data_offset: Where its data begins, in bytes.
        tensors: The stored tensors, in the order of the header.
        aliases: Further names of stored tensors, and views into them.
        metadata: The user's metadata.
        digest: The file digest, hexadecimal; None in a foreign file.
    """

    path: str
    nbytes: int
    data_offset: int
    tensors: tuple[TensorInfo, ...]
    aliases: Mapping[str, Alias]
    metadata: Mapping[str, str]
    digest: str | None

    @property
    def ours(self) -> bool:
        """Whether it carries digests."""
        return self.digest is not None


def inspect_file(path: str | os.PathLike[str], *, nofollow: bool = False) -> FileReport:
    """Describe a safetensors file.

    Args:
        path: The file.
        nofollow: Whether to refuse a final symbolic link, as inside a store.

    Raises:
        CorruptionError: Its header differs from its digest.
        FormatError: Its header breaks a rule of the format.
        StorageError: It cannot be read.
    """
    plain = open_plain(path, nofollow=nofollow)
    header = plain.header
    tensors = tuple([header.info(name) for name in header.entries])
    return FileReport(
        plain.path,
        header.file_bytes,
        header.data_offset,
        tensors,
        dict(header.aliases),
        dict(header.metadata),
        header.digest,
    )
