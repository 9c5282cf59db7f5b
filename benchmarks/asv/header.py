"""Headers, where the number of tensors counts and not that of bytes."""

from __future__ import annotations

import os
from pathlib import Path

import model_checkpoint as mc
from benchmarks.asv.arrays import tiny_arrays
from model_checkpoint.storage.safetensors.header import decode

COUNTS = (1_000, 100_000)
PREFIX_BYTES = 8


def path_of(count: int) -> Path:
    return Path(f"{count}.safetensors")


class Header:
    """Parsed and checked in full: names, dtypes, shapes, extents, aliases, the header's digest."""

    param_names = ("tensors",)
    params = (COUNTS,)

    def setup_cache(self) -> None:
        for count in COUNTS:
            mc.save_file(tiny_arrays(count), path_of(count))

    def setup(self, count: int) -> None:
        with path_of(count).open("rb") as file:
            prefix = file.read(PREFIX_BYTES)
            self.raw = prefix + file.read(int.from_bytes(prefix, "little"))
        self.file_size = os.path.getsize(path_of(count))

    def time_decode(self, count: int) -> None:
        decode(self.raw, self.file_size, str(path_of(count)))

    def time_open_file(self, count: int) -> None:
        mc.open_file(path_of(count), framework="numpy").close()
