"""Verification of whole files, without keeping a byte."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import model_checkpoint as mc
from benchmarks.asv.arrays import THREADS, arrays_of
from benchmarks.asv.page_cache import warm
from model_checkpoint import _native
from model_checkpoint.storage.safetensors.verify import verify_file

PATH = Path("verified.safetensors")


class VerifyFile:
    """64 MiB in the page cache."""

    param_names = ("level", "threads")
    params = (("full", "fast"), THREADS)

    def setup_cache(self) -> None:
        mc.save_file(arrays_of(64), PATH)

    def setup(self, _level: str, threads: int) -> None:
        _native.set_threads(threads)
        warm(PATH)

    def time_verify_file(self, level: Literal["full", "fast"], _threads: int) -> None:
        verify_file(PATH, level=level)
