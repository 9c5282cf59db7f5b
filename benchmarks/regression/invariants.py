"""Claims about one build: what its parts cost in terms of each other, on whatever machine.

Each bound lies far enough from what was measured that noise does not reach it, and near enough that losing what the
claim is about does: a kernel, the single pass, the streaming stores, linear time.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.regression.comparison import Comparison
from benchmarks.regression.side import Side
from benchmarks.regression.workload import Workload
from model_checkpoint import _native

DIGEST = Workload("digest.DigestChunks.time_digest_chunks", (2,))
DIGEST_ALONE = Workload("digest.DigestChunks.time_digest_chunks", (1,))
CHECK_FAST = Workload("verify.VerifyFile.time_verify_file", ("fast", 1))
MAPPED = Workload("load.MappedLoad.time_load_file", (64, "full", 2))
COPY = Workload("snapshot.CopyBuffers.time_copy_buffers", (64, 1))
NUMPY_COPY = Workload("snapshot.NumpyCopy.time_copyto", (64,))
TAKE = Workload("snapshot.TakeSnapshot.time_take", (64,))
COPY_BY_ALL = Workload("snapshot.CopyBuffers.time_copy_buffers", (64, 2))


def hot_load(level: str) -> Workload:
    return Workload("load.HotLoad.time_load_file", (64, "float32", level, 2))


def read(check: str) -> Workload:
    return Workload("read.ReadSpans.time_read_spans", (check, 2))


def save_many(count: int) -> Workload:
    return Workload("save.SaveManyTensors.time_save_file", (count,))


def invariants(packages: Path) -> list[Comparison]:
    def claim(name: str, numerator: Workload, denominator: Workload, at_most: float) -> Comparison:
        return Comparison(name, Side(packages, numerator), Side(packages, denominator), at_most)

    return [
        *kernels(packages),
        claim("mapped verified load / hashing the same bytes", MAPPED, DIGEST, 1.4),
        claim('hot load, verify="fast" / "none"', hot_load("fast"), hot_load("none"), 1.5),
        claim("verified read / hashing the same bytes", read("sha256"), DIGEST, 2.0),
        claim("copy of a snapshot / numpy's copy, one thread", COPY, NUMPY_COPY, 1.3),
        claim("taking a snapshot / the copy in it", TAKE, COPY_BY_ALL, 2.5),
        claim("save of 20,000 tensors / of 10,000", save_many(20_000), save_many(10_000), 3.0),
    ]


def kernels(packages: Path) -> list[Comparison]:
    """The kernel that was chosen against the portable one, where there is another."""
    claims = []
    for algorithm, workload in (("sha256", DIGEST_ALONE), ("crc32c", CHECK_FAST)):
        chosen = _native.kernels()[algorithm][0]
        if chosen != "portable":
            portable = Side(packages, workload, {f"MCKPT_{algorithm.upper()}": "portable"})
            claims.append(
                Comparison(f"{algorithm}: {chosen} kernel / portable one", Side(packages, workload), portable, 0.6)
            )
    return claims
