"""What the machine and the installation bring, wherever the store is."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Iterator
from importlib import metadata

from model_checkpoint import _native
from model_checkpoint.cli.findings import Finding, ok, warn
from model_checkpoint.utils.sizes import format_size
from model_checkpoint.utils.sqlite_version import is_wal_safe, sqlite_driver

__all__ = ["check_machine"]


def check_machine() -> Iterator[Finding]:
    """Versions, kernels, threads and memory."""
    yield ok("python", f"{platform.python_version()} on {platform.system()} {platform.release()}, {platform.machine()}")
    yield _torch()
    yield _kernels("sha256")
    yield _kernels("crc32c")
    yield _threads()
    yield _sqlite()


def _torch() -> Finding:
    """Asks for its version without importing it, which would take seconds."""
    if importlib.util.find_spec("torch") is None:
        return ok("torch", "not installed: numpy arrays only")
    return ok("torch", metadata.version("torch"))


def _kernels(digest: str) -> Finding:
    used, *others = _native.kernels()[digest]
    if not others:
        return warn(digest, f"{used}: this processor has no instructions for it; expect a fraction of the speed")
    return ok(digest, f"{used} (also here: {', '.join(others)})")


def _threads() -> Finding:
    usable = len(os.sched_getaffinity(0))
    staging = format_size(_native.get_staging_bytes())
    return ok("threads", f"{_native.get_threads()} for {usable} usable of {os.cpu_count()} CPUs, {staging} of staging")


def _sqlite() -> Finding:
    driver = sqlite_driver()
    version = driver.sqlite_version
    if is_wal_safe(driver.sqlite_version_info):
        return ok("sqlite", f"{version} ({driver.__name__})")
    return ok("sqlite", f"{version}: before 3.51.3, so catalogs use a rollback journal instead of WAL")
