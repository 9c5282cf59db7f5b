"""What a manifest says of the software and the machine that wrote it. Informative: nothing depends on it."""

from __future__ import annotations

import functools
import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata

__all__ = ["describe_environment"]

_DISTRIBUTION = "model-checkpoint-engine"
_FRAMEWORKS = ("torch", "numpy", "transformers")


def describe_environment() -> Mapping[str, str]:
    """Versions of Python, of this package and of the frameworks in use; kernel and machine. Imports none of them."""
    versions = {
        name: str(vars(sys.modules[name]).get("__version__", "")) for name in _FRAMEWORKS if name in sys.modules
    }
    return {**_fixed(), **{name: version for name, version in versions.items() if version}}


@functools.cache
def _fixed() -> Mapping[str, str]:
    system = os.uname()
    return {
        "model-checkpoint-engine": _own_version(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{system.sysname} {system.release}",
        "machine": system.machine,
        "host": system.nodename,
        "cpus": str(os.cpu_count()),
    }


def _own_version() -> str:
    try:
        return metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "not installed"  # run from a source tree
