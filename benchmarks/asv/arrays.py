"""What the suite stores: contents cost nothing to make, and say nothing to a hash or a disk."""

from __future__ import annotations

import os

import ml_dtypes
import numpy as np
import numpy.typing as npt

MIB = 1 << 20
TENSORS = 8
DTYPES = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
THREADS = tuple(count for count in (1, 2, 4, 8, 16) if count <= len(os.sched_getaffinity(0)))
"""Thread counts that are worth a comparison on this machine."""

Array = npt.NDArray[np.generic]


def arrays_of(mib: int, dtype: str = "float32") -> dict[str, Array]:
    """Eight arrays of one dtype, `mib` MiB together."""
    pattern = np.random.default_rng(0).integers(0, 256, MIB, np.uint8)
    nbytes = mib * MIB // TENSORS
    return {
        f"layers.{i}.weight": np.resize(pattern, nbytes).view(DTYPES[dtype]).reshape(64, -1) for i in range(TENSORS)
    }


def tiny_arrays(count: int) -> dict[str, Array]:
    """`count` arrays of 1 to 64 float32 values."""
    sizes = np.random.default_rng(0).integers(1, 65, count).tolist()
    values = np.arange(64, dtype=np.float32)
    return {f"block.{i // 100}.part.{i}": values[:size].copy() for i, size in enumerate(sizes)}
