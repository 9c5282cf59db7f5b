"""Checksums of bytes and files by the names that people use: ``sha256``, ``crc32c``, ``blake3``.

These are the plain digests of whole byte strings, as ``sha256sum`` prints them; the tree digests of our own files are
those of docs/format.md and are checked by the core.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Protocol

from model_checkpoint import _native
from model_checkpoint.errors import ConfigurationError, CorruptionError, StorageError
from model_checkpoint.utils.optional_import import require

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from 3.12 on

__all__ = ["Algorithm", "ChecksumCalculator"]

Algorithm = Literal["sha256", "crc32c", "blake3"]

_READ_BYTES = 4 * 1024 * 1024


class _Hasher(Protocol):
    def update(self, data: Buffer, /) -> Any: ...
    def hexdigest(self) -> str: ...


class _Crc32c:
    """CRC-32C in the shape of a hashlib object."""

    def __init__(self) -> None:
        self._crc = 0

    def update(self, data: Buffer, /) -> None:
        self._crc = _native.crc32c(data, self._crc)

    def hexdigest(self) -> str:
        return f"{self._crc:08x}"


def _blake3() -> _Hasher:
    module: Any = require("blake3", extra="hash")
    hasher: _Hasher = module.blake3(max_threads=module.blake3.AUTO)
    return hasher


_HASHERS: dict[str, Callable[[], _Hasher]] = {"sha256": hashlib.sha256, "crc32c": _Crc32c, "blake3": _blake3}


class ChecksumCalculator:
    """Computes and compares checksums, in hexadecimal.

    Args:
        algorithm: The one to use where a call names none.

    Raises:
        ConfigurationError: The algorithm is unknown.
    """

    def __init__(self, algorithm: Algorithm = "sha256") -> None:
        self.algorithm = _known(algorithm)

    def calculate(self, source: str | os.PathLike[str] | Buffer, algorithm: Algorithm | None = None) -> str:
        """The checksum of a file (given by its path) or of bytes (given as a buffer).

        Raises:
            StorageError: The file cannot be read.
            MissingDependencyError: ``blake3`` is not installed.
        """
        hasher = _HASHERS[_known(algorithm or self.algorithm)]()
        if isinstance(source, str | os.PathLike):
            for block in _blocks(os.fspath(source)):
                hasher.update(block)
        else:
            hasher.update(memoryview(source).cast("B"))
        return hasher.hexdigest()

    def verify(
        self, source: str | os.PathLike[str] | Buffer, expected: str, algorithm: Algorithm | None = None
    ) -> None:
        """Return if the checksum is the expected one.

        Raises:
            CorruptionError: It is another one.
            StorageError: The file cannot be read.
        """
        actual = self.calculate(source, algorithm)
        if actual != expected.strip().lower():
            path = os.fspath(source) if isinstance(source, str | os.PathLike) else None
            name = algorithm or self.algorithm
            raise CorruptionError(f"{name} is {actual}, not {expected}", path=path, rule="digest")


def _known(algorithm: str) -> Any:
    if algorithm not in _HASHERS:
        raise ConfigurationError(f"unknown checksum {algorithm!r}; there is {', '.join(_HASHERS)}")
    return algorithm


def _blocks(path: str) -> Iterator[memoryview]:
    """The file in blocks, each valid until the next one is asked for."""
    block = memoryview(bytearray(_READ_BYTES))
    try:
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(block):
                yield block[:count]
    except OSError as error:
        raise StorageError.from_os_error(error, "cannot read the file", path=path) from error
