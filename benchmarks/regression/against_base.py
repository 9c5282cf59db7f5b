"""The same workloads on two builds: this tree's, and an earlier commit's."""

from __future__ import annotations

from pathlib import Path

from benchmarks.regression.comparison import Comparison
from benchmarks.regression.side import Side
from benchmarks.regression.workload import Workload

AT_MOST = 1.25
WORKLOADS = {
    "save of 64 MiB": Workload("save.SaveFile.time_save_file", (64, "float32", 2)),
    "save of 10,000 tensors": Workload("save.SaveManyTensors.time_save_file", (10_000,)),
    "read, verified": Workload("read.ReadSpans.time_read_spans", ("sha256", 2)),
    "read, unverified": Workload("read.ReadSpans.time_read_spans", ("none", 2)),
    "hot load": Workload("load.HotLoad.time_load_file", (64, "float32", "full", 2)),
    "mapped load": Workload("load.MappedLoad.time_load_file", (64, "full", 2)),
    "load in place": Workload("load.LoadInto.time_load", (64,)),
    "verify": Workload("verify.VerifyFile.time_verify_file", ("full", 2)),
    "verify, fast": Workload("verify.VerifyFile.time_verify_file", ("fast", 2)),
    "snapshot": Workload("snapshot.TakeSnapshot.time_take", (64,)),
    "hashing": Workload("digest.DigestChunks.time_digest_chunks", (2,)),
    "header of 1,000 tensors": Workload("header.Header.time_decode", (1_000,)),
    "open of 1,000 tensors": Workload("header.Header.time_open_file", (1_000,)),
    "catalog: best": Workload("catalog.Questions.time_best"),
    "catalog: last 50": Workload("catalog.Questions.time_last_50"),
}


def against_base(candidate: Path, base: Path) -> list[Comparison]:
    """One claim for each workload: it takes no longer than it did, by `AT_MOST`."""
    return [
        Comparison(name, Side(candidate, workload), Side(base, workload), AT_MOST)
        for name, workload in WORKLOADS.items()
    ]
