"""Our hash kernels over a mapping that is warm: what a verified load would take if all else were free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.files import Files
from model_checkpoint import _native
from model_checkpoint.storage.safetensors.plain_file import open_plain


@dataclass
class HashKernel:
    """Checks each digest of the safetensors file in a mapping, which exists between `before` and `after` alone.

    Attributes:
        threads: How many; 0 for one per core.
    """

    files: Files
    check: Literal["sha256", "crc32c"] = "sha256"
    threads: int = 0

    def before(self) -> None:
        """Map the file and have the mapping hold each of its pages."""
        self.files.warm("safetensors")
        self._plain = open_plain(self.files.path("safetensors"))
        with open(self._plain.path, "rb") as file:
            self._mapping = _native.map_file(file.fileno(), self._plain.path, self._plain.header.file_bytes)
        self._verify("crc32c", 0)

    def run(self) -> None:
        self._verify(self.check, self.threads)

    def after(self, _answer: object) -> None:
        del self._mapping, self._plain

    def _verify(self, check: Literal["sha256", "crc32c"], threads: int) -> None:
        header = self._plain.header
        if header.table is None:
            raise ValueError(f"{self._plain.path} has no digests")
        _native.verify_mapping(
            self._mapping,
            self._plain.path,
            [header.data_offset + entry.begin for entry in header.entries.values()],
            [entry.nbytes for entry in header.entries.values()],
            [*header.entries],
            table=header.table,
            first_chunks=[header.first_chunks[name] for name in header.entries],
            check=check,
            threads=threads,
        )
