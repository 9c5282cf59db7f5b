"""The core's reads alone, from the page cache into memory that is reused: no page is made, no tensor built."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from benchmarks.asv.arrays import MIB, THREADS, arrays_of
from benchmarks.asv.page_cache import warm
from model_checkpoint import _native

PATH = Path("bytes")
NBYTES = 64 * MIB


class ReadSpans:
    """64 MiB as one tensor."""

    param_names = ("check", "threads")
    params = (("sha256", "crc32c", "none"), THREADS)

    def setup_cache(self) -> None:
        PATH.write_bytes(b"".join(array.data for array in arrays_of(64).values()))

    def setup(self, check: Literal["sha256", "crc32c", "none"], threads: int) -> None:
        _native.set_threads(threads)
        warm(PATH)
        self.fd = os.open(PATH, os.O_RDONLY)
        self.table = _native.digest_chunks([PATH.read_bytes()])
        self.memory = _native.Arena(NBYTES)
        self.time_read_spans(check)  # the first read pays for the pages

    def teardown(self, *_: object) -> None:
        os.close(self.fd)

    def time_read_spans(self, check: Literal["sha256", "crc32c", "none"], _threads: int = 0) -> None:
        _native.read_spans(
            self.fd, "bytes", [0], [NBYTES], [self.memory], ["all"], table=self.table, first_chunks=[0], check=check
        )
