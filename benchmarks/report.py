"""A run as JSON: what was measured where, so that others can check each figure."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import cpu_model
from benchmarks.result import Result, Row
from benchmarks.run import Run
from model_checkpoint import _native


def machine() -> dict[str, Any]:
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "hash_kernels": _native.kernels(),
        "threads": _native.get_threads(),
    }


def write(run: Run, path: Path) -> None:
    report = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "nbytes": run.nbytes,
        "tensors": len(run.state),
        "repeats": run.repeats,
        "peers": run.line_up.versions,
        "absent": run.line_up.absent,
        "groups": [_group(result) for result in run.results],
        "targets": [{"verdict": target.verdict, **asdict(target)} for target in run.targets],
    }
    path.write_text(json.dumps(report, indent=1) + "\n")


def _group(result: Result) -> dict[str, Any]:
    limit = result.limit
    return {
        "group": result.group,
        "cache": result.cache,
        "ceiling": None if limit is None else {"name": limit.name, "rate": limit.rate},
        "rows": [_row(result, row) for row in result.rows],
    }


def _row(result: Result, row: Row) -> dict[str, Any]:
    """Rates in GB/s, times in seconds."""
    return {
        "name": row.name,
        "role": row.role,
        **asdict(row.guarantee),
        "rate": row.rate,
        "spread": row.sample.spread,
        "ratio_to_best_peer": result.ratio(row),
        "share_of_ceiling": result.share(row),
        "seconds": row.sample.seconds,
        "nbytes": row.sample.nbytes,
    }
